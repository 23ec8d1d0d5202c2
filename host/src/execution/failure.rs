//! Why an attempt failed, whether trying elsewhere can help, and what the client is told when
//! nothing is left to try.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};

use super::upstream::{BodyError, SendError};

/// Which time limit passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// To a connection.
    Connect,
    /// To the first byte of the answer.
    FirstByte,
    /// Between two chunks.
    Idle,
    /// Of the whole request.
    Total,
}

impl Phase {
    /// As logs, metrics and errors name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Connect => "connect",
            Phase::FirstByte => "first_byte",
            Phase::Idle => "idle",
            Phase::Total => "total",
        }
    }

    /// As the `code` of an error object names it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Phase::Connect => "timeout_connect",
            Phase::FirstByte => "timeout_first_byte",
            Phase::Idle => "timeout_idle",
            Phase::Total => "timeout_total",
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// No connection: refused, unreachable, no such name.
    Connect,
    /// A connection, but no TLS on it.
    Tls,
    /// A time limit passed.
    TimedOut(Phase),
    /// The connection broke before the first byte of the answer's body.
    Broken,
    /// What came is no HTTP, or not safely so.
    Protocol,
    /// A status that another deployment may not give: 408, 429, 5xx.
    Status(StatusCode),
    /// 401, 403 or 407: the gateway's own credential is not accepted.
    Credential(StatusCode),
    /// A redirect or another status that no client of the API expects.
    Unexpected(StatusCode),
}

impl Cause {
    /// As logs and metrics label it; bounded: statuses are shown as they are only where they are
    /// statuses of HTTP.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Cause::Connect => "connect".into(),
            Cause::Tls => "tls".into(),
            Cause::TimedOut(phase) => phase.code().into(),
            Cause::Broken => "broken".into(),
            Cause::Protocol => "protocol".into(),
            Cause::Status(status) | Cause::Unexpected(status) => {
                format!("status_{}", status.as_u16())
            }
            Cause::Credential(status) => format!("credential_{}", status.as_u16()),
        }
    }

    /// The status the client gets when this is the last word.
    fn status(&self) -> StatusCode {
        match self {
            Cause::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            Cause::Status(status) => match *status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => *status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => {
                    StatusCode::GATEWAY_TIMEOUT
                }
                _ => StatusCode::BAD_GATEWAY,
            },
            Cause::Connect
            | Cause::Tls
            | Cause::Broken
            | Cause::Protocol
            | Cause::Credential(_)
            | Cause::Unexpected(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Connect => f.write_str("could not connect"),
            Cause::Tls => f.write_str("no TLS connection"),
            Cause::TimedOut(phase) => write!(f, "{} time-out", phase.as_str()),
            Cause::Broken => f.write_str("the connection broke before an answer"),
            Cause::Protocol => f.write_str("the answer is not HTTP"),
            Cause::Status(status) | Cause::Unexpected(status) => {
                write!(f, "answered {}", status.as_u16())
            }
            Cause::Credential(_) => f.write_str("did not accept the gateway's credential"),
        }
    }
}

/// An attempt that failed before a byte went to the client: another deployment may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// What the upstream asked to wait, in its own words.
    pub retry_after: Option<Bytes>,
    /// The upstream may be at work on the request all the same.
    pub ambiguous: bool,
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, retry_after: None, ambiguous: false }
    }
}

impl From<SendError> for Failure {
    fn from(SendError { cause, written }: SendError) -> Self {
        Self { ambiguous: written, ..Self::from(cause) }
    }
}

impl From<BodyError> for Cause {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Truncated | BodyError::Broken => Self::Broken,
            BodyError::Malformed(_) => Self::Protocol,
        }
    }
}

impl Failure {
    /// Takes what the answer of an upstream says beside its status.
    #[must_use]
    pub fn with_headers(cause: Cause, headers: &HeaderMap) -> Self {
        let retry_after = headers.get(hyper::header::RETRY_AFTER);
        let retry_after = retry_after.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        Self { retry_after, ..Self::from(cause) }
    }
}

/// Every attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// One for each attempt, with the deployment's name; not empty but where nothing could be tried.
    pub failures: Vec<(String, Failure)>,
}

impl Exhausted {
    /// The failure the client is told of: a client error (429) if there was one, else the last.
    fn telling(&self) -> Option<&Failure> {
        let client = |failure: &&Failure| failure.cause.status().is_client_error();
        let failures = || self.failures.iter().rev().map(|(_, failure)| failure);
        failures().find(client).or_else(|| failures().next())
    }

    /// 429, 502, 503 or 504.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.telling().map_or(StatusCode::SERVICE_UNAVAILABLE, |failure| failure.cause.status())
    }

    /// What the upstream asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<&Bytes> {
        self.telling().and_then(|failure| failure.retry_after.as_ref())
    }

    /// How long the time-out that decided was waited for, by name.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        match self.telling().map(|failure| &failure.cause) {
            Some(Cause::TimedOut(phase)) => Some(*phase),
            _ => None,
        }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.failures.is_empty() {
            return f.write_str("no deployment of the model can be tried now");
        }
        f.write_str("no deployment of the model answered: ")?;
        for (i, (name, failure)) in self.failures.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{name}: {}", failure.cause)?;
        }
        Ok(())
    }
}

/// The time left until `deadline`, as the smaller of it and `limit`, and which of the two it is.
#[must_use]
pub(super) fn within(limit: Duration, phase: Phase, left: Duration) -> (Duration, Phase) {
    if left < limit { (left, Phase::Total) } else { (limit, phase) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exhausted(causes: &[Cause]) -> Exhausted {
        let failures = causes.iter().map(|cause| ("d".to_owned(), cause.clone().into()));
        Exhausted { failures: failures.collect() }
    }

    #[test]
    fn the_most_useful_error_is_told() {
        let limited = Cause::Status(StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(exhausted(&[limited, Cause::Connect]).status(), 429);
        assert_eq!(exhausted(&[Cause::Connect, Cause::TimedOut(Phase::FirstByte)]).status(), 504);
        assert_eq!(exhausted(&[Cause::TimedOut(Phase::Connect), Cause::Connect]).status(), 502);
        assert_eq!(exhausted(&[Cause::Status(StatusCode::INTERNAL_SERVER_ERROR)]).status(), 502);
        assert_eq!(exhausted(&[Cause::Status(StatusCode::SERVICE_UNAVAILABLE)]).status(), 503);
        assert_eq!(exhausted(&[Cause::Credential(StatusCode::UNAUTHORIZED)]).status(), 502);
        assert_eq!(exhausted(&[]).status(), 503);
    }
}
