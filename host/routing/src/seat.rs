//! A seat of a plan: a strategy, the candidate beside it, and how both have answered so far.

use std::time::{Duration, Instant};

use config::Standby;
use contract::{Breaker, Call, Fault, Role, Strategy};
use fleet::{AttemptQueue, CandidateInfo, FleetModel, Route};

use super::share::{LastGood, rehearse, share, try_beside};

/// How often a strategy that learns is told of attempts, unless it is asked for weights more often.
const LEARN_INTERVAL: Duration = Duration::from_secs(1);

/// A strategy, and the candidate on trial beside it.
pub struct Seat {
    /// The strategy in use.
    pub strategy: Box<dyn Strategy>,
    /// The candidate on trial.
    pub candidate: Option<Box<dyn Strategy>>,
}

/// A seat of a plan. A strategy and its candidate are asked together, because their answers are
/// compared. The shorter of their two refresh intervals applies to both.
pub(super) struct Occupied {
    pub(super) strategy: Asked,
    pub(super) candidate: Option<Asked>,
    /// When to ask about all models again.
    refresh: Option<Instant>,
    /// When to tell of attempts next.
    learn: Option<Instant>,
    /// True if it was told of attempts since it was last asked about all models.
    learned: bool,
}

/// A strategy, and how it has answered so far.
pub(super) struct Asked {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) last_error: Option<String>,
    /// Good answers since they were last counted.
    pub(super) answers: usize,
    /// Takes it out of use after faults. Its last good weights are used meanwhile.
    breaker: Breaker,
}

/// The last good answers of a seat about one model.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    strategy: LastGood,
    candidate: LastGood,
}

impl Occupied {
    /// Starts at `now`, when the strategies are asked about all models.
    pub(super) fn new(seat: Seat, now: Instant) -> Self {
        let strategy = Asked::new(seat.strategy);
        let candidate = seat.candidate.map(Asked::new);
        let (refresh, learn, learned) = (None, None, false);
        let mut seat = Self { strategy, candidate, refresh, learn, learned };
        seat.refresh = seat.refresh_interval().map(|interval| now + interval);
        seat.learn = seat.learns().then(|| now + LEARN_INTERVAL);
        seat
    }

    /// When it must be called next, even if nothing changes.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.refresh, self.learn].into_iter().flatten().min()
    }

    /// Called when the seat is due. Tells it of attempts. Returns true if it must be asked about
    /// all its models.
    pub(super) fn begin(&mut self, attempt_queue: Option<&AttemptQueue>, now: Instant) -> bool {
        self.teach(attempt_queue);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let refreshes = is_due(self.refresh);
        if refreshes {
            self.refresh = self.refresh_interval().map(|interval| now + interval);
        }
        if is_due(self.learn) {
            self.learn = Some(now + LEARN_INTERVAL);
        }
        // A resting strategy cannot answer. Its models are decided again when the rest ends.
        let rests = self.candidate.is_none() && self.strategy.breaker.rests(now).is_some();
        (refreshes || std::mem::take(&mut self.learned)) && !rests
    }

    /// Tells the strategies that learn how attempts ended.
    pub(super) fn teach(&mut self, attempt_queue: Option<&AttemptQueue>) {
        let attempts = attempt_queue.map(AttemptQueue::take).unwrap_or_default();
        if attempts.is_empty() {
            return;
        }
        self.learned = true;
        for Asked { strategy, .. } in self.both_mut().filter(|asked| asked.strategy.learns()) {
            if let Err(fault) = strategy.outcome(&attempts) {
                let strategy = &*strategy.description().name;
                tracing::warn!(strategy, %fault, "the strategy failed on the outcomes of attempts");
            }
        }
    }

    /// Decides the route of a model. Calls `failed` with each fault, and the role that had it.
    pub(super) fn decide(
        &mut self,
        model: &FleetModel,
        candidate: Option<&CandidateInfo>,
        standby: Standby,
        said: &mut Said,
        now: Instant,
        failed: &mut impl FnMut(Role, Fault),
    ) -> Route {
        let asked = &mut self.strategy;
        let call = asked.breaker.admit(now);
        let strategy = call.map(|_| &mut *asked.strategy);
        // The cost of a call is measured on the real clock, also where `now` is simulated.
        let began = Instant::now();
        let (mut route, outcome) = share(model, strategy, standby, &mut said.strategy, now);
        if let (Some(Ok(())), Some(candidate)) = (&outcome, candidate) {
            candidate.trial.took(Role::Live, began.elapsed());
        }
        if let Some(fault) = call.and_then(|call| asked.heard(call, model, outcome, now)) {
            failed(Role::Live, fault);
        }
        if let Some((asked, info)) = self.candidate.as_mut().zip(candidate)
            && let Some(call) = asked.breaker.admit(now)
        {
            let (strategy, last) = (&mut *asked.strategy, &mut said.candidate);
            let outcome = try_beside(model, strategy, &info.trial, &mut route, last);
            if let Some(fault) = asked.heard(call, model, outcome, now) {
                failed(Role::Candidate, fault);
            }
        }
        route
    }

    /// When to ask about a model again after a strategy `failed` or rested at `now`: at the end of
    /// the rest, or after [`Breaker::REST`]. None if both answered well.
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

    /// Asks about one request, if the strategy decides each request.
    pub(super) fn rehearse(&mut self, model: &FleetModel, route: &Route) -> Result<(), Fault> {
        if self.strategy.on_path().is_some() && route.eligible.is_assigned() {
            rehearse(model, route, &mut *self.strategy)?;
            self.answers += 1;
        }
        Ok(())
    }

    /// Records how it answered `call`, and returns its fault, if any. An `outcome` of None means
    /// that it was not asked.
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
