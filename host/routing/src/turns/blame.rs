//! Who is charged with the failures of one request. A request that fails alike at two deployments that
//! answer others is at fault itself, and charges neither.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;

use fleet::{Deployment, Outcome, Permit, Recorded};

use crate::{Cause, InferenceEndpoint, digest};

/// The failures of one request that were charged so far.
#[derive(Debug)]
pub(super) struct Blame<'r> {
    body: &'r [u8],
    endpoint: InferenceEndpoint,
    digest: OnceCell<u64>,
    charged: Vec<Charged>,
}

#[derive(Debug)]
struct Charged {
    deployment: Arc<Deployment>,
    cause: Cause,
    /// None once it is taken back.
    recorded: Option<Recorded>,
}

impl<'r> Blame<'r> {
    /// For a request with this body.
    pub(super) fn new(body: &'r [u8], endpoint: InferenceEndpoint) -> Self {
        Self { body, endpoint, digest: OnceCell::new(), charged: Vec::new() }
    }

    /// Ends a failed attempt with its outcome, or without one if the request is at fault. The digest
    /// is computed only here: most requests do not fail.
    pub(super) fn settle(
        &mut self,
        permit: Permit,
        failure: (Cause, bool),
        outcome: Outcome,
        now: Instant,
    ) {
        let (cause, may_be_poison) = failure;
        let deployment = Arc::clone(permit.deployment());
        let digest = *self.digest.get_or_init(|| digest(self.body));
        let outcome = match may_be_poison {
            true if self.is_poison(&deployment, cause, digest, now) => Outcome::Neutral,
            true => {
                let recorded = Some(deployment.failing(digest));
                self.charged.push(Charged { deployment: Arc::clone(&deployment), cause, recorded });
                outcome
            }
            false => outcome,
        };
        deployment.suspect(&outcome, Some(digest), self.endpoint as usize, now);
        permit.settle(outcome, now);
    }

    /// True if the request failed alike elsewhere, and each of these deployments answers others.
    /// Takes the earlier failures back.
    fn is_poison(&mut self, at: &Deployment, cause: Cause, digest: u64, now: Instant) -> bool {
        let alike = |charged: &&mut Charged| {
            charged.cause == cause && charged.deployment.is_above(digest, now)
        };
        if !at.is_above(digest, now) {
            return false;
        }
        let mut found = false;
        for charged in self.charged.iter_mut().filter(alike) {
            found = true;
            if let Some(recorded) = charged.recorded.take() {
                charged.deployment.take_back(recorded, now);
            }
        }
        found
    }
}
