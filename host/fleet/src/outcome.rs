//! What the request path tells of an attempt, in the words of the fleet: which failures count against
//! a deployment is decided here and nowhere else.

use std::time::Duration;

/// What an attempt says of its deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer.
    Success,
    /// No answer, a broken one, or one that says that the deployment failed.
    Failure {
        /// For people: `answered 500`.
        cause: String,
        /// What kind of failure it is.
        fault: Fault,
    },
    /// The deployment is well and asks to be left alone: 429, or 503 with `Retry-After`.
    Limited {
        /// For people: `answered 429`.
        cause: String,
        /// For how long, if it says so.
        wait: Option<Duration>,
    },
    /// The deployment does not accept the gateway's credential.
    Credential {
        /// For people: `answered 401`.
        cause: String,
    },
    /// Nothing: the client went away, or was at fault.
    Neutral,
}

impl Outcome {
    /// Whether the attempt went well. None: it says nothing of the deployment.
    #[must_use]
    pub fn is_good(&self) -> Option<bool> {
        match self {
            Self::Success => Some(true),
            Self::Failure { .. } | Self::Limited { .. } | Self::Credential { .. } => Some(false),
            Self::Neutral => None,
        }
    }
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Of the connection, which a probe would meet too: not made, or lost.
    Connection,
    /// Of the answer: a 5xx, an error in the body, a time-out. A healthy `/health` says nothing of it.
    Answer,
}
