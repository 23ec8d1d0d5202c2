//! The strategies of one generation, and what they decide.
//!
//! A decision takes up only the models that changed, whose state changes with time, or whose strategy is due. The
//! routes of all others are shared with the snapshot before.

use std::sync::Arc;
use std::time::Instant;

use contract::Fault;
use fleet::{Generation, Route, Snapshot};

use super::seat::{Occupied, Said, Seat};
use super::share::{LastGood, share};
use super::timetable::Timetable;
use super::waiting::{Waiting, Why};

/// A generation and the strategies that decide for it, tried once and ready to be used.
pub struct Plan {
    generation: Arc<Generation>,
    /// In the order of the generation's.
    seats: Vec<Occupied>,
    /// By model: its current route.
    routes: Vec<Arc<Route>>,
    /// By model: what its strategy last said.
    said: Vec<Said>,
    /// By model: when to decide again, even if nothing changes until then.
    times: Timetable,
    /// By seat: when it is due.
    turns: Timetable,
    waiting: Waiting,
}

/// A strategy failed in a decision.
#[derive(Debug)]
pub struct Failed {
    /// Index of the strategy.
    pub strategy: usize,
    /// Whether it was its candidate.
    pub is_candidate: bool,
    /// Whether it was asked about one request, and not about all of a model's.
    pub is_of_request: bool,
    /// Id of the model it was asked about.
    pub model: String,
    /// How.
    pub fault: Fault,
}

/// What a decision came to.
#[derive(Debug)]
pub struct Decision {
    /// What to publish. None: everything is as before.
    pub snapshot: Option<Snapshot>,
    /// What failed.
    pub failures: Vec<Failed>,
}

impl Plan {
    /// Asks the strategies, those of `generation`, once for every model, and those that decide for each request
    /// about one of each.
    ///
    /// # Errors
    /// Which one failed, and how: such a plan is never put in use.
    pub fn tried(
        generation: Arc<Generation>,
        seats: Vec<Seat>,
    ) -> Result<(Self, Snapshot), Box<Failed>> {
        let now = Instant::now();
        let mut plan = Self::new(generation, seats, now);
        let (_, failures) = plan.work(now, || true);
        if let Some(failed) = failures.into_iter().next() {
            return Err(Box::new(failed));
        }
        plan.rehearse()?;
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

    /// Asks those that decide for each request about one of each model, of which nothing else is known. They have
    /// the time of a call off the path, for the first of an instance may take longer than all others.
    fn rehearse(&mut self) -> Result<(), Box<Failed>> {
        let generation = &self.generation;
        for (model, route) in generation.fleet.models.iter().zip(&self.routes) {
            let index = model.config.strategy;
            let Some(seat) = self.seats.get_mut(index) else { continue };
            let failed = |is_candidate, fault| {
                let model = model.config.id.clone();
                Failed { strategy: index, is_candidate, is_of_request: true, model, fault }
            };
            seat.strategy.rehearse(model, route).map_err(|fault| failed(false, fault))?;
            // One that was rolled back is not asked anything.
            let info = generation.strategies.get(index).and_then(|info| info.candidate.as_ref());
            if let Some(candidate) = &mut seat.candidate
                && info.is_some_and(|info| info.trial.is_on())
            {
                candidate.rehearse(model, route).map_err(|fault| failed(true, fault))?;
            }
        }
        Ok(())
    }

    /// Decides for the models of these ids, which changed, and for what is due at `now`. Goes on for as long as
    /// `go_on` says so after each model; what is left waits for the next call.
    pub fn decide<'m>(
        &mut self,
        changed: impl IntoIterator<Item = &'m str>,
        now: Instant,
        go_on: impl FnMut() -> bool,
    ) -> Decision {
        for id in changed {
            // A request of an older generation may tell of a model that is gone.
            let Some(model) = self.generation.fleet.index_of(id) else { continue };
            self.waiting.add(model, Why::Changed);
            self.teach_seat_of(model);
        }
        while let Some(model) = self.times.pop(now) {
            self.waiting.add(model, Why::Changed);
            self.teach_seat_of(model);
        }
        while let Some(index) = self.turns.pop(now) {
            let seat = &mut self.seats[index];
            let lessons = self.generation.strategies[index].lessons.as_deref();
            if seat.begin(lessons, now) {
                let models = self.generation.fleet.models_of(index);
                models.iter().for_each(|model| self.waiting.add(*model, Why::Due));
            }
            self.turns.set(index, seat.due());
        }
        let (is_new, failures) = self.work(now, go_on);
        Decision { snapshot: is_new.then(|| self.snapshot()), failures }
    }

    /// Takes up what has changed since the plan was tried, and gives its first snapshot.
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

    /// Lets every model be decided anew: a decision broke off anywhere.
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

    /// Good answers since the last call, with the name of the strategy that gave them; those of the trial at
    /// load are the first.
    pub fn answers(&mut self) -> impl Iterator<Item = (&str, usize)> {
        self.seats.iter_mut().flat_map(Occupied::both_mut).map(|asked| {
            let answers = std::mem::take(&mut asked.answers);
            (&*asked.strategy.description().name, answers)
        })
    }

    /// The name of a strategy, or of its candidate.
    #[must_use]
    pub fn name(&self, strategy: usize, is_candidate: bool) -> &str {
        let info = &self.generation.strategies[strategy];
        match &info.candidate {
            Some(candidate) if is_candidate => &candidate.strategy.name,
            _ => &info.name,
        }
    }

    /// Tells the strategy of a model how attempts went, before it is asked about that model.
    fn teach_seat_of(&mut self, model: usize) {
        let index = self.generation.fleet.models[model].config.strategy;
        let info = self.generation.strategies.get(index);
        if let Some((seat, info)) = self.seats.get_mut(index).zip(info) {
            seat.teach(info.lessons.as_deref());
        }
    }

    /// Decides for the models that wait. Says whether there is anything new to publish, and what failed.
    fn work(&mut self, now: Instant, mut go_on: impl FnMut() -> bool) -> (bool, Vec<Failed>) {
        let (mut is_new, mut failures) = (false, Vec::new());
        while let Some(at) = self.waiting.pop() {
            let before = failures.len();
            let route = self.route(at, now, &mut failures);
            let failed = failures.len() > before;
            self.times.set(at, self.next_time(at, failed, now));
            if *self.routes[at] != route {
                self.routes[at] = Arc::new(route);
                is_new = true;
            }
            if !go_on() {
                break;
            }
        }
        // The snapshot says how strategies failed.
        (is_new || !failures.is_empty(), failures)
    }

    /// How the traffic of a model is shared now.
    fn route(&mut self, at: usize, now: Instant, failures: &mut Vec<Failed>) -> Route {
        let generation = &self.generation;
        let (model, standby) = (&generation.fleet.models[at], generation.config.fallback.standby);
        let index = model.config.strategy;
        let Some((seat, info)) = self.seats.get_mut(index).zip(generation.strategies.get(index))
        else {
            return share(model, None, standby, &mut LastGood::new(), now).0;
        };
        let mut failed = |is_candidate, fault| {
            let (model, is_of_request) = (model.config.id.clone(), false);
            failures.push(Failed { strategy: index, is_candidate, is_of_request, model, fault });
        };
        let (candidate, said) = (info.candidate.as_deref(), &mut self.said[at]);
        seat.decide(model, candidate, standby, said, now, &mut failed)
    }

    /// When to decide for a model again, even if nothing changes until then.
    fn next_time(&self, at: usize, failed: bool, now: Instant) -> Option<Instant> {
        let model = &self.generation.fleet.models[at];
        let changes = model.deployments.iter().filter_map(|d| d.next_change(now));
        let seat = self.seats.get(model.config.strategy);
        changes.chain(seat.and_then(|seat| seat.retry(failed, now))).min()
    }

    fn snapshot(&self) -> Snapshot {
        let strategy_errors =
            self.seats.iter().map(|seat| seat.strategy.last_error.clone()).collect();
        let (generation, routes) = (Arc::clone(&self.generation), self.routes.clone());
        Snapshot { generation, routes, strategy_errors }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
