//! The strategies of one generation, and what they decide.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fleet::{CandidateInfo, Generation, Lessons, Snapshot};
use crate::strategy::{Fault, Strategy};
use crate::telemetry::Metrics;

use super::share::{LastGood, share, try_beside};

/// How often a strategy that learns is told of attempts, if not asked for weights more often.
const LESSON: Duration = Duration::from_secs(1);

/// A generation and the strategies that decide for it, tried once and ready to be used.
pub struct Plan {
    generation: Arc<Generation>,
    /// In the order of the generation's.
    seats: Vec<Seat>,
    /// By model.
    last_good: Vec<LastGood>,
    /// Likewise, of the candidates.
    last_good_beside: Vec<LastGood>,
    last_errors: Vec<Option<String>>,
    /// Good answers that the metrics do not know of yet: of each strategy, and of its candidate.
    answers: Vec<[usize; 2]>,
}

/// A strategy, and who is tried beside it.
pub struct Seat {
    /// In use.
    pub strategy: Box<dyn Strategy>,
    /// Tried.
    pub candidate: Option<Box<dyn Strategy>>,
}

/// A strategy failed in a decision.
#[derive(Debug)]
pub struct Failed {
    /// Index of the strategy.
    pub strategy: usize,
    /// Whether it was its candidate.
    pub is_candidate: bool,
    /// Id of the model it was asked about.
    pub model: String,
    /// How.
    pub fault: Fault,
}

impl Plan {
    /// Asks the strategies, those of `generation`, once for every model.
    ///
    /// # Errors
    /// Which one failed, and how: such a plan is never put in use.
    pub fn tried(
        generation: Arc<Generation>,
        seats: Vec<Seat>,
    ) -> Result<(Self, Snapshot), Box<Failed>> {
        let last_good = vec![LastGood::new(); generation.fleet.models.len()];
        let (last_errors, answers) = (vec![None; seats.len()], vec![[0; 2]; seats.len()]);
        let last_good_beside = last_good.clone();
        let mut plan =
            Self { generation, seats, last_good, last_good_beside, last_errors, answers };
        let (snapshot, failures) = plan.decide(Instant::now());
        match failures.into_iter().next() {
            Some(failed) => Err(Box::new(failed)),
            None => Ok((plan, snapshot)),
        }
    }

    /// The current weights of every model, and what failed.
    pub(super) fn decide(&mut self, now: Instant) -> (Snapshot, Vec<Failed>) {
        self.teach();
        let (mut routes, mut failures) = (Vec::new(), Vec::new());
        let standby = self.generation.config.fallback.standby;
        for (at, model) in self.generation.fleet.models.iter().enumerate() {
            let index = model.config.strategy;
            let mut seat = self.seats.get_mut(index);
            let strategy = seat.as_mut().map(|seat| &mut *seat.strategy);
            let (mut route, outcome) =
                share(model, strategy, standby, &mut self.last_good[at], now);
            let failed = |is_candidate, fault| Failed {
                strategy: index,
                is_candidate,
                model: model.config.id.clone(),
                fault,
            };
            match outcome {
                Some(Ok(())) => self.answers[index][0] += 1,
                Some(Err(fault)) => {
                    self.last_errors[index] = Some(format!("{}: {fault}", model.config.id));
                    failures.push(failed(false, fault));
                }
                None => {}
            }
            let beside = seat.and_then(|seat| seat.candidate.as_deref_mut());
            if let Some((candidate, info)) = beside.zip(candidate_of(&self.generation, index)) {
                let last = &mut self.last_good_beside[at];
                match try_beside(model, candidate, &info.trial, &mut route, last) {
                    Some(Err(fault)) => failures.push(failed(true, fault)),
                    Some(Ok(())) => self.answers[index][1] += 1,
                    None => {}
                }
            }
            routes.push(route);
        }
        let (generation, strategy_errors) =
            (Arc::clone(&self.generation), self.last_errors.clone());
        (Snapshot { generation, routes, strategy_errors }, failures)
    }

    /// Tells the strategies that learn how attempts went.
    fn teach(&mut self) {
        for (seat, info) in self.seats.iter_mut().zip(&self.generation.strategies) {
            let attempts = info.lessons.as_deref().map(Lessons::take).unwrap_or_default();
            if attempts.is_empty() {
                continue;
            }
            let both = [Some(&mut seat.strategy), seat.candidate.as_mut()];
            for strategy in both.into_iter().flatten().filter(|strategy| strategy.learns()) {
                if let Err(fault) = strategy.outcome(&attempts) {
                    let strategy = &*strategy.description().name;
                    tracing::warn!(strategy, %fault, "it was told how attempts went, and failed");
                }
            }
        }
    }

    /// Counts the good answers, those of the trial at load included.
    pub(super) fn count(&mut self, metrics: &Metrics) {
        for (info, answers) in self.generation.strategies.iter().zip(&mut self.answers) {
            let [ours, beside] = std::mem::take(answers);
            metrics.strategy_calls(&info.name, "ok", ours);
            if let Some(candidate) = &info.candidate {
                metrics.strategy_calls(&candidate.strategy.name, "ok", beside);
            }
        }
    }

    /// The name of a strategy, or of its candidate.
    pub(super) fn name(&self, strategy: usize, is_candidate: bool) -> &str {
        let info = &self.generation.strategies[strategy];
        match &info.candidate {
            Some(candidate) if is_candidate => &candidate.strategy.name,
            _ => &info.name,
        }
    }

    /// When to decide again after having decided at `now`, even if nothing is heard until then: a
    /// strategy asks for it, or time changes a deployment's state.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let strategies = self.seats.iter().flat_map(|Seat { strategy, candidate }| {
            [Some(strategy), candidate.as_ref()].into_iter().flatten()
        });
        let refreshes = strategies.filter_map(|strategy| {
            let lesson = strategy.learns().then_some(LESSON);
            strategy.description().refresh.into_iter().chain(lesson).min()
        });
        let changes = self.generation.fleet.deployments().filter_map(|d| d.next_change(now));
        changes.chain(refreshes.min().map(|interval| now + interval)).min()
    }
}

fn candidate_of(generation: &Generation, strategy: usize) -> Option<&CandidateInfo> {
    generation.strategies.get(strategy)?.candidate.as_deref()
}
