//! A deployment while it is simulated: the engine, and what the gateway knows of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use contract::Candidate;
use fleet::{Ejections, Load};

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
    pub(super) ejections: Ejections,
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
            ejections: Ejections::default(),
            busy: 0,
            line: VecDeque::new(),
            epoch,
        }
    }

    /// A time of the simulation as the gateway's parts take it.
    pub(super) fn instant(&self, now: Duration) -> Instant {
        self.epoch + now
    }

    /// Not ejected, or with a trial to be had.
    pub(super) fn is_open(&self, now: Duration) -> bool {
        self.ejections.out().is_none() || self.ejections.trial_is_free(self.instant(now))
    }

    /// Its time as ejected is not over.
    pub(super) fn is_out(&self, now: Duration) -> bool {
        self.ejections.out().is_some_and(|out| out.until > self.instant(now))
    }

    /// What a strategy sees of it, as the gateway's `Deployment::candidate`.
    pub(super) fn candidate(&self, now: Duration) -> Candidate<'_> {
        let (load, fresh) = (&self.load, self.ejections.out().is_some());
        Candidate {
            id: self.id,
            place: &self.config.place,
            in_flight: if fresh { load.in_flight() } else { load.apparent_in_flight() },
            queued: u32::try_from(self.line.len()).unwrap_or(u32::MAX),
            latency: load.recent_latency(now).filter(|_| !fresh),
            error_rate: if fresh { 0.0 } else { load.error_rate() },
        }
    }

    /// The trouble of a time, if it is in any.
    fn troubles(&self, now: Duration) -> impl Iterator<Item = Trouble> {
        let outages = self.config.outages.iter();
        outages.filter(move |outage| (outage.from..outage.to).contains(&now)).map(|o| o.kind)
    }

    pub(super) fn luck(&self, now: Duration, rng: &mut impl Rng) -> Luck {
        let (latency, point) = (self.config.latency.seconds(rng), rng.random::<f64>());
        let (mut failing, mut slow) = (self.config.failures, 1.0);
        for trouble in self.troubles(now) {
            match trouble {
                Trouble::Down => failing = 1.0,
                Trouble::Failing(share) => failing = share.max(failing),
                Trouble::Slow(times) => slow *= times,
            }
        }
        match point < failing {
            true => Luck::Bad { latency },
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
