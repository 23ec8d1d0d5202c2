//! The contract between the gateway and a routing strategy in Rust: that of `wit/`, without
//! WebAssembly. Gateway and simulator use it. Only the crate `sandbox` knows how strategies are
//! implemented.
//!
//! A strategy decides off the request path ([`Strategy`]). If it decides each request, it is also
//! asked on the path ([`PathStrategy`]).

mod attempt;
mod breaker;
mod candidate;
mod column;
mod cpu_share;
mod facts;
mod fault;
mod money;
mod path;
mod side;
mod signal;
mod surroundings;
mod text;
mod verdict;
mod weights;

use std::sync::Arc;
use std::time::Duration;

pub use attempt::{EndedAttempt, Ending};
pub use breaker::{Breaker, Call, Rest, RestCause};
pub use candidate::{Candidate, CandidateState, Place, Price, Situation};
pub use column::{Column, KnownBudgets};
pub use cpu_share::{CpuShare, MeanTime};
pub use facts::{Facts, Modalities, Needs, Tenant};
pub use fault::Fault;
pub use money::{BadAmount, Picodollars};
pub use path::{Deciding, PathStatus, PathStrategy, Question};
pub use side::Side;
pub use signal::{Signal, SignalFacts, SignalScope, SignalSet};
pub use surroundings::{Moment, Surroundings};
pub use text::is_plain;
pub use verdict::{
    BadVerdict, Denial, Hedge, LONGEST_HOLD, RawHedge, RawPlan, RawVerdict, RequestPlan, Tiers,
    Verdict, WhenFull,
};
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
    fn assign(&mut self, situation: Situation<'_>) -> Result<RawWeights, Fault>;

    /// Its part on the request path. None if it decides only off the path.
    fn on_path(&self) -> Option<Arc<dyn PathStrategy>> {
        None
    }

    /// Asks about one request, off the request path. A strategy that decides only off the path
    /// gives the answer of [`assign`](Strategy::assign).
    ///
    /// # Errors
    /// As [`assign`](Strategy::assign).
    fn assign_request(&mut self, question: Question<'_>) -> Result<RawVerdict, Fault> {
        self.assign(question.situation).map(RawVerdict::from)
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
    /// The signals that it reads, in its order. None: one that this host does not know, and that
    /// the strategy can do without.
    pub signals: Vec<Option<Column>>,
    /// The reasons that its verdicts name by their index.
    pub reasons: Vec<String>,
}

impl Description {
    /// The signals that it is told: those that it reads, and those behind the numbers of a
    /// [`Candidate`], unless it is asked only when deployments change.
    #[must_use]
    pub fn told(&self, on_path: bool) -> SignalSet {
        let own: SignalSet = self.signals.iter().flatten().map(|column| column.signal).collect();
        match on_path || self.refresh.is_some() {
            true => own.or([Signal::DurationMean, Signal::RefusedRate].into_iter().collect()),
            false => own,
        }
    }

    /// A strategy of this name that takes no parameters and asks for nothing.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: "1".to_owned(),
            summary: String::new(),
            parameters: serde_json::json!({}),
            refresh: None,
            needs: Needs::default(),
            signals: Vec::new(),
            reasons: Vec::new(),
        }
    }
}

/// The part that a strategy plays in a trial. The two share no state: each has its own `store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The strategy in use: its weights decide.
    Live,
    /// The strategy on trial: its weights are compared, or decide for a canary's share of requests.
    Candidate,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives every local deployment the weight 7.
    struct Fixed(Description);

    impl Strategy for Fixed {
        fn description(&self) -> &Description {
            &self.0
        }

        fn assign(&mut self, situation: Situation<'_>) -> Result<RawWeights, Fault> {
            Ok(RawWeights { local: vec![7.0; situation.local.len()], remote: Vec::new() })
        }
    }

    #[test]
    fn a_strategy_decides_off_the_path_and_learns_nothing() {
        let mut strategy = Fixed(Description::named("fixed"));
        assert!(strategy.on_path().is_none() && !strategy.learns());
        assert_eq!((strategy.outcome(&[]), strategy.take_cpu_time()), (Ok(()), Duration::ZERO));
        let place = Place::new("d", "m", Side::Local);
        let (local, facts) = ([Candidate::idle(0, &place)], &Facts::default());
        let situation = Situation { local: &local, ..Situation::default() };
        let question = Question { model: "m", stream: false, facts, situation, held: 0 };
        let weights = strategy.assign(situation).expect("weights");
        assert_eq!(strategy.assign_request(question), Ok(RawVerdict::from(weights)));
    }

    #[test]
    fn needs_of_two_are_those_of_either() {
        let needs = |bits: u8| Needs {
            prompt_tokens: bits & 1 != 0,
            session: bits & 2 != 0,
            prefixes: bits & 4 != 0,
            tenant_name: bits & 8 != 0,
        };
        for (a, b) in (0..16).flat_map(|a| (0..16).map(move |b| (a, b))) {
            assert_eq!(needs(a).or(needs(b)), needs(a | b), "{a} {b}");
        }
    }

    #[test]
    fn sides_have_names() {
        assert_eq!([Side::Local, Side::Remote].map(Side::as_str), ["local", "remote"]);
    }
}
