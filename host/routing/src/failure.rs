//! A failed attempt, and its outcome for the deployment.

use std::time::Duration;

use answers::commit::Defect;
use contract::Ending;
use fleet::{FailureKind, Outcome};

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
    pub said: Option<String>,
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
        Self { cause, retry_after: None, said: None, ambiguous: false }
    }
}

impl From<Defect> for Failure {
    fn from(defect: Defect) -> Self {
        match defect {
            Defect::Truncated => Cause::Truncated.into(),
            Defect::Empty => Cause::Empty.into(),
            Defect::Malformed => Cause::Malformed.into(),
            Defect::Reported(error) => {
                let said = (!error.message.is_empty()).then_some(error.message);
                Self { said, ..Cause::Reported(error.status).into() }
            }
        }
    }
}

impl Failure {
    /// How strategies that learn are told of an attempt that failed before its answer began.
    #[must_use]
    pub fn ending(&self) -> Ending {
        let facts = self.cause.facts();
        match facts.charged {
            // A 503 with `Retry-After` asks for a pause, as a 429 does.
            Charged::Deployment(Effect::LimitedIfSaid) if self.retry_after.is_some() => {
                Ending::Limited
            }
            _ => facts.ending,
        }
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
            Effect::LimitedIfSaid if self.retry_after.is_some() => {
                return Outcome::Limited { cause, wait: self.retry_after };
            }
            Effect::LimitedIfSaid => FailureKind::Answer,
            Effect::Credential => {
                let status = self.cause.answered().map_or(0, |status| status.as_u16());
                return Outcome::Credential { cause: format!("answered {status}") };
            }
            Effect::Overtime if overtime == Overtime::Nobody => return Outcome::Neutral,
            Effect::Overtime => FailureKind::Answer,
        };
        Outcome::Failure { cause, kind }
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
        let unsaid = outcome(failure(429, None));
        assert!(matches!(unsaid, Outcome::Limited { wait: None, .. }), "{unsaid:?}");
        for (status, wait, ending) in [
            (429, None, Ending::Limited),
            (503, Some(WAIT), Ending::Limited),
            (503, None, Ending::Failed),
            (500, Some(WAIT), Ending::Failed),
        ] {
            assert_eq!(failure(status, wait).ending(), ending, "{status} {wait:?}");
        }
        for said in [failure(503, None), failure(500, Some(WAIT)), failure(504, Some(WAIT))] {
            let cause = said.cause.to_string();
            assert_eq!(outcome(said), Outcome::Failure { cause, kind: FailureKind::Answer });
        }
    }

    #[test]
    fn a_refused_credential_is_named_by_its_status() {
        let refused = outcome(Cause::Credential(StatusCode::PAYMENT_REQUIRED));
        assert_eq!(refused, Outcome::Credential { cause: "answered 402".into() });
    }

    #[test]
    fn who_is_not_charged_hears_nothing() {
        let client = Cause::Reported(Some(StatusCode::BAD_REQUEST));
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
            (Cause::TimedOut(Phase::FirstByte), FailureKind::Answer),
            (Cause::TimedOut(Phase::Total), FailureKind::Answer),
        ] {
            let want = Outcome::Failure { cause: cause.to_string(), kind };
            assert_eq!(outcome(cause), want, "{cause:?}");
        }
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
        use answers::commit::Reported;
        assert_eq!(Failure::from(Defect::Truncated).cause, Cause::Truncated);
        assert_eq!(Failure::from(Defect::Empty).cause, Cause::Empty);
        assert_eq!(Failure::from(Defect::Malformed).cause, Cause::Malformed);
        let status = Some(StatusCode::BAD_REQUEST);
        let reported = |message: &str| {
            Failure::from(Defect::Reported(Reported { message: message.into(), status }))
        };
        assert_eq!(reported("too long").said.as_deref(), Some("too long"));
        assert_eq!((reported("").said, reported("").cause), (None, Cause::Reported(status)));
    }
}
