//! What became of a request.

use std::time::Duration;

/// How a request ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// No deployment answered, or had a place for it.
    #[default]
    Failed,
    /// With a whole answer.
    Ok,
    /// In the middle of the answer.
    Broken,
    /// It was longer than the deployment takes: the client was told so.
    Refused,
}

/// One request, when it is over.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    pub(super) fate: Fate,
    /// The deployment whose answer went to the client.
    pub(super) site: Option<usize>,
    /// In lines: the gateway's, and the engines'.
    pub(super) queued: Duration,
    /// From its arrival to the first byte of the answer.
    pub(super) first_byte: Option<Duration>,
    /// From its arrival to its end.
    pub(super) total: Duration,
    /// Dollars.
    pub(super) cost: f64,
}
