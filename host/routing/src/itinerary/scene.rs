//! Test doubles: deployments in a known state, and one request among them.

use http::StatusCode;
use rand::SeedableRng;
use rand::rngs::StdRng;

use config::{Ambiguous, Fallback, Hedging, RetryBudget, Standby};

use crate::InferenceEndpoint;

use super::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// The `total` of every request here.
pub(super) const TOTAL: Duration = Duration::from_secs(100);
/// The patience of every deployment here.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// A pause that is longer than the patience.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// The state of one deployment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) eligible: bool,
    pub(super) open: bool,
    /// What is left of the pause that it asked for.
    pub(super) cools: Option<Duration>,
    pub(super) up: bool,
    pub(super) failing: bool,
    pub(super) forbidden: bool,
    /// In tokens.
    pub(super) context_length: u64,
}

pub(super) const WELL: Known = Known {
    eligible: true,
    open: true,
    cools: None,
    up: true,
    failing: false,
    forbidden: false,
    context_length: 4096,
};
pub(super) const OUT: Known = Known { eligible: false, open: false, ..WELL };

impl Deployments for Vec<Known> {
    fn is_eligible(&self, at: usize) -> bool {
        self[at].eligible
    }

    fn is_open(&self, at: usize, _now: Instant) -> bool {
        self[at].open
    }

    fn cools_until(&self, at: usize, now: Instant) -> Option<Instant> {
        self[at].cools.map(|left| now + left)
    }

    fn is_up(&self, at: usize) -> bool {
        self[at].up
    }

    fn is_failing(&self, at: usize) -> bool {
        self[at].failing
    }

    fn patience(&self, _at: usize) -> Duration {
        PATIENCE
    }

    fn is_forbidden(&self, at: usize) -> bool {
        self[at].forbidden
    }

    fn fits(&self, at: usize, unfit: Unfit) -> bool {
        self[at].context_length > unfit.context_length.unwrap_or(self[unfit.at].context_length)
    }
}

pub(super) const FALLBACK: Fallback = Fallback {
    attempts: 3,
    standby: Standby::Last,
    ambiguous: Ambiguous::Once,
    budget: RetryBudget { percent: 0, per_second: 10 },
};

/// A request, and everything that it depends on.
pub(super) struct Scene {
    pub(super) deployments: Vec<Known>,
    pub(super) budget: Budget,
    pub(super) rng: StdRng,
    pub(super) now: Instant,
    pub(super) itinerary: Itinerary<'static>,
}

pub(super) fn terms(fallback: Fallback, started: Instant) -> Terms {
    let endpoint = InferenceEndpoint::ChatCompletions;
    let hedging = Hedging { budget: 100 };
    Terms { fallback, hedging, endpoint, panic: false, started, total: TOTAL }
}

impl Scene {
    pub(super) fn new(weights: &[f64], deployments: Vec<Known>) -> Self {
        Self::with(weights, deployments, |_| {})
    }

    pub(super) fn with(
        weights: &[f64],
        deployments: Vec<Known>,
        change: impl FnOnce(&mut Terms),
    ) -> Self {
        Self::planned(weights.to_vec().into(), deployments, change)
    }

    pub(super) fn planned(
        weights: RequestWeights<'static>,
        deployments: Vec<Known>,
        change: impl FnOnce(&mut Terms),
    ) -> Self {
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(7));
        let mut terms = terms(FALLBACK, now);
        change(&mut terms);
        let itinerary = Itinerary::begin(weights, terms, &deployments, &mut rng, now);
        // A second's worth of the fixed rate is saved up from the beginning.
        Self { deployments, budget: Budget::new(now), rng, now, itinerary }
    }

    pub(super) fn step(&mut self, event: Event) -> Step {
        self.itinerary.step(event, &self.deployments, &self.budget, &mut self.rng, self.now)
    }

    /// Takes a request that is `Ready` to its next attempt, and begins it.
    pub(super) fn attempt(&mut self) -> usize {
        let Step::Enter(at) = self.step(Event::Ready) else { panic!("no turn") };
        assert_eq!(self.step(Event::Entered), Step::Attempt(at));
        self.itinerary.began(self.now);
        at
    }

    pub(super) fn fail(&mut self, cause: Cause) -> Outcome {
        self.itinerary.failed(cause.into())
    }

    /// Fails ambiguously: the request may have been answered.
    pub(super) fn lose(&mut self) {
        let lost = Failure { ambiguous: true, ..Cause::Broken.into() };
        let _ = self.itinerary.failed(lost);
    }

    pub(super) fn spend_the_budget(&self) {
        while self.budget.withdraw(FALLBACK.budget, self.now) {}
    }

    pub(super) fn exhausted(self) -> Exhausted {
        self.itinerary.exhausted(|at| format!("d{at}"), "m", None, self.now)
    }
}

pub(super) const FAILED: Cause = Cause::Status(StatusCode::INTERNAL_SERVER_ERROR);
