//! A strategy on the request path.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use super::{Description, Facts, Fault, RestCause, Situation, Verdict};

/// A question to a strategy about one request.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Canonical id of the model asked for.
    pub model: &'a str,
    /// True if the client asked for a stream.
    pub stream: bool,
    /// The other facts about the request.
    pub facts: &'a Facts,
    /// The eligible deployments.
    pub situation: Situation<'a>,
    /// How often the strategy has held the request.
    pub held: u32,
}

/// The future of a strategy's answer.
pub type Deciding<'a> = Pin<Box<dyn Future<Output = Result<Verdict, Fault>> + 'a>>;

/// A strategy that is asked for each request, from any core.
///
/// An implementation enforces its own deadline, takes itself out of use for a time after faults,
/// and creates new instances off the request path. An answer therefore always comes soon.
pub trait PathStrategy: Debug + Send + Sync {
    /// Its description: what it wants to be told, and its reasons.
    fn description(&self) -> &Description;

    /// Says what happens with this request. Must be polled inside a tokio runtime with time
    /// enabled.
    ///
    /// # Errors
    /// A [`Fault`] does not affect the next request.
    fn decide<'a>(&'a self, question: Question<'a>) -> Deciding<'a>;

    /// Whether it is in use, and its last fault.
    fn status(&self) -> PathStatus;
}

/// The status of a strategy on the request path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStatus {
    /// Why it is out of use for a time. None while it is in use.
    pub off: Option<RestCause>,
    /// Its last fault since it was loaded.
    pub last_error: Option<String>,
}
