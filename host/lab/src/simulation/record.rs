//! The result of a simulated request.

use std::time::Duration;

/// How a request ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// No deployment answered or had a place for it.
    #[default]
    Failed,
    /// The client got a complete answer.
    Ok,
    /// The answer broke off.
    Broken,
    /// The request was too long for the deployment, and the client was told so.
    Refused,
    /// The strategy refused the request.
    Denied,
    /// A budget had too little left, and nothing else was in the way.
    Broke,
}

/// A second attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Second {
    /// The first attempt began its answer before it, or both failed.
    Lost,
    /// Its answer went to the client.
    Won,
}

/// The measurements of an ended request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record {
    pub(super) fate: Fate,
    /// The deployment whose answer reached the client, at least in part.
    pub(super) site: Option<usize>,
    /// Time in the lines of the gateway and of engines.
    pub(super) queued: Duration,
    /// Time from its arrival to the first byte of the answer.
    pub(super) first_byte: Option<Duration>,
    /// Time from its arrival to its end.
    pub(super) total: Duration,
    /// Tokens of its prompt that the engine which answered had in its cache.
    pub(super) cached: u32,
    /// Cost in US dollars.
    pub(super) cost: f64,
    /// The second attempt beside its first one, if it was made.
    pub(super) second: Option<Second>,
}
