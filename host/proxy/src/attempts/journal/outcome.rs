//! The outcome of a request, as the access log names it.

use fleet::DeploymentMeters;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// The client got a whole answer.
    Ok,
    /// A deployment answered that the request is wrong, and the client got that answer.
    Rejected,
    /// There was no room for the request: the gateway or its deployments are full.
    Shed,
    /// The client got an error from the gateway itself.
    Error,
    /// The answer failed after its commit point.
    Broken,
    /// The input was not a valid HTTP request.
    Refused,
    /// The client left before the end of its answer.
    Cancelled,
}

impl RequestOutcome {
    /// The name in the access log.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => DeploymentMeters::OK,
            Self::Rejected => "rejected",
            Self::Shed => "shed",
            Self::Error => "error",
            Self::Broken => "broken",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}
