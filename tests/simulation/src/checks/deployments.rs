//! The rules about deployments, whatever requests come.

use std::sync::Arc;
use std::time::Duration;

use contract::Side;
use fleet::{Condition, Deployment, FleetModel};
use tokio::time::Instant;

use crate::scene::Plot;
use crate::world::World;

use super::Rule;

/// The part of a full engine's time that is used, from [`SETTLED`] on.
const USED: f64 = 0.9;
/// Time in which the limit of an engine is learned.
pub(crate) const SETTLED: Duration = Duration::from_secs(5);

impl World {
    /// Judges the states of all deployments after a decision.
    pub(crate) fn judge_deployments(&self) {
        for (at, model) in self.generation.fleet.models.iter().enumerate() {
            self.look(at);
            self.judge_ejections(model);
            for deployment in &model.deployments {
                self.judge_innocence(deployment);
            }
        }
    }

    /// Notes which deployments of a model are out, and which fail.
    pub(crate) fn look(&self, model: usize) {
        let now = fleet::now();
        let deployments = &self.generation.fleet.models[model].deployments;
        for (deployment, site) in deployments.iter().zip(&self.sites[model]) {
            let condition = deployment.state(now).condition;
            if !deployment.is_open(now) || condition != Condition::Healthy {
                site.out.set(Some(Instant::now()));
            }
            if deployment.load.is_failing() {
                site.failing.set(Some(Instant::now()));
            }
        }
    }

    fn judge_ejections(&self, model: &FleetModel) {
        let now = fleet::now();
        let out = |d: &&Arc<Deployment>| {
            // A probe that fails does not end an ejection, but hides it.
            matches!(d.state(now).condition, Condition::Ejected)
        };
        let (all, out) = (model.deployments.len(), model.deployments.iter().filter(out).count());
        if out * 2 > all {
            self.violated(Rule::TooManyOut, None, format!("{out} of {all}"));
        }
    }

    /// A deployment whose engine has no fault is never out, whatever requests do.
    fn judge_innocence(&self, deployment: &Deployment) {
        let engine = self.engine_of(&deployment.config);
        if !engine.scene.is_innocent() || self.scene.plot == Plot::Faults && self.is_mixed() {
            return;
        }
        let state = deployment.state(fleet::now());
        let refuses = engine.scene.refusal.retry_after.is_some();
        let is_fair = match state.condition {
            Condition::Healthy => true,
            // It asked for it.
            Condition::Cooling => deployment.config.side == Side::Remote && refuses,
            // Its own queue is longer than the time to wait.
            Condition::Stalled => engine.scene.queue > 0,
            // The deployment answered nobody before it went out: nothing tells whether it or the
            // requests are at fault.
            _ => self.scene.plot == Plot::Poison && self.is_unproven(deployment, state.condition),
        };
        if !is_fair {
            let what = format!("{} is {state:?}", deployment.config.name);
            self.violated(Rule::OutForAnother, None, what);
        }
    }

    /// True if several different requests fail for their own sake. Two of them in a row look like a
    /// fault of the deployment, by rule.
    fn is_mixed(&self) -> bool {
        use crate::scene::Nature;
        let at_fault = |nature| matches!(nature, Nature::Poison(_) | Nature::Refused(_));
        self.scene.clients.iter().any(|client| at_fault(client.nature))
    }

    /// True if the deployment has answered nobody, or comes back and had answered nobody when it
    /// went out.
    fn is_unproven(&self, deployment: &Deployment, condition: Condition) -> bool {
        let models = self.generation.fleet.models.iter().zip(&self.sites);
        let mut all = models.flat_map(|(model, sites)| model.deployments.iter().zip(sites));
        let found = all.find(|(other, _)| std::ptr::eq(&***other, deployment));
        let Some((_, site)) = found else { return false };
        let comes_back = condition == Condition::SlowStart && site.unproven.get();
        site.unproven.set(site.unproven.get() || !site.answered.get());
        comes_back || !site.answered.get()
    }

    /// Judges how well the first engine was used, with the work that it had done when it settled.
    pub(crate) fn judge_use(&self, before: f64) {
        let engine = &self.engines[0];
        let time = (self.scene.lasts - SETTLED).as_secs_f64();
        let used = (engine.places.work() - before) / (time * f64::from(engine.scene.places));
        self.note(None, || format!("the first engine was used to {:.1} %", used * 100.0));
        self.counts.borrow_mut().measured += 1;
        if used < USED {
            let report = self.deployments().next().map(|d| d.slots.report());
            let what = format!("used to {:.1} %: {report:?}", used * 100.0);
            self.violated(Rule::NotFull, None, what);
        }
    }

    /// Judges what is left when all requests have ended.
    pub(crate) fn judge_rest(&self) {
        if self.under_way.get() > 0 {
            let what = format!("{} requests have no end", self.under_way.get());
            self.violated(Rule::Unended, None, what);
        }
        for deployment in self.deployments() {
            let (flying, taken) = (deployment.load.in_flight(), deployment.slots.taken());
            let waiting = deployment.slots.waiting();
            if (flying, taken, waiting) != (0, 0, 0) {
                let name = &deployment.config.name;
                let what = format!("{name}: {flying} in flight, {taken} places, {waiting} waiting");
                self.violated(Rule::Leaked, None, what);
            }
            self.counts.borrow_mut().ejections += deployment.load.ejections();
        }
    }

    /// Judges that every deployment can be used again, long after all faults.
    pub(crate) fn judge_return(&self) {
        let now = fleet::now();
        for deployment in self.deployments() {
            let state = deployment.state(now);
            if !deployment.is_open(now) || !state.is_eligible() {
                let what = format!("{} is {state:?}", deployment.config.name);
                self.violated(Rule::NeverBack, None, what);
            }
        }
    }
}
