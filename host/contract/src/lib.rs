//! The contract between the gateway and a routing strategy in Rust: that of `wit/`, without
//! WebAssembly. Gateway and simulator use it. Only the crate `sandbox` knows how strategies are
//! implemented.
//!
//! A strategy decides off the request path ([`Strategy`]). If it decides each request, it is also
//! asked on the path ([`PathStrategy`]).

mod breaker;
mod cpu_share;
mod facts;
mod path;
mod side;
mod signal;
mod text;
mod weights;

use std::sync::Arc;
use std::time::Duration;

pub use breaker::{Breaker, Call, Rest, RestCause};
pub use cpu_share::{CpuShare, MeanTime};
pub use facts::{Facts, Needs};
pub use path::{PathStatus, PathStrategy, Question, Weighing};
pub use side::Side;
pub use signal::{Signal, SignalFacts, SignalScope, SignalSet};
pub use text::is_plain;
pub use weights::{BadWeights, RawWeights, Weights};

/// A routing strategy, ready to be asked.
///
/// Life cycle: a strategy is created and configured while a configuration is loaded, never on the
/// request path. Then the decision thread owns it. The thread calls [`assign`](Strategy::assign)
/// for a model when it is loaded, when one of its deployments changes, and every
/// [`Description::refresh`]. It calls [`outcome`](Strategy::outcome) when attempts have ended. The
/// strategy is dropped once the next configuration is in use.
pub trait Strategy: Send {
    /// Its description, which does not change.
    fn description(&self) -> &Description;

    /// How to share one model's traffic. The answer is unchecked: see [`Weights::check`].
    ///
    /// # Errors
    /// A [`Fault`] does not affect the next call: the implementation recovers by itself.
    fn assign(
        &mut self,
        local: &[Candidate<'_>],
        remote: &[Candidate<'_>],
    ) -> Result<RawWeights, Fault>;

    /// Its part on the request path. None if it decides only off the path.
    fn on_path(&self) -> Option<Arc<dyn PathStrategy>> {
        None
    }

    /// Asks about one request, off the request path. A strategy that decides only off the path
    /// gives the answer of [`assign`](Strategy::assign).
    ///
    /// # Errors
    /// As [`assign`](Strategy::assign).
    fn assign_request(&mut self, question: Question<'_>) -> Result<RawWeights, Fault> {
        self.assign(question.local, question.remote)
    }

    /// True if it wants to be told how attempts ended.
    fn learns(&self) -> bool {
        false
    }

    /// Takes the attempts that have ended since the last call. Called only if it
    /// [`learns`](Strategy::learns).
    ///
    /// # Errors
    /// As [`assign`](Strategy::assign).
    fn outcome(&mut self, _attempts: &[EndedAttempt]) -> Result<(), Fault> {
        Ok(())
    }

    /// Takes the CPU time of its calls since the last call of this method, as far as it is charged:
    /// calls whose [`MeanTime`] is free cost nothing. Calls on the request path are not included.
    fn take_cpu_time(&mut self) -> Duration {
        Duration::ZERO
    }
}

/// The identity of a strategy, and what it asks for.
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
    /// Ask again after this time even if nothing changed. At least 100 ms.
    pub refresh: Option<Duration>,
    /// Facts of a request that it wants to be told.
    pub needs: Needs,
}

/// The facts about a deployment that are fixed while a configuration is in use. A strategy gets the
/// places of all models that it decides for. The position in that list is the [`Candidate::id`].
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Unique within the model.
    pub name: String,
    /// Id of the model it runs.
    pub model: String,
    /// Local if the user runs it, else remote.
    pub side: Side,
    /// Configured share, 0 to 1.
    pub weight: f64,
    /// Requests it takes at a time, at least 1.
    pub capacity: u32,
    /// Its price, if configured.
    pub price: Option<Price>,
    /// Tokens of prompt and answer together.
    pub context_length: u64,
}

/// A deployment as a strategy sees it at one moment: numbers and names, never a URL, a key or a
/// prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// Position of `place` among those the strategy was given.
    pub id: u32,
    /// Its fixed facts.
    pub place: &'a Place,
    /// Requests in flight, scaled up by its error rate: a deployment that fails fast must not look
    /// idle.
    pub in_flight: u32,
    /// Requests that wait for a place at it.
    pub queued: u32,
    /// Moving average of the time to first byte, in milliseconds. None if there was no answer
    /// lately.
    pub latency: Option<f64>,
    /// Share of its recent attempts that failed, 0 to 1.
    pub error_rate: f64,
}

/// US dollars per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// For a prompt token.
    pub prompt: f64,
    /// For a completion token.
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
    /// With a status that says that the deployment is full, such as 429 or 503.
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
pub struct EndedAttempt {
    /// The [`Candidate::id`] of the deployment.
    pub deployment: u32,
    /// How it ended.
    pub ending: Ending,
    /// Status of the deployment's answer, if there was one.
    pub status: Option<u16>,
    /// Time to the first byte of content, if there was one.
    pub first_byte: Option<Duration>,
    /// Time to the end of the attempt.
    pub total: Duration,
    /// Tokens of the prompt, if reported.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the answer, if reported.
    pub completion_tokens: Option<u32>,
    /// Cost in US dollars, if tokens and prices are known.
    pub cost: Option<f64>,
}

/// The part that a strategy plays in a trial. The two share no state: each has its own `store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The strategy in use: its weights decide.
    Live,
    /// The strategy on trial: its weights are compared, or decide for a canary's share of requests.
    Candidate,
}

/// Why a strategy's answer could not be used. The causes are counted separately because they need
/// different fixes: a trap is a bug, a time-out is high cost, a refusal is a bad answer, and busy
/// means slow.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The guest trapped (or exhausted memory or stack, or could not be instantiated).
    #[error("trapped: {0}")]
    Trap(String),
    /// The guest ran past its deadline.
    #[error("still running after {0:?}")]
    TimedOut(Duration),
    /// The guest answered with weights that cannot be used.
    #[error("refused: {0}")]
    Refused(#[from] BadWeights),
    /// All instances were busy with other requests, or are still being created.
    #[error("no instance was free")]
    Busy,
    /// The strategy is out of use for a time, after faults or for its CPU time.
    #[error("out of use for a time")]
    Off,
    /// The call took more CPU time than was left of this, which the strategy has each second.
    #[error("beyond its share of CPU time, {0:?} a second (`sandbox.cpu_share`)")]
    Overspent(Duration),
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
            Fault::Overspent(_) => "cpu",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_own_label() {
        let faults = [
            (Fault::Trap("unreachable".into()), "trap"),
            (Fault::TimedOut(Duration::from_millis(10)), "timeout"),
            (Fault::Refused(BadWeights::Sum(0.0)), "refused"),
            (Fault::Busy, "busy"),
            (Fault::Off, "off"),
            (Fault::Overspent(Duration::from_millis(100)), "cpu"),
        ];
        for (fault, label) in faults {
            assert_eq!(fault.cause(), label, "{fault}");
        }
    }

    /// Gives every local deployment the weight 7.
    struct Fixed(Description);

    impl Strategy for Fixed {
        fn description(&self) -> &Description {
            &self.0
        }

        fn assign(
            &mut self,
            local: &[Candidate<'_>],
            _: &[Candidate<'_>],
        ) -> Result<RawWeights, Fault> {
            Ok(RawWeights { local: vec![7.0; local.len()], remote: Vec::new() })
        }
    }

    #[test]
    fn a_strategy_decides_off_the_path_and_learns_nothing() {
        let mut strategy = Fixed(Description {
            name: "fixed".into(),
            version: "1".into(),
            summary: String::new(),
            parameters: serde_json::json!({}),
            refresh: None,
            needs: Needs::default(),
        });
        assert!(strategy.on_path().is_none() && !strategy.learns());
        assert_eq!((strategy.outcome(&[]), strategy.take_cpu_time()), (Ok(()), Duration::ZERO));
        let place = Place {
            name: "d".into(),
            model: "m".into(),
            side: Side::Local,
            weight: 1.0,
            capacity: 1,
            price: None,
            context_length: 1,
        };
        let (place, latency) = (&place, None);
        let one = Candidate { id: 0, place, in_flight: 0, queued: 0, latency, error_rate: 0.0 };
        let (local, facts) = ([one], &Facts::default());
        let question = Question { model: "m", stream: false, facts, local: &local, remote: &[] };
        assert_eq!(strategy.assign_request(question), strategy.assign(&local, &[]));
    }

    #[test]
    fn needs_of_two_are_those_of_either() {
        let needs = |bits: u8| Needs {
            prompt_tokens: bits & 1 != 0,
            session: bits & 2 != 0,
            prefixes: bits & 4 != 0,
        };
        for (a, b) in (0..8).flat_map(|a| (0..8).map(move |b| (a, b))) {
            assert_eq!(needs(a).or(needs(b)), needs(a | b), "{a} {b}");
        }
    }

    #[test]
    fn sides_have_names() {
        assert_eq!([Side::Local, Side::Remote].map(Side::as_str), ["local", "remote"]);
    }
}
