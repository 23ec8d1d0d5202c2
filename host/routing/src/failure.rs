//! A failed attempt, and its outcome for the deployment.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use answers::commit::Defect;
use answers::refusal::{Sense, Words};
use contract::Ending;
use fleet::{FailureKind, Outcome, Suspicion};

use super::cause::{Cause, Charged, Effect};

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why it failed.
    pub cause: Cause,
    /// The wait that the deployment asks for, at most an hour.
    pub retry_after: Option<Duration>,
    /// The engine's own words. They may contain addresses and keys, which the proxy must redact before
    /// a client sees them.
    pub said: Option<Box<Words>>,
    /// The engine's answer as it is, redacted, if it is an error object of the API.
    pub body: Option<Bytes>,
    /// What went wrong in detail, for the log: `Connection refused`, `UnknownIssuer`.
    pub detail: Option<Box<str>>,
    /// The request was sent, and no byte came back: the deployment may have answered it.
    pub ambiguous: bool,
}

/// Who is charged if the time of the whole request runs out during an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overtime {
    /// The deployment: the attempt had at least half of that time.
    Deployment,
    /// Nobody: other attempts or the queue took the time, or the answer is merely long.
    Nobody,
}

impl Overtime {
    /// For an attempt that had `given` of the request's `total` left when it began.
    #[must_use]
    pub fn of(given: Duration, total: Duration) -> Self {
        if given < total / 2 { Self::Nobody } else { Self::Deployment }
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, retry_after: None, said: None, body: None, detail: None, ambiguous: false }
    }
}

impl Failure {
    /// The failure of an answer of status 200 that has this defect. `sent` is the model's name as
    /// it was sent.
    #[must_use]
    pub fn of_defect(defect: Defect, sent: &str) -> Self {
        match defect {
            Defect::Truncated => Cause::Truncated.into(),
            Defect::Empty => Cause::Empty.into(),
            Defect::Malformed => Cause::Malformed.into(),
            Defect::Reported(words) => {
                let sense = Sense::of(words.status, &words, sent);
                let status = words.status.and_then(|status| StatusCode::from_u16(status).ok());
                // A 404 in a body is about the request: the endpoint has answered.
                Self::from(Cause::of_body(status, sense, true)).with(words)
            }
        }
    }

    /// The failure with the engine's words, if it has some, and the wait that they ask for.
    #[must_use]
    pub fn with(self, words: Words) -> Self {
        let retry_after = self.retry_after.or(words.wait);
        let said = (words != Words::default()).then(|| Box::new(words));
        Self { said, retry_after, ..self }
    }

    /// The message of the engine.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        let message = &*self.said.as_ref()?.message;
        (!message.is_empty()).then_some(message)
    }

    /// How strategies that learn are told of an attempt that failed before its answer began.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.cause.facts().ending
    }

    /// True if the deployment refused the request because it is full. It may take it later.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.cause.facts().charged == Charged::Deployment(Effect::Limited)
    }

    /// The outcome for the deployment. `overtime` matters only for a total time-out.
    #[must_use]
    pub fn outcome(&self, overtime: Overtime) -> Outcome {
        let Charged::Deployment(effect) = self.cause.facts().charged else {
            return Outcome::Neutral;
        };
        let cause = self.cause.to_string();
        let kind = match effect {
            Effect::Failure(kind) => kind,
            Effect::Limited => return Outcome::Limited { cause, wait: self.retry_after },
            Effect::Late => return Outcome::Late { cause },
            Effect::Suspicion(of) => return self.suspicion(of),
            Effect::Overtime if overtime == Overtime::Nobody => return Outcome::Neutral,
            Effect::Overtime => FailureKind::Answer,
        };
        Outcome::Failure { cause, kind }
    }

    fn suspicion(&self, of: Suspicion) -> Outcome {
        let status = self.cause.answered().map_or(0, |status| status.as_u16());
        let cause = format!("answered {status}");
        match of {
            Suspicion::Credential => Outcome::Credential { cause },
            Suspicion::Refused => Outcome::Refused { cause },
            Suspicion::Model => Outcome::NoModel { cause },
            Suspicion::Endpoint => Outcome::NoEndpoint { cause },
        }
    }

    /// True if the request may be at fault when it fails like this at two deployments: the engine
    /// failed or crashed while working on it.
    #[must_use]
    pub fn may_be_poison(&self) -> bool {
        let engines = matches!(
            self.cause,
            Cause::Status(_)
                | Cause::Reported
                | Cause::Broken
                | Cause::Truncated
                | Cause::Empty
                | Cause::Malformed
                | Cause::Protocol
        );
        engines && matches!(self.outcome(Overtime::Deployment), Outcome::Failure { .. })
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::Phase;

    const WAIT: Duration = Duration::from_secs(7);

    fn failure(status: u16, retry_after: Option<Duration>) -> Failure {
        let status = StatusCode::from_u16(status).expect("a status");
        Failure { retry_after, ..Cause::Status(status).into() }
    }

    fn outcome(failure: impl Into<Failure>) -> Outcome {
        failure.into().outcome(Overtime::Deployment)
    }

    #[test]
    fn a_wait_that_is_asked_for_is_no_fault() {
        for status in [429, 503] {
            let cause = format!("answered {status}");
            let limited = Outcome::Limited { cause, wait: Some(WAIT) };
            assert_eq!(outcome(failure(status, Some(WAIT))), limited);
        }
        for status in [429, 503] {
            let unsaid = outcome(failure(status, None));
            assert!(matches!(unsaid, Outcome::Limited { wait: None, .. }), "{unsaid:?}");
        }
        for (status, wait, ending) in [
            (429, None, Ending::Refused),
            (503, Some(WAIT), Ending::Refused),
            (503, None, Ending::Refused),
            (500, Some(WAIT), Ending::Failed),
        ] {
            assert_eq!(failure(status, wait).ending(), ending, "{status} {wait:?}");
        }
        for said in [failure(500, Some(WAIT)), failure(504, Some(WAIT))] {
            let cause = said.cause.to_string();
            assert_eq!(outcome(said), Outcome::Failure { cause, kind: FailureKind::Answer });
        }
    }

    #[test]
    fn a_suspicion_is_named_by_its_status() {
        let (status, cause) = (StatusCode::NOT_FOUND, || "answered 404".to_owned());
        for (of, want) in [
            (Cause::Credential(status), Outcome::Credential { cause: cause() }),
            (Cause::Refused(status), Outcome::Refused { cause: cause() }),
            (Cause::NoModel(status), Outcome::NoModel { cause: cause() }),
            (Cause::NoEndpoint(status), Outcome::NoEndpoint { cause: cause() }),
        ] {
            assert_eq!(outcome(of), want);
        }
    }

    #[test]
    fn poison_is_what_an_engine_fails_at() {
        for cause in [Cause::Reported, Cause::Broken, Cause::Status(StatusCode::BAD_GATEWAY)] {
            assert!(Failure::from(cause).may_be_poison(), "{cause:?}");
        }
        let full = Cause::Status(StatusCode::TOO_MANY_REQUESTS);
        let late = Cause::TimedOut(Phase::FirstByte);
        for cause in [Cause::Connect, Cause::Tls, Cause::Stopping, full, late] {
            assert!(!Failure::from(cause).may_be_poison(), "{cause:?}");
        }
    }

    #[test]
    fn who_is_not_charged_hears_nothing() {
        let client = Cause::Rejected(StatusCode::BAD_REQUEST);
        for cause in [Cause::NoDescriptors, Cause::Stopping, Cause::Internal, client] {
            assert_eq!(outcome(cause), Outcome::Neutral, "{cause:?}");
        }
        assert_eq!(outcome(failure(408, Some(WAIT))), Outcome::Neutral);
    }

    #[test]
    fn connections_and_answers_fail_apart() {
        for (cause, kind) in [
            (Cause::Broken, FailureKind::Connection),
            (Cause::TimedOut(Phase::Connect), FailureKind::Connection),
            (Cause::TimedOut(Phase::Total), FailureKind::Answer),
        ] {
            let want = Outcome::Failure { cause: cause.to_string(), kind };
            assert_eq!(outcome(cause), want, "{cause:?}");
        }
        let late = outcome(Cause::TimedOut(Phase::FirstByte));
        assert_eq!(late, Outcome::Late { cause: "first_byte time-out".into() });
    }

    #[test]
    fn overtime_is_charged_from_half_of_the_total() {
        let total = Duration::from_secs(10);
        assert_eq!(Overtime::of(Duration::from_secs(5), total), Overtime::Deployment);
        assert_eq!(Overtime::of(Duration::from_millis(4999), total), Overtime::Nobody);
        let late = Failure::from(Cause::TimedOut(Phase::Total));
        assert_eq!(late.outcome(Overtime::Nobody), Outcome::Neutral);
        let idle = Failure::from(Cause::TimedOut(Phase::Idle));
        assert_ne!(idle.outcome(Overtime::Nobody), Outcome::Neutral, "its own limit passed");
    }

    #[test]
    fn defects_of_answers_become_failures() {
        assert_eq!(Failure::of_defect(Defect::Truncated, "m").cause, Cause::Truncated);
        assert_eq!(Failure::of_defect(Defect::Empty, "m").cause, Cause::Empty);
        assert_eq!(Failure::of_defect(Defect::Malformed, "m").cause, Cause::Malformed);
        let reported = |message: &str, status| {
            let words = Words { message: message.into(), status, ..Words::default() };
            Failure::of_defect(Defect::Reported(words), "m")
        };
        let rejected = reported("no", Some(400));
        assert_eq!(rejected.message(), Some("no"));
        assert_eq!(rejected.cause, Cause::Rejected(StatusCode::BAD_REQUEST));
        let silent = reported("", None);
        assert_eq!((silent.said, silent.cause), (None, Cause::Reported));
    }
}
