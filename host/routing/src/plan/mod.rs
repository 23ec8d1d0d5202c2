//! The strategies of one generation, and their decisions.
//!
//! A decision covers only models that changed, whose state changes with time, or whose strategy is
//! due. All other routes are shared with the previous snapshot.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use contract::{Fault, RestCause, Role};
use fleet::{Generation, Route, Snapshot, StrategyState};

use super::seat::{Failure, Occupied, Said, Seat};
use super::share::{LastGood, Shared, share};
use super::timetable::Timetable;
use super::waiting::{Waiting, Why};

/// A generation and the strategies that decide for it, tried once and ready for use.
pub struct Plan {
    generation: Arc<Generation>,
    /// In the order of the generation's strategies.
    seats: Vec<Occupied>,
    /// By model: its current route.
    routes: Vec<Arc<Route>>,
    /// By model: the last good answers of its strategy and candidate.
    said: Vec<Said>,
    /// By model: when to decide again, even if nothing changes until then.
    times: Timetable,
    /// By seat: when it is due.
    turns: Timetable,
    waiting: Waiting,
}

/// A failed call of a strategy in a decision.
#[derive(Debug)]
pub struct Failed {
    /// Index of the strategy.
    pub strategy: usize,
    /// Whether the strategy itself failed, or its candidate.
    pub role: Role,
    /// The call that failed.
    pub call: FailedCall,
    /// Why the call failed.
    pub fault: Fault,
    /// Set if this took the strategy out of use for a time.
    pub rests_for: Option<RestCause>,
}

/// What a strategy was asked in a call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailedCall {
    /// The weights of the model with this id.
    Assign(String),
    /// The weights of one request to the model with this id.
    AssignRequest(String),
    /// Nothing: it was told how attempts ended.
    Outcome,
}

impl fmt::Display for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assign(model) => write!(f, "model `{model}`"),
            Self::AssignRequest(model) => write!(f, "a request to model `{model}`"),
            Self::Outcome => f.write_str("the outcomes of attempts"),
        }
    }
}

/// The result of a decision.
#[derive(Debug)]
pub struct Decision {
    /// The snapshot to publish. None if nothing changed.
    pub snapshot: Option<Snapshot>,
    /// The calls that failed.
    pub failures: Vec<Failed>,
}

impl Plan {
    /// Builds a plan and tries it. `seats` are the strategies of `generation`. Each is asked once
    /// about every model of its own, and one that decides each request also about one request per
    /// model.
    ///
    /// # Errors
    /// The first failed call. Such a plan is never put in use.
    pub fn tried(
        generation: Arc<Generation>,
        seats: Vec<Seat>,
    ) -> Result<(Self, Snapshot), Box<Failed>> {
        let now = fleet::now();
        let mut plan = Self::new(generation, seats, now);
        let (_, failures) = plan.work(now, || true);
        if let Some(failed) = failures.into_iter().next() {
            return Err(Box::new(failed));
        }
        plan.rehearse()?;
        let cpu_share = plan.generation.config.sandbox.cpu_share;
        plan.seats.iter_mut().for_each(|seat| seat.limit(cpu_share));
        let snapshot = plan.snapshot();
        Ok((plan, snapshot))
    }

    /// A plan in which every model waits to be decided.
    fn new(generation: Arc<Generation>, seats: Vec<Seat>, now: Instant) -> Self {
        let models = generation.fleet.models.len();
        let seats: Vec<_> = seats.into_iter().map(|seat| Occupied::new(seat, now)).collect();
        let mut turns = Timetable::new(seats.len());
        seats.iter().enumerate().for_each(|(index, seat)| turns.set(index, seat.due()));
        let mut plan = Self {
            seats,
            turns,
            routes: vec![Arc::default(); models],
            said: vec![Said::default(); models],
            times: Timetable::new(models),
            waiting: Waiting::new(models),
            generation,
        };
        plan.decide_all();
        plan
    }

    /// Asks the strategies that decide each request about one request per model, without facts. The
    /// call has the deadline of calls off the path, because the first call of an instance may take
    /// longest.
    fn rehearse(&mut self) -> Result<(), Box<Failed>> {
        let generation = &self.generation;
        let shared = Shared::of(generation);
        for (model, route) in generation.fleet.models.iter().zip(&self.routes) {
            let index = model.config.strategy;
            let Some(seat) = self.seats.get_mut(index) else { continue };
            let failed = |role, fault| {
                let call = FailedCall::AssignRequest(model.config.id.clone());
                Failed { strategy: index, role, call, fault, rests_for: None }
            };
            let done = seat.strategy.rehearse(model, route, shared);
            done.map_err(|fault| failed(Role::Live, fault))?;
            // A candidate that was rolled back is not asked.
            let info = generation.strategies.get(index).and_then(|info| info.candidate.as_ref());
            if let Some(candidate) = &mut seat.candidate
                && info.is_some_and(|info| info.trial.is_on())
            {
                let done = candidate.rehearse(model, route, shared);
                done.map_err(|fault| failed(Role::Candidate, fault))?;
            }
        }
        Ok(())
    }

    /// Decides the models with these ids, which changed, and the models due at `now`. Calls `go_on`
    /// after each model, and stops if it returns false. The models left over wait for the next
    /// call.
    pub fn decide<'m>(
        &mut self,
        changed: impl IntoIterator<Item = &'m str>,
        now: Instant,
        go_on: impl FnMut() -> bool,
    ) -> Decision {
        let (before, mut failures) = (self.rests(), Vec::new());
        for id in changed {
            // A request of an older generation may report a model that is gone.
            let Some(model) = self.generation.fleet.index_of(id) else { continue };
            self.waiting.add(model, Why::Changed);
            self.teach_seat_of(model, now, &mut failures);
        }
        while let Some(model) = self.times.pop(now) {
            self.waiting.add(model, Why::Changed);
            self.teach_seat_of(model, now, &mut failures);
        }
        while let Some(index) = self.turns.pop(now) {
            let (seat, mut untold) = (&mut self.seats[index], Vec::new());
            let attempt_queue = self.generation.strategies[index].attempt_queue.as_deref();
            if seat.begin(attempt_queue, now, &mut untold) {
                let models = self.generation.fleet.models_of(index);
                models.iter().for_each(|model| self.waiting.add(*model, Why::Due));
            }
            self.turns.set(index, seat.due());
            failures.extend(untold.into_iter().map(|failure| failure.of(index)));
        }
        let (mut is_new, failed) = self.work(now, go_on);
        failures.extend(failed);
        // The snapshot shows the last errors and the rests of strategies.
        is_new |= !failures.is_empty() || self.rests() != before;
        Decision { snapshot: is_new.then(|| self.snapshot()), failures }
    }

    /// Decides what has changed since the plan was tried. Returns the first snapshot and the calls
    /// that failed.
    pub fn install(
        &mut self,
        now: Instant,
        go_on: impl FnMut() -> bool,
    ) -> (Snapshot, Vec<Failed>) {
        for (index, model) in self.generation.fleet.models.iter().enumerate() {
            let states = model.deployments.iter().map(|deployment| deployment.state(now));
            if !states.eq(self.routes[index].states.iter().cloned()) {
                self.waiting.add(index, Why::Changed);
            }
        }
        let (_, failures) = self.work(now, go_on);
        (self.snapshot(), failures)
    }

    /// Marks every model as changed. Needed after a decision that panicked, wherever it stopped.
    pub fn decide_all(&mut self) {
        (0..self.routes.len()).for_each(|model| self.waiting.add(model, Why::Changed));
    }

    /// When to decide again, even if nothing changes until then. `now`, if models still wait.
    pub fn next(&mut self, now: Instant) -> Option<Instant> {
        if !self.waiting.is_empty() {
            return Some(now);
        }
        [self.times.next(), self.turns.next()].into_iter().flatten().min()
    }

    /// The number of good answers of each strategy since the last call, with its name. The first
    /// call includes those of the trial at load.
    pub fn answers(&mut self) -> impl Iterator<Item = (&str, usize)> {
        self.seats.iter_mut().flat_map(Occupied::both_mut).map(|asked| {
            let answers = std::mem::take(&mut asked.answers);
            (&*asked.strategy.description().name, answers)
        })
    }

    /// The name of a strategy, or of its candidate.
    #[must_use]
    pub fn name(&self, strategy: usize, role: Role) -> &str {
        let info = &self.generation.strategies[strategy];
        match &info.candidate {
            Some(candidate) if role == Role::Candidate => &candidate.strategy.name,
            _ => &info.name,
        }
    }

    /// Tells the strategy of a model how attempts ended, before it is asked about that model.
    fn teach_seat_of(&mut self, model: usize, now: Instant, failures: &mut Vec<Failed>) {
        let index = self.generation.fleet.models[model].config.strategy;
        let info = self.generation.strategies.get(index);
        if let Some((seat, info)) = self.seats.get_mut(index).zip(info) {
            let mut untold = Vec::new();
            seat.teach(info.attempt_queue.as_deref(), now, &mut untold);
            failures.extend(untold.into_iter().map(|failure| failure.of(index)));
        }
    }

    /// Decides the waiting models. Returns true if a route changed, and the calls that failed.
    fn work(&mut self, now: Instant, mut go_on: impl FnMut() -> bool) -> (bool, Vec<Failed>) {
        let (mut is_new, mut failed) = (false, Vec::new());
        while let Some(at) = self.waiting.pop() {
            let mut failures = Vec::new();
            let route = self.route(at, now, &mut failures);
            self.times.set(at, self.next_time(at, &failures, now));
            let model = &self.generation.fleet.models[at].config;
            failed.extend(failures.into_iter().map(|failure| {
                let call = FailedCall::Assign(model.id.clone());
                Failed { call, ..failure.of(model.strategy) }
            }));
            if *self.routes[at] != route {
                self.routes[at] = Arc::new(route);
                is_new = true;
            }
            if !go_on() {
                break;
            }
        }
        (is_new, failed)
    }

    /// Decides the route of one model.
    fn route(&mut self, at: usize, now: Instant, failures: &mut Vec<Failure>) -> Route {
        let generation = &self.generation;
        let (model, shared) = (&generation.fleet.models[at], Shared::of(generation));
        let index = model.config.strategy;
        let Some((seat, info)) = self.seats.get_mut(index).zip(generation.strategies.get(index))
        else {
            return share(model, None, shared, &mut LastGood::new(), now).0;
        };
        let (candidate, said) = (info.candidate.as_deref(), &mut self.said[at]);
        seat.decide(model, candidate, shared, said, now, failures)
    }

    /// When to decide a model again, even if nothing changes until then.
    fn next_time(&self, at: usize, failures: &[Failure], now: Instant) -> Option<Instant> {
        let model = &self.generation.fleet.models[at];
        let changes = model.deployments.iter().filter_map(|d| d.next_change(now));
        let seat = self.seats.get(model.config.strategy);
        changes.chain(seat.and_then(|seat| seat.retry(failures, now))).min()
    }

    /// By seat: why its strategy is out of use for a time.
    fn rests(&self) -> Vec<Option<RestCause>> {
        self.seats.iter().map(Occupied::rests_for).collect()
    }

    fn snapshot(&self) -> Snapshot {
        let state = |seat: &Occupied| StrategyState {
            last_error: seat.strategy.last_error.clone(),
            rests_for: seat.rests_for(),
        };
        let strategy_states = self.seats.iter().map(state).collect();
        let (generation, routes) = (Arc::clone(&self.generation), self.routes.clone());
        Snapshot { generation, routes, strategy_states }
    }
}

impl Failure {
    /// The failure of a strategy, in a call that told it of attempts.
    fn of(self, strategy: usize) -> Failed {
        let Self { role, fault, rests_for } = self;
        Failed { strategy, role, call: FailedCall::Outcome, fault, rests_for }
    }
}

#[cfg(test)]
mod tests;
