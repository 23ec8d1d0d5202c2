//! The rules that hold in every scene. Each rule is judged by what engines did and saw, and not by
//! what the gateway believes.

mod allowance;
mod deployments;
mod lost;
mod record;

use std::fmt;
use std::time::Duration;

pub(crate) use allowance::Allowance;
pub(crate) use deployments::SETTLED;
pub(crate) use record::Record;

/// A rule that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// No request is lost that a deployment could have answered.
    Lost,
    /// No request is repeated that must not be, or sent to a deployment that is forbidden to it.
    SentAgain,
    /// No client is told that a cut answer, or something that is no answer, is whole.
    CutAsWhole,
    /// No whole answer is told to be broken.
    WholeAsCut,
    /// A client gets the bytes of one answer, unchanged and in order.
    Mixed,
    /// No more attempts than a request may make, no more at a deployment than it takes, no more
    /// waiting than its queue holds, and none in a pause that it asked for.
    OverLimit,
    /// No more extra attempts than the retry budget gives.
    OverBudget,
    /// A full engine is kept full.
    NotFull,
    /// No deployment is out for another's fault.
    OutForAnother,
    /// At most half of a model's deployments are ejected.
    TooManyOut,
    /// Each deployment comes back, in time.
    NeverBack,
    /// Each request ends in its time.
    Unended,
    /// Nothing is held once all requests have ended.
    Leaked,
    /// No request goes on and on at one moment, which would keep a core busy.
    Spins,
    /// Nothing panics.
    Panicked,
}

/// A rule that did not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// Since the beginning of the scene.
    pub at: Duration,
    /// The number of the request, if it was one.
    pub request: Option<u64>,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, at, request, what } = self;
        write!(f, "{rule:?} at {:.3} s", at.as_secs_f64())?;
        if let Some(request) = request {
            write!(f, ", request {request}")?;
        }
        write!(f, ": {what}")
    }
}
