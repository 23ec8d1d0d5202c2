//! The outcome of an attempt, as the request path reports it: a success, a failure that counts
//! towards ejection, a wish for a pause, a suspicion, or no evidence.

use std::time::Duration;

use super::Suspicion;

/// The outcome of an attempt, as evidence about its deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer.
    Success,
    /// No answer, a broken one, or one that says that the deployment failed.
    Failure {
        /// For people: `answered 500`.
        cause: String,
        /// What kind of failure it is.
        kind: FailureKind,
    },
    /// The deployment works and is full: 429, 503.
    Limited {
        /// For people: `answered 429`.
        cause: String,
        /// The pause, if the deployment names one.
        wait: Option<Duration>,
    },
    /// No first byte in time. The deployment is full or slow if it answered others meanwhile, else
    /// this is a failure.
    Late {
        /// For people: `first_byte time-out`.
        cause: String,
    },
    /// The deployment does not accept the gateway's credential.
    Credential {
        /// For people: `answered 401`.
        cause: String,
    },
    /// The deployment refused this one request: 402, 403, or a 429 for want of credit.
    Refused {
        /// For people: `answered 403`.
        cause: String,
    },
    /// The deployment lacks the model.
    NoModel {
        /// For people: `answered 404`.
        cause: String,
    },
    /// The deployment lacks the endpoint.
    NoEndpoint {
        /// For people: `answered 501`.
        cause: String,
    },
    /// No evidence: the client left, or was at fault.
    Neutral,
}

impl Outcome {
    /// True if the attempt went well, false if it failed. None if it does not show how well the
    /// deployment works.
    #[must_use]
    pub fn is_good(&self) -> Option<bool> {
        match self {
            Self::Success => Some(true),
            Self::Failure { .. } => Some(false),
            // A full deployment is no bad one, and one request proves no suspicion.
            Self::Limited { .. }
            | Self::Late { .. }
            | Self::Credential { .. }
            | Self::Refused { .. }
            | Self::NoModel { .. }
            | Self::NoEndpoint { .. }
            | Self::Neutral => None,
        }
    }

    /// Decides a [`Late`](Self::Late) outcome: a failure, unless `answered_others` returns true.
    /// All other outcomes stay as they are.
    #[must_use]
    pub fn judged(self, answered_others: impl FnOnce() -> bool) -> Self {
        match self {
            Self::Late { .. } if answered_others() => Self::Neutral,
            Self::Late { cause } => Self::Failure { cause, kind: FailureKind::Answer },
            outcome => outcome,
        }
    }

    /// The suspicion that it supports, with its cause.
    #[must_use]
    pub fn suspicion(&self) -> Option<(Suspicion, &str)> {
        match self {
            Self::Credential { cause } => Some((Suspicion::Credential, cause)),
            Self::Refused { cause } => Some((Suspicion::Refused, cause)),
            Self::NoModel { cause } => Some((Suspicion::Model, cause)),
            Self::NoEndpoint { cause } => Some((Suspicion::Endpoint, cause)),
            _ => None,
        }
    }
}

/// Tells whether a probe would meet a failure, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The connection was not made, or was lost. A probe would fail, too.
    Connection,
    /// The answer was bad: a 5xx, an error in the body, or a time-out. A probe may still succeed.
    Answer,
}
