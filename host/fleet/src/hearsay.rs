//! Reports of the request path on a deployment, beside the outcomes of permits: signs of a
//! suspicion, answers that disprove them, and failures that turn out to say nothing.

use std::time::Instant;

use super::suspicions::Sign;
use super::{Deployment, Outcome, Suspicion};

/// A failure that may be taken back: the state of its deployment when it was recorded.
#[derive(Debug, Clone, Copy)]
pub struct Recorded {
    epoch: u64,
    load: super::load::Mark,
}

impl Deployment {
    /// Records what an outcome makes the deployment suspected of, if anything. `request` is the
    /// digest of the request's body; None if the outcome is certain. `endpoint` is the position of
    /// its endpoint, below [`ENDPOINTS`](super::ENDPOINTS).
    pub fn suspect(&self, outcome: &Outcome, request: Option<u64>, endpoint: usize, now: Instant) {
        let Some((of, cause)) = outcome.suspicion() else { return };
        let model = &self.config.provider_model_id;
        let reason = match of {
            Suspicion::Credential if self.config.api_key.is_none() => {
                format!("{cause}: it wants an api_key, and none is configured")
            }
            Suspicion::Credential => format!("{cause}: it does not accept its api_key"),
            Suspicion::Refused => {
                format!("{cause}: it refused several different requests in a row")
            }
            Suspicion::Model => format!("{cause}: it does not have the model `{model}`"),
            Suspicion::Endpoint => format!("{cause}: it lacks an endpoint, and is skipped for it"),
        };
        let change = self.suspicions.note(Sign { of, reason, request, endpoint }, now);
        self.tell(change, now);
    }

    /// Records that a probe was refused for its key. `cause`, for people: `probe answered 401`.
    /// The probe's word is enough, unless requests were answered within the hour: then the path
    /// of the probe wants another key.
    pub fn probe_key_refused(&self, cause: &str, now: Instant) {
        if !self.suspicions.is_proven(None, now) {
            self.suspect(&Outcome::Credential { cause: cause.to_owned() }, None, 0, now);
        }
    }

    /// Records that a probe is answered after an earlier probe's key was refused: a request may try
    /// the key at once.
    pub fn probe_key_accepted(&self, now: Instant) {
        if self.suspicions.retry(Suspicion::Credential, now) {
            self.announce_change();
        }
    }

    /// Records that an answer began at an endpoint. It disproves suspicions.
    pub fn answered(&self, endpoint: usize, now: Instant) {
        let change = self.suspicions.answered(endpoint, now);
        self.tell(change, now);
    }

    /// True if it lacks the endpoint at this position, as far as is known.
    #[must_use]
    pub fn lacks(&self, endpoint: usize, now: Instant) -> bool {
        self.suspicions.lacks(endpoint, now)
    }

    /// Records that the request with this digest failed. Must be called before the permit is
    /// settled. The result takes the failure back.
    pub fn failing(&self, request: u64) -> Recorded {
        self.suspicions.failed(request);
        Recorded { epoch: self.standing.epoch(), load: self.load.mark() }
    }

    /// True if failures of the request with this digest say nothing of the deployment: it answers
    /// others.
    #[must_use]
    pub fn is_above(&self, request: u64, now: Instant) -> bool {
        self.suspicions.is_above(request, now)
    }

    /// True if the last failure was of the request with this digest: the client repeats it.
    #[must_use]
    pub fn has_failed(&self, request: u64) -> bool {
        self.suspicions.has_failed(request)
    }

    /// Takes back a failure, because the request is at fault: it fails alike elsewhere.
    pub fn take_back(&self, recorded: Recorded, now: Instant) {
        self.load.take_back(recorded.load);
        let change = self.standing.take_back(recorded.epoch, now);
        self.tell(change, now);
    }
}
