//! Whether a request was lost that a deployment could have answered.

use std::time::Duration;

use config::Standby;
use fleet::{Condition, Deployment};
use routing::Exhausted;
use tokio::time::Instant;

use super::Rule;
use super::record::Record;

/// Refusals by full deployments that cost a request none of its attempts.
const FREE: u32 = 16;
/// Longer pauses are not waited for.
const PAUSE: Duration = Duration::from_secs(10);
/// A deployment that refused a request in that time may have learned that it takes fewer.
const LEARNED: Duration = Duration::from_secs(60);

impl Record<'_> {
    /// Judges that the request got no answer.
    pub(super) fn judge_loss(&self, exhausted: &Exhausted) {
        if self.has_spent_its_attempts() || !self.is_in_time() {
            return;
        }
        self.world.look(self.request.model);
        let model = &self.world.generation.fleet.models[self.request.model];
        for (at, deployment) in model.deployments.iter().enumerate() {
            // Budget is spared only where a deployment fails when its turn comes.
            let failing = self.world.sites[self.request.model][at].failing.get();
            let poor = exhausted.over_budget && failing.is_some_and(|at| at >= self.arrived);
            let name = &deployment.config.name;
            if !poor && self.could_have_answered(at, deployment) {
                self.violated(Rule::Lost, format!("{name} could have answered: {exhausted}"));
            }
            if !exhausted.over_budget && self.could_have_waited(at, deployment) {
                self.violated(Rule::Lost, format!("it did not wait for {name}: {exhausted}"));
            }
        }
    }

    /// True if a deployment is a standby, and those are never tried.
    pub(super) fn is_never_tried(&self, at: usize) -> bool {
        self.terms.fallback.standby == Standby::Never
            && self.route.weights.get(at).is_none_or(|weight| *weight <= 0.0)
    }

    /// True if nothing forbids the deployment to the request, and it has not failed at it.
    fn may_be_tried(&self, at: usize, deployment: &Deployment) -> bool {
        self.scope.forbids(&deployment.config).is_none()
            && !self.is_never_tried(at)
            && !self.failed_at.contains(&at)
            && self.request.is_answered_with(self.world.engine_of(&deployment.config).scene.context)
    }

    /// True if the request has not waited yet, and may wait for the end of the deployment's pause.
    fn could_have_waited(&self, at: usize, deployment: &Deployment) -> bool {
        let (now, config) = (fleet::now(), &deployment.config);
        let site = &self.world.sites[self.request.model][at];
        let most = config.concurrency.wait.min(PAUSE);
        let left = site.cools.get().map_or(Duration::ZERO, |until| until - Instant::now());
        self.waited.is_zero()
            && self.may_be_tried(at, deployment)
            && deployment.state(now).condition == Condition::Cooling
            && deployment.is_worth_waiting(now)
            && !left.is_zero()
            && Instant::now() + left.max(Duration::from_millis(1)) < self.end()
            && left < most
            && deployment.slots.waiting() < config.concurrency.queue as usize
    }

    /// True if no rule allows the request another attempt.
    fn has_spent_its_attempts(&self) -> bool {
        let again = u32::from(self.terms.is_repeatable());
        let made = self.attempts - self.refusals.min(FREE);
        made >= self.terms.fallback.attempts || self.uncertain > again || self.is_wrong
    }

    /// True if a deployment had room, no fault and no objection to it for the whole time of the
    /// request.
    fn could_have_answered(&self, at: usize, deployment: &Deployment) -> bool {
        let now = fleet::now();
        let config = &deployment.config;
        let engine = self.world.engine_of(config);
        let site = &self.world.sites[self.request.model][at];
        let may_be_tried = self.may_be_tried(at, deployment) && self.route.states[at].is_eligible();
        let is_clear = self.clear[at]
            && site.out.get().is_none_or(|at| at < self.arrived)
            && deployment.is_open(now)
            && deployment.state(now).condition == Condition::Healthy
            && !deployment.slots.is_pressed();
        let refused = engine.refused.get().is_some_and(|at| at.elapsed() < LEARNED);
        let maxed = site.maxed.get().is_some_and(|at| at >= self.arrived)
            || site.open.get() >= config.concurrency.max;
        let had_room = !refused && !maxed && !engine.places.was_full(self.arrived);
        may_be_tried && is_clear && had_room && self.was_good(deployment)
    }

    /// True if the engine had no fault during the request. The time that an attempt takes to fail,
    /// before the request, counts too.
    fn was_good(&self, deployment: &Deployment) -> bool {
        let limits = self.world.scene.timeouts;
        let before = limits.connect + limits.first_byte + limits.idle;
        let since = (self.arrived - self.world.began).saturating_sub(before);
        let until = Instant::now() - self.world.began;
        let faults = &self.world.engine_of(&deployment.config).scene.faults;
        faults.iter().all(|fault| fault.to < since || fault.from > until)
    }
}
