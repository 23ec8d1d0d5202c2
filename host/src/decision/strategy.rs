//! What the decision layer needs of a strategy.

use std::time::Duration;

use super::{BadWeights, RawWeights};

/// A routing strategy, ready to be asked.
///
/// Life cycle: made and configured while a configuration is being loaded (never on the request path), then
/// owned by the decision thread, which calls [`assign`](Strategy::assign) once per model whenever
/// eligibility or configuration change and every [`Description::refresh`]. Dropped when the next
/// configuration is in use.
pub trait Strategy: Send {
    /// Who it is.
    fn description(&self) -> &Description;

    /// How to share one model's traffic. The answer is unchecked: see [`Weights::check`](super::Weights::check).
    ///
    /// # Errors
    /// A [`Fault`] says nothing about the next call: an implementation recovers by itself.
    fn assign(&mut self, local: &[Candidate], remote: &[Candidate]) -> Result<RawWeights, Fault>;
}

/// Who a strategy is and what it asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Lower-case name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// What it does, in one line.
    pub summary: String,
    /// JSON Schema of its parameters: always an object.
    pub parameters: serde_json::Value,
    /// Ask again after this long even if nothing happened; at least 100 ms.
    pub refresh: Option<Duration>,
}

/// A deployment as a strategy sees it: numbers and names, never a URL, a key or a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Unique within the model.
    pub name: String,
    /// The model whose traffic is being shared.
    pub model: String,
    /// Configured share, 0 to 1.
    pub weight: f64,
    /// Requests sent to it and not yet finished.
    pub in_flight: u32,
    /// Moving average of the time to first byte, in milliseconds. None before the first answer.
    pub latency: Option<f64>,
    /// Share of its recent attempts that failed, 0 to 1.
    pub error_rate: f64,
    /// What it costs, where configured.
    pub price: Option<Price>,
    /// Further named numbers.
    pub signals: Vec<(String, f64)>,
}

/// US dollars per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Of a prompt token.
    pub prompt: f64,
    /// Of a completion token.
    pub completion: f64,
}

/// Why a strategy's answer could not be used. The three are counted apart, because they have
/// different owners: a trap is a bug, a time-out is cost, a refusal is a bad answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The guest trapped (or exhausted memory or stack, or could not be instantiated).
    #[error("trapped: {0}")]
    Trap(String),
    /// The guest ran past its deadline.
    #[error("still running after {0:?}")]
    TimedOut(Duration),
    /// The guest answered, with weights that cannot be used.
    #[error("refused: {0}")]
    Refused(#[from] BadWeights),
}

impl Fault {
    /// The cause in one word, as metrics label it: `trap`, `timeout`, `refused`.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Fault::Trap(_) => "trap",
            Fault::TimedOut(_) => "timeout",
            Fault::Refused(_) => "refused",
        }
    }
}
