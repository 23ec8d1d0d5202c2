//! A deployment while it is simulated: the engine, and what the gateway knows of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use rand::{Rng, RngExt};

use config::{Share, SlowStart};
use contract::Candidate;
use fleet::{Condition, Load, Prospect, Sibling, Standing};
use routing::{Cause, Deployments};

use super::cache::Cache;
use super::engine::{Engine, Job, Speed};
use super::random::{normal, seconds};
use super::scenario::{self, Trouble};
use super::workload::Request;

/// One deployment.
pub(super) struct Site<'a> {
    pub(super) config: &'a scenario::Site,
    id: u32,
    pub(super) engine: Engine,
    pub(super) cache: Cache,
    pub(super) load: Arc<Load>,
    pub(super) standing: Standing,
    /// Attempts that have a place; those of `Load` are the same, less those that are being ended.
    pub(super) busy: u32,
    /// Requests that wait for a place.
    pub(super) line: VecDeque<usize>,
    /// What the beginning of the simulation is called in the gateway's own time.
    epoch: Instant,
}

/// What becomes of an attempt, as far as chance has a say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Luck {
    /// The engine gets it.
    Good {
        /// To get there and back.
        latency: Duration,
        /// Factor of everything that the engine does for it.
        slow: f64,
    },
    /// It fails.
    Bad {
        /// After so long.
        latency: Duration,
        /// For this reason.
        cause: Cause,
    },
}

impl<'a> Site<'a> {
    pub(super) fn new(id: u32, config: &'a scenario::Site, epoch: Instant) -> Self {
        let scenario::Site { parallel, decode, slowdown, .. } = *config;
        Self {
            config,
            id,
            engine: Engine::new(Speed { parallel, decode, slowdown }),
            cache: Cache::new(config.cache),
            load: Arc::default(),
            // Chance has names here, and this one would change with every run.
            standing: Standing::with_jitter(|| 0.0),
            busy: 0,
            line: VecDeque::new(),
            epoch,
        }
    }

    /// A time of the simulation as the gateway's parts take it.
    pub(super) fn instant(&self, now: Duration) -> Instant {
        self.epoch + now
    }

    /// How it is doing, as the gateway sees it.
    pub(super) fn condition(&self, now: Duration) -> Condition {
        self.standing.state(self.instant(now), &SlowStart::default()).condition
    }

    /// Whether it lets requests through.
    pub(super) fn is_open(&self, now: Duration) -> bool {
        self.standing.is_open(self.instant(now))
    }

    /// Whether all of its places are taken.
    pub(super) fn is_full(&self) -> bool {
        self.busy >= self.config.concurrency.max
    }

    /// What its eligibility depends on.
    pub(super) fn prospect(&self, now: Duration) -> Prospect {
        let place = &self.config.place;
        let (side, weight, condition) = (place.side, place.weight, self.condition(now));
        Prospect { side, share: Share::Assigned, weight, condition }
    }

    /// How it is seen when another one may be ejected.
    pub(super) fn sibling(&self, now: Duration) -> Sibling {
        match self.standing.is_out(self.instant(now)) {
            true => Sibling::Out,
            false => Sibling::OfUse,
        }
    }

    /// What a strategy sees of it.
    pub(super) fn candidate(&self, now: Duration) -> Candidate<'_> {
        let (place, waiting) = (&self.config.place, self.line.len());
        self.load.candidate(self.id, place, waiting, self.condition(now), now)
    }

    /// The trouble of a time, if it is in any.
    fn troubles(&self, now: Duration) -> impl Iterator<Item = Trouble> {
        let outages = self.config.outages.iter();
        outages.filter(move |outage| (outage.from..outage.to).contains(&now)).map(|o| o.kind)
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
            }
        }
        match point < failing {
            true => Luck::Bad { latency, cause },
            false => Luck::Good { latency, slow },
        }
    }

    /// What the engine has to do for a request that comes now.
    pub(super) fn job(&self, id: usize, request: &Request, slow: f64, rng: &mut impl Rng) -> Job {
        let scenario::Site { prefill, jitter, .. } = *self.config;
        let mut uneven = || slow * (jitter * normal(rng)).exp();
        let read = f64::from(request.prompt - self.cache.known(request));
        Job {
            id,
            prefill: seconds(read / prefill * uneven()),
            tokens: f64::from(request.output) * uneven(),
        }
    }

    /// Dollars of an answer.
    pub(super) fn cost(&self, request: &Request) -> f64 {
        self.config.place.price.map_or(0.0, |price| {
            price.prompt * f64::from(request.prompt) + price.completion * f64::from(request.output)
        })
    }
}

/// All deployments at one time, as an itinerary looks at them.
#[derive(Clone, Copy)]
pub(super) struct Sites<'s, 'a> {
    pub(super) all: &'s [Site<'a>],
    pub(super) now: Duration,
}

impl Deployments for Sites<'_, '_> {
    fn is_eligible(&self, at: usize) -> bool {
        self.all[at].condition(self.now).is_eligible()
    }

    fn is_open(&self, at: usize, now: Instant) -> bool {
        self.all[at].standing.is_open(now)
    }

    /// No deployment asks to be left alone.
    fn is_cooling(&self, _at: usize, _now: Instant) -> bool {
        false
    }

    /// No deployment is probed.
    fn is_up(&self, _at: usize) -> bool {
        true
    }

    fn is_failing(&self, at: usize) -> bool {
        self.all[at].load.is_failing()
    }

    fn patience(&self, at: usize) -> Duration {
        self.all[at].config.concurrency.wait
    }
}
