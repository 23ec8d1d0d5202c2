//! What the gateway and a routing strategy say to each other, in Rust: the contract of `wit/`, without
//! WebAssembly. Host and simulator speak it; only the crate `sandbox` knows what is behind.
//!
//! A strategy decides off the request path ([`Strategy`]) and, where it wants to see each request, on
//! it too ([`PathStrategy`]).

mod breaker;
mod facts;
mod path;
mod side;
mod weights;

use std::sync::Arc;
use std::time::Duration;

pub use breaker::{Breaker, Call};
pub use facts::{Facts, Needs};
pub use path::{PathStatus, PathStrategy, Question, Weighing};
pub use side::Side;
pub use weights::{BadWeights, RawWeights, Weights};

/// A routing strategy, ready to be asked.
///
/// Life cycle: made and configured while a configuration is being loaded (never on the request path), then
/// owned by the decision thread, which calls [`assign`](Strategy::assign) about a model when it is loaded, whenever
/// one of its deployments changes, and every [`Description::refresh`]. The thread calls
/// [`outcome`](Strategy::outcome) when attempts have ended. Dropped when the next configuration is in use.
pub trait Strategy: Send {
    /// Who it is.
    fn description(&self) -> &Description;

    /// How to share one model's traffic. The answer is unchecked: see [`Weights::check`].
    ///
    /// # Errors
    /// A [`Fault`] says nothing about the next call: an implementation recovers by itself.
    fn assign(
        &mut self,
        local: &[Candidate<'_>],
        remote: &[Candidate<'_>],
    ) -> Result<RawWeights, Fault>;

    /// Its side on the request path. None: it decides off the path only.
    fn on_path(&self) -> Option<Arc<dyn PathStrategy>> {
        None
    }

    /// What it would say of one request, asked off the request path. Of one that decides off the path only,
    /// that is what it says of all.
    ///
    /// # Errors
    /// As [`assign`](Strategy::assign).
    fn assign_request(&mut self, question: Question<'_>) -> Result<RawWeights, Fault> {
        self.assign(question.local, question.remote)
    }

    /// Whether it wants to be told how attempts went.
    fn learns(&self) -> bool {
        false
    }

    /// Takes attempts that have ended since the last call. Asked only of one that
    /// [`learns`](Strategy::learns).
    ///
    /// # Errors
    /// As [`assign`](Strategy::assign).
    fn outcome(&mut self, _attempts: &[Attempt]) -> Result<(), Fault> {
        Ok(())
    }
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
    /// Facts of a request that it wants to be told.
    pub needs: Needs,
}

/// What stays the same about a deployment for as long as a configuration is in use. A strategy is
/// given the places of all models that it decides for; the position in that list is the
/// [`Candidate::id`].
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Unique within the model.
    pub name: String,
    /// The model it runs.
    pub model: String,
    /// Who runs it.
    pub side: Side,
    /// Configured share, 0 to 1.
    pub weight: f64,
    /// Requests it takes at a time, at least 1.
    pub capacity: u32,
    /// What it costs, where configured.
    pub price: Option<Price>,
    /// Tokens of prompt and answer together.
    pub context_length: u64,
}

/// A deployment as a strategy sees it at one moment: numbers and names, never a URL, a key or a prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// Position of `place` among those the strategy was given.
    pub id: u32,
    /// What stays the same.
    pub place: &'a Place,
    /// Requests sent to it and not yet finished.
    pub in_flight: u32,
    /// Requests that wait in line for a place at it.
    pub queued: u32,
    /// Moving average of the time to first byte, in milliseconds. None before the first answer.
    pub latency: Option<f64>,
    /// Share of its recent attempts that failed, 0 to 1.
    pub error_rate: f64,
}

/// US dollars per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Of a prompt token.
    pub prompt: f64,
    /// Of a completion token.
    pub completion: f64,
}

/// How an attempt ended, in the words of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a whole answer.
    Ok,
    /// With an error that was the client's own fault.
    ClientError,
    /// The client went away.
    Cancelled,
    /// With 429, or 503 and the wish to be left alone.
    Limited,
    /// With another error, or without a connection.
    Failed,
    /// With a time-out.
    TimedOut,
    /// In the middle of the answer.
    Broken,
}

/// One attempt that has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempt {
    /// The [`Candidate::id`] of the deployment.
    pub deployment: u32,
    /// How it ended.
    pub ending: Ending,
    /// Status of the deployment's answer, where there was one.
    pub status: Option<u16>,
    /// To the first byte of content, where there was one.
    pub first_byte: Option<Duration>,
    /// To its end.
    pub total: Duration,
    /// Tokens of the prompt, where reported.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the answer, where reported.
    pub completion_tokens: Option<u32>,
    /// US dollars, where tokens and prices are known.
    pub cost: Option<f64>,
}

/// Why a strategy's answer could not be used. They are counted apart, because they have different
/// owners: a trap is a bug, a time-out is cost, a refusal is a bad answer, and one that is busy is slow.
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
    /// All instances were busy with other requests, or are being made.
    #[error("no instance was free")]
    Busy,
    /// It is out of use for a time, because of the faults before.
    #[error("out of use after several faults in a row")]
    Off,
}

impl Fault {
    /// The cause in one word, as metrics label it: `trap`, `timeout`, `refused`, `busy`, `off`.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Fault::Trap(_) => "trap",
            Fault::TimedOut(_) => "timeout",
            Fault::Refused(_) => "refused",
            Fault::Busy => "busy",
            Fault::Off => "off",
        }
    }
}
