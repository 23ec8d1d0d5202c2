//! Time limits of requests: which there are, and whose word holds where several have one.

use std::time::Duration;

/// Time limits of an attempt at a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To a TCP and TLS connection. Default 5 s.
    pub connect: Duration,
    /// From the connection to the first content of a stream, or the first byte of a plain answer's body.
    /// Default 120 s.
    pub first_byte: Duration,
    /// Between two chunks of the answer. Default 60 s.
    pub idle: Duration,
    /// How long an unused connection is kept; 0: none is used again. The same for all deployments of
    /// one origin, which share their connections. Default 4 s: vLLM and uvicorn close theirs after
    /// 5 s, and a request on a connection that is being closed is lost.
    pub pool_idle: Duration,
}

/// From a request's arrival to the end of its answer, over all attempts. Default 600 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TotalTime(pub Duration);

/// Time limits of one model, or of one of its deployments; None: what is said further out holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OwnTimeouts {
    pub(super) connect: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) pool_idle: Option<Duration>,
}

impl OwnTimeouts {
    /// These, and `outer` where they say nothing.
    pub(super) fn over(self, outer: Timeouts) -> Timeouts {
        Timeouts {
            connect: self.connect.unwrap_or(outer.connect),
            first_byte: self.first_byte.unwrap_or(outer.first_byte),
            idle: self.idle.unwrap_or(outer.idle),
            pool_idle: self.pool_idle.unwrap_or(outer.pool_idle),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            pool_idle: Duration::from_secs(4),
        }
    }
}

impl Default for TotalTime {
    fn default() -> Self {
        Self(Duration::from_secs(600))
    }
}
