//! A seat of a plan: a strategy, the candidate beside it, and how both have answered so far.

use std::time::{Duration, Instant};

use contract::{Breaker, Call, CpuShare, EndedAttempt, Fault, RestCause, Role, Strategy};
use fleet::{AttemptQueue, CandidateInfo, FleetModel, Route};

use super::share::{LastGood, Shared, rehearse, share, try_beside};

/// How often a strategy that learns is told of attempts, unless it is asked for weights more often.
const LEARN_INTERVAL: Duration = Duration::from_secs(1);
/// The same while attempts are left over, so that as many can be told as wait at most.
const CATCH_UP: Duration = Duration::from_millis(100);
/// Most attempts of one call. So a call takes a time that does not grow with the traffic.
const BATCH: usize = 512;
/// When a strategy that was busy is asked again.
const BUSY: Duration = Duration::from_secs(1);

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
    /// The decision in which it was last told.
    taught: Option<Instant>,
    /// Attempts that were taken from the queue and are not told yet, oldest first.
    backlog: Vec<EndedAttempt>,
}

/// A call that failed.
pub(super) struct Failure {
    pub(super) role: Role,
    pub(super) fault: Fault,
    /// Set if this took the strategy out of use for a time.
    pub(super) rests_for: Option<RestCause>,
}

/// A strategy, and how it has answered so far.
pub(super) struct Asked {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) last_error: Option<String>,
    /// Good answers since they were last counted.
    pub(super) answers: usize,
    /// Takes it out of use after faults. Its last good weights are used meanwhile.
    breaker: Breaker,
    /// CPU time that it may use. None in its trial at load.
    share: Option<CpuShare>,
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
        let (refresh, learn, learned, taught, backlog) = Default::default();
        let mut seat = Self { strategy, candidate, refresh, learn, learned, taught, backlog };
        seat.refresh = seat.refresh_interval().map(|interval| now + interval);
        seat.learn = seat.learns().then(|| now + LEARN_INTERVAL);
        seat
    }

    /// When it must be called next, even if nothing changes.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.refresh, self.learn].into_iter().flatten().min()
    }

    /// Called when the seat is due. Tells it of attempts, and adds the calls that failed. Returns
    /// true if it must be asked about all its models.
    pub(super) fn begin(
        &mut self,
        attempt_queue: Option<&AttemptQueue>,
        now: Instant,
        failures: &mut Vec<Failure>,
    ) -> bool {
        self.teach(attempt_queue, now, failures);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let refreshes = is_due(self.refresh);
        if refreshes {
            self.refresh = self.refresh_interval().map(|interval| now + interval);
        }
        let is_behind = !self.backlog.is_empty();
        if is_due(self.learn) {
            self.learn = Some(now + if is_behind { CATCH_UP } else { LEARN_INTERVAL });
        }
        // A resting strategy cannot answer. Its models are decided again when the rest ends.
        let rests = self.candidate.is_none() && self.strategy.breaker.rests(now).is_some();
        let learned = !is_behind && std::mem::take(&mut self.learned);
        (refreshes || learned) && !rests
    }

    /// Tells the strategies that learn how attempts ended, at most once in a decision: all other
    /// strategies wait meanwhile.
    pub(super) fn teach(
        &mut self,
        attempt_queue: Option<&AttemptQueue>,
        now: Instant,
        failures: &mut Vec<Failure>,
    ) {
        let Some(attempt_queue) = attempt_queue.filter(|_| self.taught != Some(now)) else {
            return;
        };
        if self.backlog.is_empty() {
            self.backlog = attempt_queue.take();
        }
        if self.backlog.is_empty() {
            return;
        }
        (self.taught, self.learned) = (Some(now), true);
        let attempts: Vec<_> = self.backlog.drain(..BATCH.min(self.backlog.len())).collect();
        let roles = [Role::Live, Role::Candidate].into_iter();
        for (role, asked) in roles.zip(self.both_mut()) {
            if !asked.strategy.learns() {
                continue;
            }
            // A strategy that rests is not told: old attempts are worth little after the rest.
            let Some(call) = asked.breaker.admit(now) else { continue };
            let outcome = asked.strategy.outcome(&attempts);
            failures.extend(asked.heard(role, call, "outcome", Some(outcome), now));
        }
    }

    /// Decides the route of a model. Adds the calls that failed.
    pub(super) fn decide(
        &mut self,
        model: &FleetModel,
        candidate: Option<&CandidateInfo>,
        shared: Shared<'_>,
        said: &mut Said,
        now: Instant,
        failures: &mut Vec<Failure>,
    ) -> Route {
        let asked = &mut self.strategy;
        let call = asked.breaker.admit(now);
        let strategy = call.map(|_| &mut *asked.strategy);
        // The cost of a call is measured on the real clock, also where `now` is simulated.
        let began = Instant::now();
        let (mut route, outcome) = share(model, strategy, shared, &mut said.strategy, now);
        if let (Some(Ok(())), Some(candidate)) = (&outcome, candidate) {
            candidate.trial.took(Role::Live, began.elapsed());
        }
        let id = &model.config.id;
        failures.extend(call.and_then(|call| asked.heard(Role::Live, call, id, outcome, now)));
        if let Some((asked, info)) = self.candidate.as_mut().zip(candidate)
            && let Some(call) = asked.breaker.admit(now)
        {
            let (strategy, last) = (&mut *asked.strategy, &mut said.candidate);
            let outcome = try_beside(model, strategy, &info.trial, &mut route, last, shared);
            let failure = asked.heard(Role::Candidate, call, id, outcome, now);
            if let Some(Failure { fault: fault @ Fault::Overspent(_), .. }) = &failure {
                info.trial.fault(&fault.to_string());
            }
            failures.extend(failure);
        }
        route
    }

    /// When to ask about a model again after calls failed or strategies rested at `now`: at the end
    /// of the rest, or after [`Breaker::REST`], or soon if one was busy. None if both answered well.
    pub(super) fn retry(&self, failures: &[Failure], now: Instant) -> Option<Instant> {
        let rests = self.both().filter_map(|asked| asked.breaker.rests(now)).min();
        let pause = |failure: &Failure| match failure.fault {
            Fault::Busy => BUSY,
            _ => Breaker::REST,
        };
        rests.or(failures.iter().map(|failure| now + pause(failure)).min())
    }

    /// Why the strategy in use is out of use for a time.
    pub(super) fn rests_for(&self) -> Option<RestCause> {
        self.strategy.breaker.rest().map(|rest| rest.cause)
    }

    /// Limits both strategies to this share of one core from now on.
    pub(super) fn limit(&mut self, cpu_share: f64) {
        for asked in self.both_mut() {
            // The trial at load asks about all models at once, which is not charged.
            asked.strategy.take_cpu_time();
            asked.share = Some(CpuShare::new(cpu_share, 1));
        }
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
        let (last_error, answers, breaker, share) = Default::default();
        Self { strategy, last_error, answers, breaker, share }
    }

    /// Asks about one request, if the strategy decides each request.
    pub(super) fn rehearse(
        &mut self,
        model: &FleetModel,
        route: &Route,
        shared: Shared<'_>,
    ) -> Result<(), Fault> {
        if self.strategy.on_path().is_some() && route.eligible.is_assigned() {
            rehearse(model, route, &mut *self.strategy, shared)?;
            self.answers += 1;
        }
        Ok(())
    }

    /// Records how it answered `call`, which was about `what`, and charges its CPU time. An
    /// `outcome` of None means that it was not asked.
    fn heard(
        &mut self,
        role: Role,
        call: Call,
        what: &str,
        outcome: Option<Result<(), Fault>>,
        now: Instant,
    ) -> Option<Failure> {
        let overspent = self.charge(now);
        let fault = match outcome {
            None => {
                self.breaker.give_back(call);
                return None;
            }
            Some(Ok(())) if overspent.is_none() => {
                self.answers += 1;
                self.breaker.answered(call);
                return None;
            }
            Some(Ok(())) => None,
            Some(Err(fault)) => Some(fault),
        };
        // A call may be a fault and too dear. It is told as the fault, and rested for as too dear.
        let judged = overspent.as_ref().or(fault.as_ref())?;
        let opened = self.breaker.failed(call, judged, now);
        let fault = fault.or(overspent)?;
        self.last_error = Some(format!("{what}: {fault}"));
        let rests_for = self.breaker.rest().filter(|_| opened).map(|rest| rest.cause);
        Some(Failure { role, fault, rests_for })
    }

    /// Charges its calls since the last charge. Returns the fault if they took more than is left.
    fn charge(&mut self, now: Instant) -> Option<Fault> {
        let (time, share) = (self.strategy.take_cpu_time(), self.share.as_mut()?);
        share.spend(time, now).then(|| Fault::Overspent(share.each_second()))
    }
}
