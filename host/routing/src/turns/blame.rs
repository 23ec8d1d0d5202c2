//! Who is charged with the failures of one request.
//!
//! A request that fails alike at two deployments is at fault itself. It charges none of them that
//! answers others. So a failure of such a deployment is put off until more is known. If another one
//! answers the request, the deployment is charged. If nothing more becomes known, the failure is
//! charged, unless the same request failed there before. SDKs repeat one request by themselves,
//! many at a time: a repeated request is no second sign.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;

use fleet::{Deployment, Outcome, Permit, PutOff, Recorded};

use crate::{Cause, InferenceEndpoint, digest};

/// The failures of one request so far.
#[derive(Debug)]
pub(super) struct Blame<'r> {
    body: &'r [u8],
    endpoint: InferenceEndpoint,
    digest: OnceCell<u64>,
    failures: Vec<Failed>,
}

#[derive(Debug)]
struct Failed {
    deployment: Arc<Deployment>,
    cause: Cause,
    charge: Charge,
}

/// The verdict on a failure so far.
#[derive(Debug)]
enum Charge {
    /// The failure is charged, and may be taken back.
    Made(Recorded),
    /// The failure is charged once the deployment is known to be at fault.
    PutOff {
        failure: PutOff,
        /// The same request failed there before.
        repeated: bool,
    },
    /// The request is at fault.
    None,
}

impl<'r> Blame<'r> {
    /// For a request with this body.
    pub(super) fn new(body: &'r [u8], endpoint: InferenceEndpoint) -> Self {
        Self { body, endpoint, digest: OnceCell::new(), failures: Vec::new() }
    }

    /// Ends a failed attempt with its outcome, or without one if the request is at fault. The digest
    /// is computed only here: most requests do not fail.
    pub(super) fn settle(
        &mut self,
        permit: Permit,
        failure: (Cause, bool),
        outcome: Outcome,
        now: Instant,
    ) -> bool {
        let (cause, may_be_poison) = failure;
        let deployment = Arc::clone(permit.deployment());
        let digest = *self.digest.get_or_init(|| digest(self.body));
        if may_be_poison {
            let charge = self.charge(permit, cause, outcome, digest, now);
            self.failures.push(Failed { deployment, cause, charge });
            return false;
        }
        deployment.suspect(&outcome, Some(digest), self.endpoint as usize, now);
        permit.settle(outcome, now)
    }

    /// The request was answered, or is given up without an answer: charges what was put off.
    pub(super) fn known(&mut self, answered: bool, now: Instant) {
        let Some(digest) = self.digest.get().copied() else { return };
        for failed in &mut self.failures {
            let charge = std::mem::replace(&mut failed.charge, Charge::None);
            if let Charge::PutOff { failure, repeated } = charge
                && (answered || !repeated)
            {
                failed.deployment.charge(failure, digest, now);
            }
        }
    }

    fn charge(
        &mut self,
        permit: Permit,
        cause: Cause,
        outcome: Outcome,
        digest: u64,
        now: Instant,
    ) -> Charge {
        let at = Arc::clone(permit.deployment());
        let is_above = at.is_above(digest, now);
        if self.absolves(cause, digest, now) && is_above {
            permit.settle(Outcome::Neutral, now);
            return Charge::None;
        }
        let repeated = at.has_failed(digest);
        let recorded = at.failing(digest);
        let permit = match is_above {
            true => match permit.put_off(outcome.clone(), now) {
                Ok(failure) => return Charge::PutOff { failure, repeated },
                Err(permit) => permit,
            },
            false => permit,
        };
        permit.settle(outcome, now);
        Charge::Made(recorded)
    }

    /// Takes back the failures alike elsewhere of deployments that answer others. True if there are
    /// some.
    fn absolves(&mut self, cause: Cause, digest: u64, now: Instant) -> bool {
        let mut found = false;
        for failed in self.failures.iter_mut().filter(|failed| failed.cause == cause) {
            if !failed.deployment.is_above(digest, now) {
                continue;
            }
            found = true;
            if let Charge::Made(recorded) = std::mem::replace(&mut failed.charge, Charge::None) {
                failed.deployment.take_back(recorded, now);
            }
        }
        found
    }
}
