//! A simulated deployment as one gateway sees it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Share, SlowStart};
use contract::{Candidate, Signal, SignalSet};
use fleet::{
    Condition, DeploymentSignals, Entry, Load, ModelSignals, PrefixIndex, Prices, Prospect,
    RequestSignals, Sibling, SignalSource, Slot, Slots, Standing, State,
};
use routing::{Deployments, Event};

use super::engine_view::EngineView;
use super::scenario::{self, Scenario};

/// One deployment at one gateway.
pub(super) struct Site<'a> {
    pub(super) config: &'a scenario::Site,
    id: u32,
    pub(super) engine: EngineView,
    pub(super) load: Arc<Load>,
    pub(super) standing: Standing,
    /// The places for attempts, and the pressure on them.
    pub(super) slots: Arc<Slots>,
    /// What is recorded for signals.
    pub(super) signals: Arc<DeploymentSignals>,
    /// Requests that wait for a place, first come first served.
    pub(super) line: VecDeque<usize>,
    /// Answers that are being streamed.
    pub(super) writing: u32,
    /// When the line is looked at again without any event.
    pub(super) opens: Option<Duration>,
    /// When its condition is looked at again without any event.
    pub(super) changes: Option<Duration>,
    slow_start: &'a SlowStart,
    /// Start of the simulation as an `Instant`, for the gateway's own parts.
    epoch: Instant,
}

impl<'a> Site<'a> {
    /// Deployment number `id` of the scenario. `wanted` are the signals that are recorded.
    pub(super) fn new(
        (id, config): (u32, &'a scenario::Site),
        scenario: &'a Scenario,
        epoch: Instant,
        (model, index): (Arc<ModelSignals>, Arc<PrefixIndex>),
        wanted: SignalSet,
    ) -> Self {
        let side = config.place.side;
        let signals = DeploymentSignals::new(side, model, index);
        signals.want(wanted, epoch);
        Self {
            config,
            id,
            engine: EngineView::new(scenario.scraping.as_ref(), wanted),
            load: Arc::default(),
            // The gateway's own jitter has no seed, and would make each run different.
            standing: Standing::with_jitter(|| 0.0),
            slots: Arc::new(Slots::with_jitter(side, config.concurrency.max, || 0.0)),
            signals: Arc::new(signals),
            line: VecDeque::new(),
            writing: 0,
            opens: None,
            changes: None,
            slow_start: &scenario.slow_start,
            epoch,
        }
    }

    /// Converts a time of the simulation to an `Instant` for the gateway's own parts.
    pub(super) fn instant(&self, now: Duration) -> Instant {
        self.epoch + now
    }

    /// Its state as the gateway sees it.
    pub(super) fn state(&self, now: Duration) -> State {
        let state = self.standing.state(self.instant(now), self.slow_start);
        state.or_stalled(self.slots.report().stalled)
    }

    /// Its condition as the gateway sees it.
    pub(super) fn condition(&self, now: Duration) -> Condition {
        self.state(now).condition
    }

    /// True if it admits requests.
    pub(super) fn is_open(&self, now: Duration) -> bool {
        self.standing.is_open(self.instant(now))
    }

    /// Takes a free place, unless others wait for one.
    pub(super) fn enter(&self, place: &mut Option<Slot>, now: Instant) -> Event {
        match self.slots.enter_behind(self.line.len(), now) {
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
        let now = self.instant(now);
        match self.standing.is_out(now) {
            true => Sibling::Out,
            false if self.standing.is_clear(now) => Sibling::OfUse,
            false => Sibling::Doubtful,
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
        let now = self.instant(now);
        let of_engine = self.engine.value(signal, now);
        of_engine.unwrap_or_else(|| self.signals.value(signal, source, request, now))
    }
}

/// All deployments at one time, for an itinerary.
#[derive(Clone, Copy)]
pub(super) struct Sites<'s, 'a> {
    pub(super) all: &'s [Site<'a>],
    pub(super) now: Duration,
    /// Budgets that have too little left for the request, as bits.
    pub(super) short: u64,
    /// How long the request waits at least, because they cover the others.
    pub(super) holds: Duration,
}

impl Deployments for Sites<'_, '_> {
    fn is_eligible(&self, at: usize) -> bool {
        self.all[at].condition(self.now).is_eligible()
    }

    fn is_open(&self, at: usize, now: Instant) -> bool {
        self.all[at].standing.is_open(now)
    }

    fn cools_until(&self, at: usize, now: Instant) -> Option<Instant> {
        self.all[at].standing.cools_until(now)
    }

    /// Simulated deployments are not probed.
    fn is_up(&self, _at: usize) -> bool {
        true
    }

    fn is_failing(&self, at: usize) -> bool {
        self.all[at].load.is_failing()
    }

    fn patience(&self, at: usize) -> Duration {
        self.all[at].config.concurrency.wait.max(self.holds)
    }

    fn is_forbidden(&self, at: usize) -> bool {
        self.all[at].config.budgets & self.short != 0
    }
}
