//! A scenario: a fleet and its requests. The YAML file is read as a [`config::Document`] and not
//! with serde alone, so that every mistake is shown at its line.

mod bursts;
mod check;
mod drift;
mod lines;
mod money;
mod raw;
mod recorded;
#[cfg(test)]
mod tests;
mod trace;

use std::path::Path;
use std::time::Duration;

use config::{self, Budget, Concurrency, Diagnostics, Fallback, Hedging, Scraping, SlowStart};
use contract::{KnownBudgets, Place};
use fleet::Tariff;
use http::StatusCode;

use super::random::Distribution;

pub(super) use drift::Drift;
pub(super) use recorded::Recorded;
pub(super) use trace::BLOCK as TRACE_BLOCK;

/// A checked scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The purpose of the scenario, which reports show.
    pub description: String,
    /// Seed of all random numbers. The same seed gives the same run.
    pub seed: u64,
    /// Time in which requests arrive. The simulation goes on until the last has ended.
    pub duration: Duration,
    /// The model of all requests.
    pub model: String,
    /// The deployments: at least one, with unique names.
    pub sites: Vec<Site>,
    /// When requests arrive.
    pub arrivals: Arrivals,
    /// Kinds of requests. At least one has a share above 0.
    pub kinds: Vec<Kind>,
    /// Limits on the attempts of one request.
    pub fallback: Fallback,
    /// Time-out of an attempt's first byte.
    pub first_byte: Duration,
    /// Time-out of a whole request.
    pub total: Duration,
    /// Instances of each strategy, at least 1: see [`Cores`](super::Cores).
    pub cores: u8,
    /// Gateways in front of the deployments, at least 1. A request goes to one of them at random.
    pub gateways: u8,
    /// How old strategies see the numbers of engines. None: they see them as they are.
    pub scraping: Option<Scraping>,
    /// The limit on second attempts.
    pub hedging: Hedging,
    /// How a deployment that comes back gets its share again.
    pub slow_start: SlowStart,
    /// Most tokens of an answer. None: only the context limits it.
    pub max_output_length: Option<u32>,
    /// The budgets of each gateway.
    pub budgets: Vec<Budget>,
}

/// A deployment, and the engine behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// The part that strategies see. The weights of all sites sum to 1.
    pub place: Place,
    /// Limits of concurrent attempts and of the line in the gateway.
    pub concurrency: Concurrency,
    /// Sequences that the engine runs at a time, at least 1.
    pub parallel: usize,
    /// Round-trip time of the network in seconds.
    pub latency: Distribution,
    /// Prompt tokens read per second, above 0.
    pub prefill: f64,
    /// Answer tokens written per second by a sequence that runs alone, above 0.
    pub decode: f64,
    /// Relative increase of a step's time for each further sequence, at least 0.
    pub slowdown: f64,
    /// Standard deviation of the logarithm of the speed.
    pub jitter: f64,
    /// Size of the prefix cache in prompt tokens.
    pub cache: u64,
    /// Share of attempts that fail, inside and outside of outages, 0 to 1.
    pub failures: f64,
    /// Periods of trouble. They may overlap.
    pub outages: Vec<Outage>,
    /// Refusals of the engine when it is full. None: it takes all requests.
    pub refusal: Option<Refusal>,
    /// Changes of the engine's speed.
    pub drift: Option<Drift>,
    /// The price in exact amounts.
    pub tariff: Tariff,
    /// The budgets that cover it, as bits by their position in [`Scenario::budgets`].
    pub budgets: u64,
}

/// The refusals of a full engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refusal {
    /// Requests that wait in the engine when it refuses further ones.
    pub queue: usize,
    /// The status, one that says that the engine is full.
    pub status: StatusCode,
    /// The time of `Retry-After`, if there is one.
    pub retry_after: Option<Duration>,
}

/// A period of trouble at a deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    /// Start, as time since the start of the simulation.
    pub from: Duration,
    /// End, exclusive, later than `from`.
    pub to: Duration,
    /// The kind of trouble.
    pub kind: Trouble,
}

/// The kind of trouble at a deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// The engine is gone: open attempts break, and connections are refused.
    Down,
    /// This share of the attempts fails, 0 to 1.
    Failing(f64),
    /// All work takes this many times as long.
    Slow(f64),
    /// The engine accepts requests and begins no answer. Answers that have begun go on.
    Stalled,
}

/// When requests arrive. For a kind with sessions, when sessions begin.
#[derive(Debug, Clone, PartialEq)]
pub enum Arrivals {
    /// Independent of each other, at a rate that may change.
    Rate {
        /// Arrivals per second, each from its time on. Ordered by time.
        steps: Vec<(Duration, f64)>,
        /// Periods with another rate.
        bursts: Option<Bursts>,
    },
    /// As recorded in an access log or a trace.
    Recorded(Vec<Recorded>),
}

/// Recurring periods with another rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bursts {
    /// Time from the start of a burst to the start of the next. The first starts after this time.
    pub every: Duration,
    /// Duration of a burst, less than `every`.
    pub lasting: Duration,
    /// Arrivals per second during a burst. Of recorded requests, their speed relative to the record.
    pub rate: f64,
}

/// A kind of request.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// The share of this kind, relative to the others.
    pub share: f64,
    /// Tokens of the user's message.
    pub prompt: Distribution,
    /// Tokens of the answer.
    pub output: Distribution,
    /// Tokens of the system prompt, which all requests of the kind share.
    pub system: u32,
    /// Set if requests come as conversations.
    pub session: Option<Session>,
    /// The tenant that strategies are told.
    pub tenant: Option<String>,
    /// True if answers are streamed.
    pub stream: bool,
    /// The limit on tokens of the answer that a request sets.
    pub max_tokens: Option<u32>,
}

/// A conversation. Each prompt repeats the whole conversation before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Session {
    /// Number of requests in a conversation.
    pub turns: Distribution,
    /// Seconds from one request to the next.
    pub pause: Distribution,
}

impl Scenario {
    /// Reads a scenario, and the access log or trace that it names.
    ///
    /// # Errors
    /// All mistakes of the file.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let document =
            config::document(path, "name a scenario's file with `--scenario`", &|_| None)?;
        check::check(&document, path.parent().unwrap_or(Path::new("")))
    }

    /// The deployments as strategies see them in `configure`.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        self.sites.iter().map(|site| site.place.clone()).collect()
    }

    /// The budgets whose signals strategies may ask for.
    #[must_use]
    pub fn known_budgets(&self) -> KnownBudgets {
        KnownBudgets::named(self.budgets.iter().map(|budget| &*budget.name))
    }

    /// The most tokens that an answer to a request with this limit of its own has.
    pub(super) fn longest_answer(&self, own: Option<u32>) -> u32 {
        own.into_iter().chain(self.max_output_length).min().unwrap_or(u32::MAX)
    }
}

impl Arrivals {
    /// Arrivals per second at a time. 0 for recorded arrivals.
    pub(super) fn rate(&self, at: Duration) -> f64 {
        let Self::Rate { steps, bursts } = self else { return 0.0 };
        match bursts {
            Some(bursts) if bursts.is_on(at) => bursts.rate,
            _ => steps.iter().rev().find(|(from, _)| *from <= at).map_or(0.0, |(_, rate)| *rate),
        }
    }

    /// The largest of all rates. 0 for recorded arrivals.
    pub(super) fn peak(&self) -> f64 {
        let Self::Rate { steps, bursts } = self else { return 0.0 };
        let rates = steps.iter().map(|(_, rate)| *rate).chain(bursts.map(|bursts| bursts.rate));
        rates.fold(0.0, f64::max)
    }
}
