//! The engine of a simulated deployment, which all gateways share.

use std::time::Duration;

use http::StatusCode;
use rand::{Rng, RngExt};

use routing::{Cause, Failure};

use super::cache::Cache;
use super::engine::{Engine, Job, Speed};
use super::random::{normal, seconds};
use super::scenario::{Refusal, Site, Trouble};
use super::workload::Request;

/// The engine of one deployment, with its network and its troubles.
pub(super) struct Machine<'a> {
    config: &'a Site,
    pub(super) engine: Engine,
    pub(super) cache: Cache,
}

/// The random fate of an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Luck {
    /// The engine gets the request.
    Good {
        /// Round-trip time of the network.
        latency: Duration,
        /// Factor by which the engine's work takes longer.
        slow: f64,
    },
    /// The attempt fails.
    Bad {
        /// Time until the failure is seen.
        latency: Duration,
        /// Cause of the failure.
        cause: Cause,
    },
}

impl<'a> Machine<'a> {
    pub(super) fn new(config: &'a Site) -> Self {
        let Site { parallel, decode, slowdown, cache, .. } = *config;
        let engine = Engine::new(Speed { parallel, decode, slowdown });
        Self { config, engine, cache: Cache::new(cache) }
    }

    /// Requests that the engine works on, and those in its line.
    pub(super) fn load(&self) -> [f64; 2] {
        let (running, waiting) = self.engine.load();
        #[expect(clippy::cast_precision_loss, reason = "a simulation has no 2^52 requests")]
        [running as f64, waiting as f64]
    }

    /// All troubles at a time. They may overlap.
    fn troubles(&self, now: Duration) -> impl Iterator<Item = Trouble> {
        let outages = self.config.outages.iter();
        outages.filter(move |outage| (outage.from..outage.to).contains(&now)).map(|o| o.kind)
    }

    /// True if nothing answers there.
    pub(super) fn is_down(&self, now: Duration) -> bool {
        self.troubles(now).any(|trouble| trouble == Trouble::Down)
    }

    pub(super) fn luck(&self, now: Duration, rng: &mut impl Rng) -> Luck {
        let (latency, point) = (self.config.latency.seconds(rng), rng.random::<f64>());
        let (mut failing, mut slow) = (self.config.failures, 1.0);
        let mut cause = Cause::Status(StatusCode::INTERNAL_SERVER_ERROR);
        for trouble in self.troubles(now) {
            match trouble {
                Trouble::Down => (failing, cause) = (1.0, Cause::Connect),
                Trouble::Failing(share) => failing = share.max(failing),
                Trouble::Slow(times) => slow *= times,
                Trouble::Stalled => {}
            }
        }
        match point < failing {
            true => Luck::Bad { latency, cause },
            false => Luck::Good { latency, slow },
        }
    }

    /// The refusal of a request that reaches the engine now. None: the engine takes it.
    pub(super) fn refusal(&self) -> Option<Failure> {
        let Refusal { queue, status, retry_after } = self.config.refusal?;
        let is_full = self.engine.has_waiting(queue);
        is_full.then(|| Failure { retry_after, ..Cause::Status(status).into() })
    }

    /// The engine's work for a request that arrives now. Cached prompt tokens need no prefill.
    pub(super) fn job(&self, id: usize, request: &Request, slow: f64, rng: &mut impl Rng) -> Job {
        let Site { prefill, jitter, .. } = *self.config;
        let mut uneven = || slow * (jitter * normal(rng)).exp();
        let read = f64::from(request.prompt - self.cache.known(request));
        Job {
            id,
            prefill: seconds(read / prefill * uneven()),
            tokens: f64::from(request.output) * uneven(),
        }
    }

    /// Cost of a complete answer in US dollars.
    pub(super) fn cost(&self, request: &Request) -> f64 {
        self.config.place.price.map_or(0.0, |price| {
            price.prompt * f64::from(request.prompt) + price.completion * f64::from(request.output)
        })
    }

    /// Cost in US dollars of an answer that was cancelled before its first token.
    pub(super) fn cost_of_prompt(&self, request: &Request) -> f64 {
        self.config.place.price.map_or(0.0, |price| price.prompt * f64::from(request.prompt))
    }
}
