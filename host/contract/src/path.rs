//! A strategy on the request path.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use super::{Candidate, Facts, Fault, Needs, Weights};

/// What a strategy is asked about one request.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Canonical id of the model asked for.
    pub model: &'a str,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// What else is known of the request.
    pub facts: &'a Facts,
    /// Eligible local deployments.
    pub local: &'a [Candidate<'a>],
    /// Eligible remote deployments.
    pub remote: &'a [Candidate<'a>],
}

/// An answer that is on its way.
pub type Weighing<'a> = Pin<Box<dyn Future<Output = Result<Weights, Fault>> + 'a>>;

/// A strategy that is asked for each request, from any core.
///
/// An implementation keeps its own deadline, takes itself out of use for a time when it fails, and makes
/// what it needs anew away from the request: an answer always comes soon.
pub trait PathStrategy: Debug + Send + Sync {
    /// Facts that it wants to be told.
    fn needs(&self) -> Needs;

    /// How to share this request. Must be polled inside a tokio runtime with time.
    ///
    /// # Errors
    /// A [`Fault`] says nothing about the next request.
    fn weigh<'a>(&'a self, question: Question<'a>) -> Weighing<'a>;

    /// How it is doing.
    fn status(&self) -> PathStatus;
}

/// How a strategy is doing on the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStatus {
    /// Whether it is out of use for its faults.
    pub off: bool,
    /// Its last fault since it was loaded.
    pub last_error: Option<String>,
}
