//! A failed attempt, and what it says of its deployment.

use std::time::Duration;

use answers::commit::Defect;
use fleet::{Fault, Outcome};

use super::cause::{Cause, Charged, Effect};

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// The wait that the deployment asks for: at most an hour.
    pub retry_after: Option<Duration>,
    /// The engine's own words, without its address and key.
    pub said: Option<String>,
    /// The request was sent, and no byte came back: the deployment may have answered it.
    pub ambiguous: bool,
}

/// Who is charged if the time of the whole request runs out during an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overtime {
    /// The deployment, which had its fair part of that time.
    Deployment,
    /// Nobody: other attempts or the line took the time, or the answer is merely long.
    Nobody,
}

impl Overtime {
    /// For an attempt that was left `given` of the request's `total`.
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
            Defect::Reported(error) => {
                let said = (!error.message.is_empty()).then_some(error.message);
                Self { said, ..Cause::Reported(error.status).into() }
            }
        }
    }
}

impl Failure {
    /// What it says of the deployment.
    #[must_use]
    pub fn outcome(&self, overtime: Overtime) -> Outcome {
        let Charged::Deployment(effect) = self.cause.facts().charged else {
            return Outcome::Neutral;
        };
        let cause = self.cause.to_string();
        let fault = match effect {
            Effect::Fault(fault) => fault,
            Effect::Limited => return Outcome::Limited { cause, wait: self.retry_after },
            Effect::LimitedIfSaid if self.retry_after.is_some() => {
                return Outcome::Limited { cause, wait: self.retry_after };
            }
            Effect::LimitedIfSaid => Fault::Answer,
            Effect::Credential => {
                let status = self.cause.answered().map_or(0, |status| status.as_u16());
                return Outcome::Credential { cause: format!("answered {status}") };
            }
            Effect::Overtime if overtime == Overtime::Nobody => return Outcome::Neutral,
            Effect::Overtime => Fault::Answer,
        };
        Outcome::Failure { cause, fault }
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
        for said in [failure(503, None), failure(500, Some(WAIT)), failure(504, Some(WAIT))] {
            let cause = said.cause.to_string();
            assert_eq!(outcome(said), Outcome::Failure { cause, fault: Fault::Answer });
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
        for (cause, fault) in [
            (Cause::Broken, Fault::Connection),
            (Cause::TimedOut(Phase::Connect), Fault::Connection),
            (Cause::TimedOut(Phase::FirstByte), Fault::Answer),
            (Cause::TimedOut(Phase::Total), Fault::Answer),
        ] {
            let want = Outcome::Failure { cause: cause.to_string(), fault };
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
        let status = Some(StatusCode::BAD_REQUEST);
        let reported = |message: &str| {
            Failure::from(Defect::Reported(Reported { message: message.into(), status }))
        };
        assert_eq!(reported("too long").said.as_deref(), Some("too long"));
        assert_eq!((reported("").said, reported("").cause), (None, Cause::Reported(status)));
    }
}
