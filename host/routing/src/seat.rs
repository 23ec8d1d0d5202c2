//! A strategy of a plan, who is tried beside it, and how both have answered so far.

use std::time::{Duration, Instant};

use config::Standby;
use contract::{Breaker, Call, Fault, Strategy};
use fleet::{CandidateInfo, FleetModel, Lessons, Route};

use super::share::{LastGood, rehearse, share, try_beside};

/// How often a strategy that learns is told of attempts, if it is not asked for weights more often.
const LESSON: Duration = Duration::from_secs(1);

/// A strategy, and who is tried beside it.
pub struct Seat {
    /// In use.
    pub strategy: Box<dyn Strategy>,
    /// Tried.
    pub candidate: Option<Box<dyn Strategy>>,
}

/// A seat of a plan. A strategy and its candidate are asked together, because their answers are compared: the
/// shorter of their two refreshes counts for both.
pub(super) struct Occupied {
    pub(super) strategy: Asked,
    pub(super) candidate: Option<Asked>,
    /// When to ask about all models again.
    refresh: Option<Instant>,
    /// When to tell of attempts next.
    lesson: Option<Instant>,
    /// It was told of attempts since it was last asked about all models.
    learned: bool,
}

/// A strategy, and how it has answered so far.
pub(super) struct Asked {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) last_error: Option<String>,
    /// Good answers since they were last counted.
    pub(super) answers: usize,
    /// Its last good weights stand while it is out of use.
    breaker: Breaker,
}

/// What a seat last said of one model.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    strategy: LastGood,
    candidate: LastGood,
}

impl Occupied {
    /// A seat whose strategies are asked about all models at `now`.
    pub(super) fn new(seat: Seat, now: Instant) -> Self {
        let strategy = Asked::new(seat.strategy);
        let candidate = seat.candidate.map(Asked::new);
        let (refresh, lesson, learned) = (None, None, false);
        let mut seat = Self { strategy, candidate, refresh, lesson, learned };
        seat.refresh = seat.refresh_interval().map(|interval| now + interval);
        seat.lesson = seat.learns().then(|| now + LESSON);
        seat
    }

    /// When it is due by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.refresh, self.lesson].into_iter().flatten().min()
    }

    /// It is due: it is told of attempts. True: it is to be asked about all its models.
    pub(super) fn begin(&mut self, lessons: Option<&Lessons>, now: Instant) -> bool {
        self.teach(lessons);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let refreshes = is_due(self.refresh);
        if refreshes {
            self.refresh = self.refresh_interval().map(|interval| now + interval);
        }
        if is_due(self.lesson) {
            self.lesson = Some(now + LESSON);
        }
        // Its models are decided again when its rest ends.
        let rests = self.candidate.is_none() && self.strategy.breaker.rests(now).is_some();
        (refreshes || std::mem::take(&mut self.learned)) && !rests
    }

    /// Tells those that learn how attempts went.
    pub(super) fn teach(&mut self, lessons: Option<&Lessons>) {
        let attempts = lessons.map(Lessons::take).unwrap_or_default();
        if attempts.is_empty() {
            return;
        }
        self.learned = true;
        for Asked { strategy, .. } in self.both_mut().filter(|asked| asked.strategy.learns()) {
            if let Err(fault) = strategy.outcome(&attempts) {
                let strategy = &*strategy.description().name;
                tracing::warn!(strategy, %fault, "it was told how attempts went, and failed");
            }
        }
    }

    /// How the traffic of a model is shared. `failed` is told of each fault, and whether it is the candidate's.
    pub(super) fn decide(
        &mut self,
        model: &FleetModel,
        candidate: Option<&CandidateInfo>,
        standby: Standby,
        said: &mut Said,
        now: Instant,
        failed: &mut impl FnMut(bool, Fault),
    ) -> Route {
        let asked = &mut self.strategy;
        let call = asked.breaker.admit(now);
        let strategy = call.map(|_| &mut *asked.strategy);
        let began = Instant::now();
        let (mut route, outcome) = share(model, strategy, standby, &mut said.strategy, now);
        if let (Some(Ok(())), Some(candidate)) = (&outcome, candidate) {
            candidate.trial.took(false, began.elapsed());
        }
        if let Some(fault) = call.and_then(|call| asked.heard(call, model, outcome, now)) {
            failed(false, fault);
        }
        if let Some((asked, info)) = self.candidate.as_mut().zip(candidate)
            && let Some(call) = asked.breaker.admit(now)
        {
            let (strategy, last) = (&mut *asked.strategy, &mut said.candidate);
            let outcome = try_beside(model, strategy, &info.trial, &mut route, last);
            if let Some(fault) = asked.heard(call, model, outcome, now) {
                failed(true, fault);
            }
        }
        route
    }

    /// When a model is to be asked about again whose question was not answered well at `now`, because a strategy
    /// `failed` or rests: at the end of the rest, or after as long if nothing changes before.
    pub(super) fn retry(&self, failed: bool, now: Instant) -> Option<Instant> {
        let rests = self.both().filter_map(|asked| asked.breaker.rests(now)).min();
        rests.or(failed.then(|| now + Breaker::REST))
    }

    pub(super) fn both_mut(&mut self) -> impl Iterator<Item = &mut Asked> {
        [Some(&mut self.strategy), self.candidate.as_mut()].into_iter().flatten()
    }

    fn both(&self) -> impl Iterator<Item = &Asked> {
        [Some(&self.strategy), self.candidate.as_ref()].into_iter().flatten()
    }

    fn refresh_interval(&self) -> Option<Duration> {
        self.both().filter_map(|asked| asked.strategy.description().refresh).min()
    }

    fn learns(&self) -> bool {
        self.both().any(|asked| asked.strategy.learns())
    }
}

impl Asked {
    fn new(strategy: Box<dyn Strategy>) -> Self {
        Self { strategy, last_error: None, answers: 0, breaker: Breaker::default() }
    }

    /// Asks about one request, if it decides for each.
    pub(super) fn rehearse(&mut self, model: &FleetModel, route: &Route) -> Result<(), Fault> {
        if self.strategy.on_path().is_some() && route.eligible.is_assigned() {
            rehearse(model, route, &mut *self.strategy)?;
            self.answers += 1;
        }
        Ok(())
    }

    /// Notes how it answered `call`, and gives its fault back. None: it was not asked.
    fn heard(
        &mut self,
        call: Call,
        model: &FleetModel,
        outcome: Option<Result<(), Fault>>,
        now: Instant,
    ) -> Option<Fault> {
        match outcome {
            None => self.breaker.give_back(call),
            Some(Ok(())) => {
                self.answers += 1;
                self.breaker.answered(call);
            }
            Some(Err(fault)) => {
                self.last_error = Some(format!("{}: {fault}", model.config.id));
                self.breaker.failed(call, now);
                return Some(fault);
            }
        }
        None
    }
}
