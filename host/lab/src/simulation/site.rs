//! A simulated deployment: its engine, and the gateway's state of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use rand::{Rng, RngExt};

use config::{Share, SlowStart};
use contract::{Candidate, Signal};
use fleet::{
    Condition, DeploymentSignals, Entry, Load, ModelSignals, PrefixIndex, Prices, Prospect,
    RequestSignals, Sibling, SignalSource, Slot, Slots, Standing,
};
use routing::{Cause, Deployments, Event};

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
    /// The places for attempts, and the pressure on them.
    pub(super) slots: Arc<Slots>,
    /// What is recorded for signals.
    pub(super) signals: Arc<DeploymentSignals>,
    /// Requests that wait for a place, first come first served.
    pub(super) line: VecDeque<usize>,
    /// Start of the simulation as an `Instant`, for the gateway's own parts.
    epoch: Instant,
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

impl<'a> Site<'a> {
    pub(super) fn new(
        id: u32,
        config: &'a scenario::Site,
        epoch: Instant,
        (model, index): (Arc<ModelSignals>, Arc<PrefixIndex>),
    ) -> Self {
        let scenario::Site { parallel, decode, slowdown, .. } = *config;
        let signals = DeploymentSignals::new(config.place.side, model, index);
        Self {
            config,
            id,
            engine: Engine::new(Speed { parallel, decode, slowdown }),
            cache: Cache::new(config.cache),
            load: Arc::default(),
            // The gateway's own jitter has no seed, and would make each run different.
            standing: Standing::with_jitter(|| 0.0),
            slots: Arc::new(Slots::with_jitter(config.place.side, config.concurrency.max, || 0.0)),
            signals: Arc::new(signals),
            line: VecDeque::new(),
            epoch,
        }
    }

    /// Converts a time of the simulation to an `Instant` for the gateway's own parts.
    pub(super) fn instant(&self, now: Duration) -> Instant {
        self.epoch + now
    }

    /// Its condition as the gateway sees it.
    pub(super) fn condition(&self, now: Duration) -> Condition {
        self.standing.state(self.instant(now), &SlowStart::default()).condition
    }

    /// True if it admits requests.
    pub(super) fn is_open(&self, now: Duration) -> bool {
        self.standing.is_open(self.instant(now))
    }

    /// Takes a free place, unless others wait for one.
    pub(super) fn enter(&self, place: &mut Option<Slot>, now: Instant) -> Event {
        if !self.line.is_empty() && !self.slots.is_pressed() {
            return Event::Full;
        }
        match self.slots.try_enter(now) {
            Entry::Place(slot) => {
                *place = Some(slot);
                Event::Entered
            }
            Entry::Full => Event::Full,
            Entry::Pressed { soon } => Event::Pressed { soon },
        }
    }

    /// The facts that decide its eligibility.
    pub(super) fn prospect(&self, now: Duration) -> Prospect {
        let place = &self.config.place;
        let (side, weight, condition) = (place.side, place.weight, self.condition(now));
        Prospect { side, share: Share::Assigned, weight, condition }
    }

    /// Its part in the decision whether another deployment may be ejected.
    pub(super) fn sibling(&self, now: Duration) -> Sibling {
        match self.standing.is_out(self.instant(now)) {
            true => Sibling::Out,
            false => Sibling::OfUse,
        }
    }

    /// Its state as strategies see it.
    pub(super) fn candidate(&self, now: Duration) -> Candidate<'_> {
        let condition = self.condition(now);
        let known = |signal| {
            let value = self.signal(signal, None, now);
            (!value.is_nan()).then_some(value)
        };
        let idle = Candidate {
            duration: known(Signal::DurationMean),
            refused_rate: known(Signal::RefusedRate).unwrap_or_default(),
            queued: u32::try_from(self.line.len()).unwrap_or(u32::MAX),
            limit: self.slots.limit(),
            state: condition.of_candidate(),
            ..Candidate::idle(self.id, &self.config.place)
        };
        match condition {
            Condition::HalfOpen => Candidate { in_flight: self.load.in_flight(), ..idle },
            _ => self.load.candidate(idle, now),
        }
    }

    /// The value of a signal, as strategies see it. NaN if it is not known.
    pub(super) fn signal(
        &self,
        signal: Signal,
        request: Option<&RequestSignals>,
        now: Duration,
    ) -> f64 {
        let prices = self.config.place.price.map_or(Prices::default(), |price| Prices {
            prompt: price.prompt,
            cached: price.cached,
            completion: price.completion,
            request: 0.0,
        });
        let source = SignalSource { slots: &self.slots, waiting: self.line.len(), prices };
        let (running, waiting) = self.engine.load();
        #[expect(clippy::cast_precision_loss, reason = "a simulation has no 2^52 requests")]
        match signal {
            Signal::EngineRunning => running as f64,
            Signal::EngineWaiting => waiting as f64,
            Signal::EngineAge => 0.0,
            signal => self.signals.value(signal, source, request, self.instant(now)),
        }
    }

    /// All troubles at a time. They may overlap.
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

    /// The engine's work for a request that arrives now. Cached prompt tokens need no prefill.
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

    /// Cost of a complete answer in US dollars.
    pub(super) fn cost(&self, request: &Request) -> f64 {
        self.config.place.price.map_or(0.0, |price| {
            price.prompt * f64::from(request.prompt) + price.completion * f64::from(request.output)
        })
    }
}

/// All deployments at one time, for an itinerary.
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

    /// Simulated deployments never send `Retry-After`.
    fn cools_until(&self, _at: usize, _now: Instant) -> Option<Instant> {
        None
    }

    /// Simulated deployments are not probed.
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
