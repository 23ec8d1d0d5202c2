//! The permit for one attempt at one deployment. [`Deployment::admit`] issues it, and
//! [`Permit::settle`] takes the outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::Side;

use super::allowance::Left;
use super::load::clock;
use super::standing::{Change, Turn};
use super::{AnswerTokens, Deployment, Outcome, QuotaHold, RequestSignals, Slot, ToldQuota, Trace};

/// One attempt in flight. Dropping it without an outcome counts neither for nor against the
/// deployment. If it was the trial of an ejected deployment, the next request may be the
/// trial.
#[derive(Debug)]
pub struct Permit {
    deployment: Arc<Deployment>,
    issued: Instant,
    /// None once the attempt is settled.
    turn: Option<Turn>,
    slot: Slot,
    /// What is recorded for signals. None once the attempt is settled, and if no strategy asks.
    trace: Option<Box<Trace>>,
    /// What it takes from quotas. None: the deployment has none.
    quota: Option<Arc<QuotaHold>>,
}

impl Permit {
    pub(super) fn new(deployment: &Arc<Deployment>, turn: Turn, slot: Slot, now: Instant) -> Self {
        deployment.load.begin();
        deployment.engine.begin();
        let trace = deployment.signals.trace(now);
        Self {
            deployment: Arc::clone(deployment),
            issued: now,
            turn: Some(turn),
            slot,
            trace,
            quota: None,
        }
    }

    /// The deployment that the attempt is made at.
    #[must_use]
    pub fn deployment(&self) -> &Arc<Deployment> {
        &self.deployment
    }

    /// When the permit was issued. Latencies are measured from here.
    #[must_use]
    pub fn issued(&self) -> Instant {
        self.issued
    }

    /// Records that an answer for the client has begun. With this a trial has succeeded. The rest
    /// of the answer counts like that of any other attempt.
    pub fn begun(&mut self, now: Instant) {
        let Some(turn) = &mut self.turn else { return };
        let deployment = &self.deployment;
        let took = now.saturating_duration_since(self.issued);
        deployment.load.record_first_byte(took, clock(now));
        if let Some(trace) = &mut self.trace {
            trace.begin(now);
        }
        if self.slot.begin(self.issued, now) {
            deployment.announce_change();
        }
        if turn.may_restore() {
            let ramp = deployment.siblings.ramp(now);
            let change = deployment.standing.begun(turn, now, ramp);
            deployment.tell(change, now);
        }
    }

    /// Cancels the attempt, because another one of its request began its answer first. Its own
    /// first byte would have come at an unknown time after `now`. So the time until `now` enters
    /// the average only if it is above the average.
    pub fn beaten(self, now: Instant) {
        let took = now.saturating_duration_since(self.issued);
        if self.turn.is_some() {
            self.deployment.load.record_unanswered(took, clock(now));
        }
    }

    /// Records that a byte of the answer came at `now`.
    pub fn hear(&self, now: Instant) {
        self.deployment.slots.hear(now);
    }

    /// Records which request the attempt sends, for signals that depend on it.
    pub fn carry(&mut self, request: &Arc<RequestSignals>) {
        if let Some(trace) = &mut self.trace {
            trace.carry(request);
        }
    }

    /// Records the tokens of the answer. They count if it ends well.
    pub fn answered(&mut self, tokens: AnswerTokens) {
        if let Some(trace) = &mut self.trace {
            trace.tell(tokens);
        }
    }

    /// Brings what the attempt takes from quotas. From now on it counts as used, unless
    /// [`Deployment::settle_quota`] says otherwise.
    pub fn use_quota(&mut self, hold: Option<QuotaHold>) {
        self.quota = hold.map(|hold| {
            hold.arm();
            Arc::new(hold)
        });
    }

    /// What the attempt takes from quotas.
    #[must_use]
    pub fn quota(&self) -> Option<&Arc<QuotaHold>> {
        self.quota.as_ref()
    }

    /// True if headers that tell what is left are of use. A limit of one's own engine shows in its
    /// refusals.
    #[must_use]
    pub fn hears_quota(&self) -> bool {
        self.deployment.config.side == Side::Remote || self.quota.is_some()
    }

    /// Records what the answer tells of what is left to the gateway's key. Quotas that believe
    /// headers take what is of their unit.
    pub fn told(&self, told: &[ToldQuota], now: Instant) {
        let deployment = &self.deployment;
        if let Some(hold) = &self.quota {
            deployment.told_quota(hold, told, now);
        }
        let believed = |unit| deployment.quotas.as_ref().is_some_and(|own| own.believes(unit));
        let others = told.iter().filter(|told| !believed(told.unit));
        if deployment.config.side == Side::Remote
            && let Some(left) = Left::tightest(others)
        {
            deployment.slots.tell(left, now);
        }
    }

    /// Ends the attempt. The outcome may eject, cool or restore the deployment, and adjusts its
    /// learned limit. Returns true if the deployment stalled: the attempt was late, and others were
    /// answered.
    pub fn settle(mut self, outcome: Outcome, now: Instant) -> bool {
        let Some(turn) = self.turn.take() else { return false };
        let deployment = &self.deployment;
        let mut stalled = false;
        let outcome = outcome.judged(|| {
            stalled = deployment.stalled(self.slot.level(), self.issued, now);
            stalled
        });
        if let Some(trace) = self.trace.take() {
            trace.settle(&outcome, now);
        }
        match outcome.is_good() {
            Some(true) => {
                deployment.load.record_success();
                deployment.slots.answer(self.issued, now);
            }
            Some(false) => {
                let took = now.saturating_duration_since(self.issued);
                deployment.load.record_failure(took, clock(now));
            }
            None => {}
        }
        let outcome = match outcome {
            Outcome::Limited { cause, wait } => {
                let (side, sent) = (deployment.config.side, (self.slot.level(), self.issued));
                let wait = deployment.slots.refused(side, wait, sent, now);
                Outcome::Limited { cause, wait }
            }
            outcome => outcome,
        };
        deployment.record(turn, outcome, now);
        stalled
    }

    /// Ends the attempt like a neutral one. Its failure is put off until more is known:
    /// [`Deployment::charge`]. The failure of a trial cannot be.
    ///
    /// # Errors
    /// The permit, if the attempt is a trial.
    pub fn put_off(self, failure: Outcome, now: Instant) -> Result<PutOff, Self> {
        let Some(turn) = self.turn.filter(|turn| !turn.may_restore()) else { return Err(self) };
        let took = now.saturating_duration_since(self.issued);
        self.settle(Outcome::Neutral, now);
        Ok(PutOff { turn, failure, took })
    }
}

/// A failure of which it is not known yet whether the deployment or the request is at fault.
#[derive(Debug)]
pub struct PutOff {
    turn: Turn,
    failure: Outcome,
    took: Duration,
}

impl Deployment {
    /// Records a failure of this request that was put off: the deployment is at fault. If it has
    /// answered others since then, the failure counts only in the average.
    pub fn charge(&self, PutOff { turn, failure, took }: PutOff, request: u64, now: Instant) {
        if self.suspicions.is_failing_since(request) {
            self.load.record_failure(took, clock(now));
            self.record(turn, failure, now);
        } else {
            self.load.record_past_failure();
        }
    }

    /// Records an outcome in its standing, which may eject or restore it.
    fn record(&self, turn: Turn, outcome: Outcome, now: Instant) {
        let (siblings, standing) = (&self.siblings, &self.standing);
        let ramp = if turn.may_restore() { siblings.ramp(now) } else { None };
        let change = match standing.record(turn, outcome, now, &siblings.ejection, ramp) {
            Change::Due(reason) => siblings.eject(standing, turn, reason, now),
            change => change,
        };
        self.tell(change, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.deployment.load.end();
        self.deployment.engine.end();
        if let Some(trace) = self.trace.take() {
            trace.end(super::now());
        }
        if let Some(turn) = self.turn {
            self.deployment.standing.give_back(turn, super::now());
        }
    }
}
