//! What is simulated: a fleet, and the requests that come to it. Its YAML file is read
//! as a [`config::Document`] and not with serde alone: every mistake is shown at its line.

mod check;
mod raw;
mod recorded;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use config::{self, Concurrency, Diagnostics, Fallback};
use contract::Place;

use super::random::Distribution;

pub(super) use recorded::Recorded;

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it shows.
    pub description: String,
    /// The same seed, the same run.
    pub seed: u64,
    /// Requests arrive in so long.
    pub duration: Duration,
    /// The model that all of them ask for.
    pub model: String,
    /// Where it runs: at least one, names unique.
    pub sites: Vec<Site>,
    /// When requests arrive.
    pub arrivals: Arrivals,
    /// What arrives: at least one kind, with a share above 0.
    pub kinds: Vec<Kind>,
    /// Attempts of one request.
    pub fallback: Fallback,
    /// The longest an attempt waits for the first byte.
    pub first_byte: Duration,
    /// The longest a request takes, whatever becomes of it.
    pub total: Duration,
}

/// A deployment, and the engine behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// What strategies are told of it; its weight is normalised.
    pub place: Place,
    /// Attempts that the gateway makes at it at a time.
    pub concurrency: Concurrency,
    /// Sequences that its engine runs at a time, at least 1.
    pub parallel: usize,
    /// Seconds to get there and back.
    pub latency: Distribution,
    /// Tokens read a second, above 0.
    pub prefill: f64,
    /// Tokens written a second where one sequence runs alone, above 0.
    pub decode: f64,
    /// By what share each further sequence makes a step longer.
    pub slowdown: f64,
    /// Standard deviation of the logarithm of its speed.
    pub jitter: f64,
    /// Tokens of prompts that it keeps.
    pub cache: u64,
    /// Share of attempts that fail, 0 to 1.
    pub failures: f64,
    /// When it is not well.
    pub outages: Vec<Outage>,
}

/// A time in which a deployment is not well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    /// From the beginning of the simulation.
    pub from: Duration,
    /// Later than that.
    pub to: Duration,
    /// In what way.
    pub kind: Trouble,
}

/// In what way a deployment is not well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// Nothing is there: what is under way breaks, and connections are refused.
    Down,
    /// A share of the attempts fails.
    Failing(f64),
    /// Everything takes so many times as long.
    Slow(f64),
}

/// When requests arrive, or, of kinds that have them, sessions.
#[derive(Debug, Clone, PartialEq)]
pub enum Arrivals {
    /// Independently of each other, at a rate that may change.
    Rate {
        /// A second, each from its time on; in order, the first from 0.
        steps: Vec<(Duration, f64)>,
        /// Times of another rate.
        bursts: Option<Bursts>,
    },
    /// As they did once.
    Recorded(Vec<Recorded>),
}

/// Times of another rate that come again and again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bursts {
    /// From the beginning of one to that of the next.
    pub every: Duration,
    /// Less than that.
    pub lasting: Duration,
    /// A second.
    pub rate: f64,
}

/// A kind of request.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// Relative to the others.
    pub share: f64,
    /// Tokens that the user writes.
    pub prompt: Distribution,
    /// Tokens of the answer.
    pub output: Distribution,
    /// Tokens that come first in all prompts.
    pub system: u32,
    /// They come as conversations.
    pub session: Option<Session>,
    /// Who asks.
    pub tenant: Option<String>,
    /// Whether answers are streamed.
    pub stream: bool,
}

/// A conversation. Each prompt repeats what was said before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Session {
    /// Requests of one.
    pub turns: Distribution,
    /// Seconds from one to the next.
    pub pause: Distribution,
}

impl Scenario {
    /// Reads a scenario, and the access log that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let document =
            config::document(path, "name a scenario's file with `--scenario`", &|_| None)?;
        check::check(&document, path.parent().unwrap_or(Path::new("")))
    }

    /// What strategies are told of the deployments, once.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        self.sites.iter().map(|site| site.place.clone()).collect()
    }
}

impl Arrivals {
    /// A second, at a time.
    pub(super) fn rate(&self, at: Duration) -> f64 {
        let Self::Rate { steps, bursts } = self else { return 0.0 };
        match bursts {
            Some(bursts) if bursts.is_on(at) => bursts.rate,
            _ => steps.iter().rev().find(|(from, _)| *from <= at).map_or(0.0, |(_, rate)| *rate),
        }
    }

    /// The largest of all rates.
    pub(super) fn peak(&self) -> f64 {
        let Self::Rate { steps, bursts } = self else { return 0.0 };
        let rates = steps.iter().map(|(_, rate)| *rate).chain(bursts.map(|bursts| bursts.rate));
        rates.fold(0.0, f64::max)
    }
}

impl Bursts {
    fn is_on(&self, at: Duration) -> bool {
        let (every, at) = (self.every.as_nanos(), at.as_nanos());
        at >= every && at % every < self.lasting.as_nanos()
    }
}
