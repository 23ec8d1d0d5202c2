//! Why an attempt failed, whether trying elsewhere can help, and what the client is told when
//! nothing is left to try.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use hyper::{HeaderMap, StatusCode};

use answers::commit::Defect;
use contract::Ending;
use fleet::{Fault, Outcome, Waste};

use crate::upstream::{BodyError, SendError};

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
    /// Between two pieces of the answer that the client takes.
    ClientIdle,
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
            Phase::ClientIdle => "client_idle",
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
            Phase::ClientIdle => "timeout_client_idle",
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// No connection: refused, unreachable, no such name.
    Connect,
    /// No connection, for want of a file descriptor or a buffer of the gateway's own.
    NoDescriptors,
    /// A connection, but no TLS on it.
    Tls,
    /// A time limit passed.
    TimedOut(Phase),
    /// The connection broke before an answer.
    Broken,
    /// What came is no HTTP, or not safely so.
    Protocol,
    /// A status that another deployment may not give: 408, 429, 5xx.
    Status(StatusCode),
    /// 401, 402, 403 or 407: the gateway's own credential is not accepted.
    Credential(StatusCode),
    /// A redirect or another status that no client of the API expects.
    Unexpected(StatusCode),
    /// The answer ended before it was whole.
    Truncated,
    /// The answer ended without anything a client could use.
    Empty,
    /// An answer of status 200 that says itself that the engine failed; with the client error it
    /// amounts to, where it is one.
    Reported(Option<StatusCode>),
    /// The gateway stops, and the time it gives to what is in flight is over.
    Stopping,
    /// A fault of the gateway.
    Internal,
}

impl Cause {
    /// As logs and metrics label it; bounded: statuses are shown as they are only where they are
    /// statuses of HTTP.
    #[must_use]
    pub fn label(&self) -> Cow<'static, str> {
        match self {
            Cause::Connect => "connect".into(),
            Cause::NoDescriptors => "no_descriptors".into(),
            Cause::Tls => "tls".into(),
            Cause::TimedOut(phase) => phase.code().into(),
            Cause::Broken => "broken".into(),
            Cause::Protocol => "protocol".into(),
            Cause::Status(status) | Cause::Unexpected(status) => {
                format!("status_{}", status.as_u16()).into()
            }
            Cause::Credential(status) => format!("credential_{}", status.as_u16()).into(),
            Cause::Truncated => "truncated".into(),
            Cause::Empty => "empty".into(),
            Cause::Reported(_) => "error_in_body".into(),
            Cause::Stopping => "stopping".into(),
            Cause::Internal => "internal_error".into(),
        }
    }

    /// What became of the work of an engine that was asked. None: it has not been at work; one that
    /// says no has not.
    pub(super) fn waste(&self) -> Option<Waste> {
        match self {
            Cause::Connect
            | Cause::Tls
            | Cause::TimedOut(Phase::Connect)
            | Cause::NoDescriptors
            | Cause::Credential(_)
            | Cause::Unexpected(_)
            | Cause::Reported(Some(_)) => None,
            Cause::Status(status) if matches!(status.as_u16(), 408 | 429 | 503) => None,
            Cause::TimedOut(_) => Some(Waste::Timeout),
            Cause::Stopping => Some(Waste::Stopping),
            Cause::Broken
            | Cause::Protocol
            | Cause::Status(_)
            | Cause::Truncated
            | Cause::Empty
            | Cause::Internal
            | Cause::Reported(None) => Some(Waste::Broken),
        }
    }

    /// The status of the deployment's answer, where that is what failed.
    pub(super) fn answered(&self) -> Option<StatusCode> {
        match self {
            Cause::Status(status) | Cause::Credential(status) | Cause::Unexpected(status) => {
                Some(*status)
            }
            _ => None,
        }
    }

    /// In the words that strategies are told.
    pub(super) fn ending(&self) -> Ending {
        match self {
            Cause::TimedOut(_) => Ending::TimedOut,
            Cause::Status(StatusCode::TOO_MANY_REQUESTS) => Ending::Limited,
            Cause::Reported(Some(status)) if status.is_client_error() => Ending::ClientError,
            Cause::Truncated => Ending::Broken,
            _ => Ending::Failed,
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
            Cause::Reported(Some(status)) => *status,
            Cause::NoDescriptors | Cause::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Cause::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Cause::Connect
            | Cause::Tls
            | Cause::Broken
            | Cause::Protocol
            | Cause::Credential(_)
            | Cause::Unexpected(_)
            | Cause::Truncated
            | Cause::Empty
            | Cause::Reported(None) => StatusCode::BAD_GATEWAY,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Connect => f.write_str("could not connect"),
            Cause::NoDescriptors => f.write_str("the gateway has no file descriptors left"),
            Cause::Tls => f.write_str("no TLS connection"),
            Cause::TimedOut(phase) => write!(f, "{} time-out", phase.as_str()),
            Cause::Broken => f.write_str("the connection broke before an answer"),
            Cause::Protocol => f.write_str("the answer is not HTTP"),
            Cause::Status(status) | Cause::Unexpected(status) => {
                write!(f, "answered {}", status.as_u16())
            }
            Cause::Credential(_) => f.write_str("did not accept the gateway's credential"),
            Cause::Truncated => f.write_str("the answer ended before it was whole"),
            Cause::Empty => f.write_str("the answer ended without content"),
            Cause::Reported(_) => f.write_str("answered with an error"),
            Cause::Stopping => f.write_str("the gateway is stopping"),
            Cause::Internal => f.write_str("the gateway failed; its log says why"),
        }
    }
}

/// An attempt that failed before a byte went to the client: another deployment may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// What the upstream asked to wait: at most an hour.
    pub retry_after: Option<Duration>,
    /// What the engine said of it, in its own words, without its address and key.
    pub said: Option<String>,
    /// The request was sent, and no byte came back: it may have been answered all the same.
    pub ambiguous: bool,
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, retry_after: None, said: None, ambiguous: false }
    }
}

impl From<Defect> for Failure {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::Truncated => Cause::Truncated.into(),
            Defect::Empty => Cause::Empty.into(),
            Defect::Reported(error) => {
                let said = (!error.message.is_empty()).then_some(error.message);
                Self { said, ..Cause::Reported(error.status).into() }
            }
        }
    }
}

impl From<SendError> for Failure {
    fn from(SendError { cause, written }: SendError) -> Self {
        Self { ambiguous: written, ..cause.into() }
    }
}

impl From<BodyError> for Cause {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Truncated | BodyError::Broken => Self::Truncated,
            BodyError::Malformed(_) => Self::Protocol,
        }
    }
}

impl Failure {
    /// Takes what the answer of an upstream says beside its status.
    #[must_use]
    pub fn with_headers(cause: Cause, headers: &HeaderMap) -> Self {
        Self { retry_after: retry_after(headers), ..cause.into() }
    }

    /// Whether the time of the whole request is up.
    #[must_use]
    pub fn is_total(&self) -> bool {
        self.cause == Cause::TimedOut(Phase::Total)
    }

    /// What it says of the deployment.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let cause = self.cause.to_string();
        let fault = match &self.cause {
            Cause::Connect
            | Cause::Tls
            | Cause::Broken
            | Cause::Truncated
            | Cause::TimedOut(Phase::Connect) => Fault::Connection,
            // The client is at fault.
            Cause::Reported(Some(_)) | Cause::TimedOut(Phase::ClientIdle) => {
                return Outcome::Neutral;
            }
            Cause::TimedOut(_)
            | Cause::Unexpected(_)
            | Cause::Protocol
            | Cause::Empty
            | Cause::Reported(None) => Fault::Answer,
            // Nobody was asked, or the gateway is at fault.
            Cause::NoDescriptors | Cause::Stopping | Cause::Internal => return Outcome::Neutral,
            Cause::Credential(status) => {
                return Outcome::Credential { cause: format!("answered {}", status.as_u16()) };
            }
            Cause::Status(status) => match (status.as_u16(), self.retry_after) {
                (429, wait) | (503, wait @ Some(_)) => return Outcome::Limited { cause, wait },
                (400..=499, _) => return Outcome::Neutral,
                _ => Fault::Answer,
            },
        };
        Outcome::Failure { cause, fault }
    }
}

/// The longest that a deployment is left alone for its word.
const LONGEST: Duration = Duration::from_secs(3600);

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(hyper::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => LONGEST,
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST))
}

/// What clients are asked to wait where there is no room for them: requests that end give theirs back.
const OVERLOAD: Duration = Duration::from_secs(1);

/// Every attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// One for each attempt, with the deployment's name; not empty but where nothing could be tried.
    pub failures: Vec<(String, Failure)>,
    /// The shortest time after which a deployment that is out for a time now may be used again.
    pub wait: Option<Duration>,
    /// There were deployments left to try, and no budget for another attempt.
    pub over_budget: bool,
    /// A deployment had no place for the request.
    pub busy: bool,
}

impl Exhausted {
    /// The failure the client is told of: a client error (429) if there was one, else the last.
    fn telling(&self) -> Option<&Failure> {
        let client = |failure: &&Failure| failure.cause.status().is_client_error();
        let failures = || self.failures.iter().rev().map(|(_, failure)| failure);
        failures().find(client).or_else(|| failures().next())
    }

    /// What there was too little of, as metrics name it, where nothing else is wrong.
    #[must_use]
    pub fn shed(&self) -> Option<&'static str> {
        match self.telling() {
            None => self.busy.then_some("concurrency"),
            Some(failure) => (failure.cause == Cause::NoDescriptors).then_some("descriptors"),
        }
    }

    /// 429, 502, 503 or 504.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.telling().map_or(StatusCode::SERVICE_UNAVAILABLE, |failure| failure.cause.status())
    }

    /// What the client is asked to wait, where waiting is what helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let asks = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        let wait = if self.shed().is_some() { Some(OVERLOAD) } else { self.wait };
        wait.filter(|_| asks.contains(&self.status()))
    }

    /// Whether the same request sent again at once may fare better.
    #[must_use]
    pub fn retry_may_help(&self) -> bool {
        // Clients that try again at once are what the budget is against.
        !self.over_budget
            && self.telling().is_none_or(|failure| match failure.cause {
                Cause::Credential(_)
                | Cause::Unexpected(_)
                | Cause::Reported(Some(_))
                | Cause::TimedOut(Phase::Total) => false,
                // It may have been answered, and that must not happen twice.
                _ => !failure.ambiguous,
            })
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
        if self.busy && self.failures.is_empty() {
            return f.write_str("all deployments of the model are busy; send the request again");
        }
        if self.failures.is_empty() {
            return f.write_str("no deployment of the model can be tried now");
        }
        if let Some(Failure { cause: Cause::Reported(Some(_)), said: Some(said), .. }) =
            self.telling()
        {
            return f.write_str(said);
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
        Exhausted { failures: failures.collect(), wait: None, over_budget: false, busy: false }
    }

    #[test]
    fn a_wait_is_seconds_or_a_date_and_at_most_an_hour() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().expect("a header"));
            retry_after(&headers)
        };
        assert_eq!(read("30"), Some(Duration::from_secs(30)));
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read("86400"), Some(LONGEST));
        assert_eq!(read("99999999999999999999999"), Some(LONGEST));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO), "long ago");
        assert_eq!(read("Fri, 31 Dec 9999 23:59:59 GMT"), Some(LONGEST));
        for text in ["", "-1", "1.5", "soon"] {
            assert_eq!(read(text), None, "{text}");
        }
        let soon = SystemTime::now() + Duration::from_secs(60);
        let mut headers = HeaderMap::new();
        let date = httpdate::fmt_http_date(soon).parse().expect("a header");
        headers.insert("retry-after", date);
        let wait = retry_after(&headers).expect("a date");
        assert!((58..=60).contains(&wait.as_secs()), "{wait:?}");
    }

    #[test]
    fn what_an_answer_says_of_its_deployment() {
        let failure = |status, retry_after| Failure {
            retry_after,
            ..Cause::Status(StatusCode::from_u16(status).expect("a status")).into()
        };
        let wait = Duration::from_secs(7);
        let limited = |status, wait| {
            let cause = format!("answered {status}");
            (failure(status, Some(wait)).outcome(), Outcome::Limited { cause, wait: Some(wait) })
        };
        for (said, want) in [limited(429, wait), limited(503, wait)] {
            assert_eq!(said, want);
        }
        let unsaid = failure(429, None).outcome();
        assert!(matches!(unsaid, Outcome::Limited { wait: None, .. }), "{unsaid:?}");
        assert!(matches!(failure(503, None).outcome(), Outcome::Failure { .. }));
        assert!(matches!(failure(500, Some(wait)).outcome(), Outcome::Failure { .. }));
        assert_eq!(failure(408, None).outcome(), Outcome::Neutral);
        let slow = Failure::from(Cause::TimedOut(Phase::FirstByte)).outcome();
        assert!(matches!(slow, Outcome::Failure { fault: Fault::Answer, .. }));
        let lost = Failure::from(Cause::Broken).outcome();
        assert!(matches!(lost, Outcome::Failure { fault: Fault::Connection, .. }));
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
