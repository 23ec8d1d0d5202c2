//! A deployment: its configuration joined with its live state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use config::{DeploymentConfig, Redactor};
use contract::{Candidate, Place, Signal};

use super::load::clock;
use super::siblings::Siblings;
use super::standing::{Change, Standing};
use super::suspicions::Suspicions;
use super::{
    Condition, DeploymentMeters, DeploymentSignals, EngineSignals, Health, Load, Permit, Prices,
    Quotas, Ramp, Reports, Slot, Slots, State, Tariff,
};

/// One place a model runs: its configuration and its live state.
#[derive(Debug)]
pub struct Deployment {
    /// Id of the model it serves.
    pub model: Arc<str>,
    /// Its configuration. A reload builds a new `Deployment`.
    pub config: DeploymentConfig,
    /// Index of `place` in [`Fleet::places`] of its model's strategy.
    pub id: u32,
    /// The fixed facts that a strategy is told once.
    pub place: Place,
    /// Attempts in flight, and averages of the recent ones. Kept over reloads.
    pub load: Arc<Load>,
    /// The result of its probes, shared by all deployments with the same origin and probe. None if
    /// it is not probed.
    pub health: Option<Arc<Health>>,
    /// What its engine tells of its load. Deployments with the same origin and sources share it.
    /// Kept over reloads.
    pub engine: Arc<EngineSignals>,
    /// Limits its concurrent attempts. Kept over reloads.
    pub slots: Arc<Slots>,
    /// Removes the addresses and keys of all deployments from a text.
    pub redactor: Arc<Redactor>,
    /// Counters of its attempts. Kept over reloads.
    pub meters: Arc<DeploymentMeters>,
    /// What is recorded of it for signals. Kept over reloads.
    pub signals: Arc<DeploymentSignals>,
    /// Its quotas. None: it has none. Their counts are kept over reloads.
    pub quotas: Option<Quotas>,
    /// Its prices, exactly.
    pub tariff: Tariff,
    /// Prices of the remote deployments of its model, if it is local: what its answers save.
    pub alternatives: Arc<[Tariff]>,
    /// Its prices as strategies are told them.
    pub prices: Prices,
    /// Counts its failures between their lines in the log.
    pub reports: Reports,
    /// True once it has refused to be asked for the usage of a stream. A reload forgets it.
    pub(super) refuses_usage: AtomicBool,
    pub(super) standing: Arc<Standing>,
    pub(super) suspicions: Arc<Suspicions>,
    pub(super) siblings: Arc<Siblings>,
}

impl Deployment {
    /// Tokens that answers of its model usually have. None: that is not recorded, or not known yet.
    #[must_use]
    pub fn usual_answer(&self) -> Option<u64> {
        self.signals.usual_answer()
    }

    /// The live numbers that a strategy is told at `now`. `condition` is that of its [`State`].
    #[must_use]
    pub fn candidate(&self, condition: Condition, now: Instant) -> Candidate<'_> {
        let known = |signal| {
            let value = self.signal(signal, None, now);
            (!value.is_nan()).then_some(value)
        };
        let idle = Candidate {
            queued: u32::try_from(self.slots.waiting()).unwrap_or(u32::MAX),
            limit: self.slots.limit(),
            state: condition.of_candidate(),
            duration: known(Signal::DurationMean),
            refused_rate: known(Signal::RefusedRate).unwrap_or_default(),
            ..Candidate::idle(self.id, &self.place)
        };
        match condition {
            // It was ejected for its failures. Judged by them again, it would never be tried.
            Condition::HalfOpen => Candidate { in_flight: self.load.in_flight(), ..idle },
            _ => self.load.candidate(idle, clock(now)),
        }
    }

    /// True if its streams are asked for their usage.
    #[must_use]
    pub fn is_asked_for_usage(&self) -> bool {
        self.config.stream_usage && !self.refuses_usage.load(Ordering::Relaxed)
    }

    /// Records that it refused a request for the question, and answered it without. True for the
    /// first time.
    pub fn refuse_usage(&self) -> bool {
        !self.refuses_usage.swap(true, Ordering::Relaxed)
    }

    /// Its state, from probes and requests together. A failing probe takes precedence.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        let health = self.health.as_ref().map(|health| (health.is_up(), health.observation()));
        let forbidden = self.quota_state(now);
        let suspected = || self.suspicions.state(now);
        let standing = || self.standing.state(now, &self.siblings.slow_start);
        let mut state = forbidden.or_else(suspected).unwrap_or_else(standing);
        let stalled = self.slots.report().stalled;
        match health {
            Some((false, seen)) => State {
                condition: Condition::Unhealthy,
                reason: seen.reason,
                since: seen.since,
                factor: 1.0,
            },
            seen => {
                state = state.or_stalled(stalled);
                if state.condition == Condition::Stalled {
                    return state;
                }
                // Both sources must agree for the state to hold, so the later one began it.
                let since = seen.map_or_else(|| self.load.created(), |(_, seen)| seen.since);
                state.since = state.since.max(since);
                state
            }
        }
    }

    /// The next time at which its state changes without an event.
    #[must_use]
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let standing = self.standing.next_change(now, &self.siblings.slow_start);
        let all = [standing, self.suspicions.next_change(now), self.quota_closed(now)];
        all.into_iter().flatten().min()
    }

    /// True if a request would be admitted now. Cheap, and claims no trial.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        self.standing.is_open(now)
            && self.suspicions.is_open(now)
            && self.quota_closed(now).is_none()
    }

    /// Admits a request that has a slot. None if the deployment is ejected, cooling or suspected.
    /// When that time is over, exactly one request at a time is admitted.
    #[must_use]
    pub fn admit(self: &Arc<Self>, slot: Slot, now: Instant) -> Option<Permit> {
        if !self.suspicions.admit(now) {
            return None;
        }
        self.standing.admit(now).map(|turn| Permit::new(self, turn, slot, now))
    }

    /// Like [`admit`](Self::admit), for panic mode: ignores an ejection and suspicions, still honours
    /// cooling.
    #[must_use]
    pub fn admit_in_panic(self: &Arc<Self>, slot: Slot, now: Instant) -> Option<Permit> {
        let turn = self.standing.admit_in_panic(now)?;
        self.suspicions.admit_in_panic(now);
        Some(Permit::new(self, turn, slot, now))
    }

    /// Records that an attempt, admitted as number `level` at `sent`, got no first byte in time.
    /// Returns false if this is a failure: see [`Slots::stall`].
    pub(super) fn stalled(&self, level: u32, sent: Instant, now: Instant) -> bool {
        let stalled = self.slots.stall(level, sent, now);
        if stalled {
            let (model, deployment) = (&*self.model, &*self.config.name);
            tracing::debug!(model, deployment, "no first byte in time while others are answered");
            self.announce_change();
        }
        stalled
    }

    /// Whether a request may wait for a place at it: it is up, and neither ejected nor suspected.
    #[must_use]
    pub fn is_worth_waiting(&self, now: Instant) -> bool {
        let is_up = self.health.as_ref().is_none_or(|health| health.is_up());
        is_up
            && self.standing.is_worth_waiting(now)
            && self.suspicions.is_open(now)
            && self.quota_closed(now).is_none()
    }

    /// When its pause is over, if it asked for one.
    #[must_use]
    pub fn cools_until(&self, now: Instant) -> Option<Instant> {
        self.standing.cools_until(now)
    }

    /// Records a probe of its place, sent at `sent`. `turned`: with it the place came up or went
    /// down. Requests that wait for a place that went down leave it.
    pub fn probe_ended(&self, good: bool, turned: bool, sent: Instant, now: Instant) {
        let mut changed = turned;
        if good {
            changed |= self.probed(sent, turned, now);
        } else {
            self.probe_failed(sent, now);
        }
        if turned {
            // What comes up was started anew, with an empty cache.
            self.signals.forget_prefixes();
        }
        if turned && !good {
            self.slots.disperse();
        }
        if changed {
            self.announce_change();
        }
    }

    /// Records a successful probe sent at `sent`. `came_up` is true if the deployment was down
    /// before. Returns true if the state changed.
    pub(super) fn probed(&self, sent: Instant, came_up: bool, now: Instant) -> bool {
        let ramp = self.siblings.ramp(now);
        let suspected = came_up && self.suspicions.came_up(now);
        let changed = self.standing.probed(sent, came_up, now, ramp) || suspected;
        if came_up {
            self.come_back(ramp, now);
        }
        changed
    }

    /// Records a failed probe sent at `sent`.
    fn probe_failed(&self, sent: Instant, now: Instant) {
        self.standing.probe_failed(sent, now);
    }

    /// Logs a change and has it published. Requests that wait for a deployment leave it when it
    /// goes out of use.
    pub(super) fn tell(&self, change: Change, now: Instant) {
        let (model, name) = (&*self.model, &*self.config.name);
        if matches!(
            change,
            Change::Ejected { .. } | Change::Cooling { .. } | Change::Suspected { .. }
        ) {
            self.slots.disperse();
        }
        match change {
            Change::None | Change::Due(_) => return,
            Change::Ejected { reason, lasts } => {
                self.load.record_ejection();
                self.signals.forget_prefixes();
                tracing::warn!(model, deployment = name, reason, ?lasts, "ejected");
                // If this probe fails, a later success may end the ejection early.
                if let Some(health) = &self.health {
                    health.ask();
                }
            }
            Change::Cooling { reason } => {
                tracing::info!(model, deployment = name, reason, "cooling");
            }
            // Said already when it went out for the first time.
            Change::Suspected { again: true, .. } => {}
            Change::Suspected { reason, .. } => {
                tracing::warn!(model, deployment = name, reason, "out of use for a time");
            }
            Change::Restored => {
                self.load.forget();
                self.come_back(self.siblings.ramp(now), now);
                tracing::info!(model, deployment = name, "restored");
            }
        }
        self.announce_change();
    }

    /// Begins slow start of its places. If `ramp` is None it gets all places at once.
    fn come_back(&self, ramp: Option<Ramp>, now: Instant) {
        self.slots.come_back(ramp, &self.siblings.slow_start, now);
    }

    /// Time until it may be used again. None if it may be used now.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let quota = self.quota_closed(now).map(|until| until.saturating_duration_since(now));
        self.standing.wait(now).max(self.suspicions.wait(now)).max(quota)
    }

    /// Tells the decision layer that the state of this deployment changed.
    pub fn announce_change(&self) {
        self.siblings.changes.add(&self.model);
    }
}
