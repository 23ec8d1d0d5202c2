//! The permit to make one attempt at one deployment: given out by [`Deployment::admit`], and told
//! how the attempt went.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::load::clock;
use super::standing::{Change, Turn};
use super::{Deployment, Outcome, Slot};

/// How long a deployment is left alone that answers 429 and does not say.
const COOLING: Duration = Duration::from_secs(1);

/// One attempt under way. Dropped without a word it says nothing of the deployment, and if it was
/// the trial of an ejected one, the next request is.
#[derive(Debug)]
pub struct Permit {
    deployment: Arc<Deployment>,
    issued: Instant,
    /// None once it is settled.
    turn: Option<Turn>,
    _slot: Slot,
}

impl Permit {
    pub(super) fn new(deployment: &Arc<Deployment>, turn: Turn, slot: Slot, now: Instant) -> Self {
        deployment.load.begin();
        Self { deployment: Arc::clone(deployment), issued: now, turn: Some(turn), _slot: slot }
    }

    /// What the attempt is made at.
    #[must_use]
    pub fn deployment(&self) -> &Arc<Deployment> {
        &self.deployment
    }

    /// When it was given out.
    #[must_use]
    pub fn issued(&self) -> Instant {
        self.issued
    }

    /// An answer that may go to the client has begun. This is what a trial is for: it has succeeded,
    /// and what the rest of a long answer meets with counts as with any other attempt.
    pub fn begun(&mut self, now: Instant) {
        let Some(turn) = &mut self.turn else { return };
        let deployment = &self.deployment;
        let took = now.saturating_duration_since(self.issued);
        deployment.load.record_first_byte(took, clock(now));
        if turn.may_restore() {
            let ramp = deployment.siblings.ramp(now);
            let change = deployment.standing.begun(turn, now, ramp);
            deployment.tell(change);
        }
    }

    /// The attempt has ended.
    pub fn settle(mut self, outcome: Outcome, now: Instant) {
        let Some(turn) = self.turn.take() else { return };
        let deployment = &self.deployment;
        match outcome.is_good() {
            Some(true) => deployment.load.record_success(),
            Some(false) => {
                let took = now.saturating_duration_since(self.issued);
                deployment.load.record_failure(took, clock(now));
            }
            None => {}
        }
        let siblings = &deployment.siblings;
        let outcome = match outcome {
            Outcome::Limited { cause, wait: None } => {
                // A guess must not take out the last deployment there is.
                let spare = siblings.has_another_of_use(&deployment.standing, now);
                Outcome::Limited { cause, wait: Some(if spare { COOLING } else { Duration::ZERO }) }
            }
            outcome => outcome,
        };
        let standing = &deployment.standing;
        let ramp = if turn.may_restore() { siblings.ramp(now) } else { None };
        let change = match standing.record(turn, outcome, now, &siblings.ejection, ramp) {
            Change::Due(reason) => siblings.eject(standing, turn, reason, now),
            change => change,
        };
        deployment.tell(change);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.deployment.load.end();
        if let Some(turn) = self.turn {
            self.deployment.standing.give_back(turn, Instant::now());
        }
    }
}
