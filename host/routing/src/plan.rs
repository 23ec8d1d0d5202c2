//! The strategies of one generation, and what they decide.

use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Standby;
use contract::{Breaker, Call, Fault, Strategy};
use fleet::{CandidateInfo, FleetModel, Generation, Lessons, Route, Snapshot};

use super::share::{LastGood, rehearse, share, try_beside};

/// How often a strategy that learns is told of attempts, if not asked for weights more often.
const LESSON: Duration = Duration::from_secs(1);

/// A generation and the strategies that decide for it, tried once and ready to be used.
pub struct Plan {
    generation: Arc<Generation>,
    /// In the order of the generation's.
    seats: Vec<Occupied>,
}

/// A strategy, and who is tried beside it.
pub struct Seat {
    /// In use.
    pub strategy: Box<dyn Strategy>,
    /// Tried.
    pub candidate: Option<Box<dyn Strategy>>,
}

/// The same with what is known of how they answered.
struct Occupied {
    strategy: Asked,
    candidate: Option<Asked>,
}

/// A strategy, and how it has answered so far.
struct Asked {
    strategy: Box<dyn Strategy>,
    /// By model.
    last_good: Vec<LastGood>,
    last_error: Option<String>,
    /// Good answers since they were last counted.
    answers: usize,
    /// Its last good weights stand while it is out of use.
    breaker: Breaker,
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
        let models = generation.fleet.models.len();
        let occupied = |Seat { strategy, candidate }| Occupied {
            strategy: Asked::new(strategy, models),
            candidate: candidate.map(|candidate| Asked::new(candidate, models)),
        };
        let seats = seats.into_iter().map(occupied).collect();
        let mut plan = Self { generation, seats };
        let (snapshot, failures) = plan.decide(Instant::now());
        if let Some(failed) = failures.into_iter().next() {
            return Err(Box::new(failed));
        }
        plan.rehearse(&snapshot)?;
        Ok((plan, snapshot))
    }

    /// Asks those that decide for each request about one of each model, of which nothing else is known. They have
    /// the time of a call off the path, for the first of an instance may take longer than all others.
    fn rehearse(&mut self, snapshot: &Snapshot) -> Result<(), Box<Failed>> {
        let generation = &self.generation;
        for (model, route) in generation.fleet.models.iter().zip(&snapshot.routes) {
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

    /// The current weights of every model, and what failed.
    pub fn decide(&mut self, now: Instant) -> (Snapshot, Vec<Failed>) {
        self.teach();
        let (mut routes, mut failures) = (Vec::new(), Vec::new());
        let generation = &self.generation;
        let standby = generation.config.fallback.standby;
        for (at, model) in generation.fleet.models.iter().enumerate() {
            let index = model.config.strategy;
            let mut failed = |is_candidate, fault| {
                let model = model.config.id.clone();
                let is_of_request = false;
                failures.push(Failed {
                    strategy: index,
                    is_candidate,
                    is_of_request,
                    model,
                    fault,
                });
            };
            let seat = self.seats.get_mut(index).zip(generation.strategies.get(index));
            routes.push(match seat {
                None => share(model, None, standby, &mut LastGood::new(), now).0,
                Some((seat, info)) => {
                    let candidate = info.candidate.as_deref();
                    seat.decide(at, model, candidate, standby, now, &mut failed)
                }
            });
        }
        let strategy_errors =
            self.seats.iter().map(|seat| seat.strategy.last_error.clone()).collect();
        let generation = Arc::clone(generation);
        (Snapshot { generation, routes, strategy_errors }, failures)
    }

    /// Tells the strategies that learn how attempts went.
    fn teach(&mut self) {
        for (seat, info) in self.seats.iter_mut().zip(&self.generation.strategies) {
            let attempts = info.lessons.as_deref().map(Lessons::take).unwrap_or_default();
            if attempts.is_empty() {
                continue;
            }
            for Asked { strategy, .. } in seat.both().filter(|asked| asked.strategy.learns()) {
                if let Err(fault) = strategy.outcome(&attempts) {
                    let strategy = &*strategy.description().name;
                    tracing::warn!(strategy, %fault, "it was told how attempts went, and failed");
                }
            }
        }
    }

    /// Good answers since the last call, with the name of the strategy that gave them; those of the trial at
    /// load are the first.
    pub fn answers(&mut self) -> impl Iterator<Item = (&str, usize)> {
        self.seats.iter_mut().flat_map(Occupied::both).map(|asked| {
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

    /// When to decide again after having decided at `now`, even if nothing is heard until then: a
    /// strategy asks for it, or time changes a deployment's state.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let strategies = self.seats.iter().flat_map(|Occupied { strategy, candidate }| {
            [Some(strategy), candidate.as_ref()].into_iter().flatten()
        });
        let refreshes = strategies.filter_map(|Asked { strategy, .. }| {
            let lesson = strategy.learns().then_some(LESSON);
            strategy.description().refresh.into_iter().chain(lesson).min()
        });
        let changes = self.generation.fleet.deployments().filter_map(|d| d.next_change(now));
        changes.chain(refreshes.min().map(|interval| now + interval)).min()
    }
}

impl Occupied {
    /// How the traffic of a model is shared, the one at position `at`.
    fn decide(
        &mut self,
        at: usize,
        model: &FleetModel,
        candidate: Option<&CandidateInfo>,
        standby: Standby,
        now: Instant,
        failed: &mut impl FnMut(bool, Fault),
    ) -> Route {
        let asked = &mut self.strategy;
        let call = asked.breaker.admit(now);
        let strategy = call.map(|_| &mut *asked.strategy);
        let began = Instant::now();
        let (mut route, outcome) = share(model, strategy, standby, &mut asked.last_good[at], now);
        if let (Some(Ok(())), Some(candidate)) = (&outcome, candidate) {
            candidate.trial.took(false, began.elapsed());
        }
        if let Some(fault) = call.and_then(|call| asked.heard(call, model, outcome, now)) {
            failed(false, fault);
        }
        if let Some((asked, info)) = self.candidate.as_mut().zip(candidate)
            && let Some(call) = asked.breaker.admit(now)
        {
            let (strategy, last) = (&mut *asked.strategy, &mut asked.last_good[at]);
            let outcome = try_beside(model, strategy, &info.trial, &mut route, last);
            if let Some(fault) = asked.heard(call, model, outcome, now) {
                failed(true, fault);
            }
        }
        route
    }

    fn both(&mut self) -> impl Iterator<Item = &mut Asked> {
        [Some(&mut self.strategy), self.candidate.as_mut()].into_iter().flatten()
    }
}

impl Asked {
    fn new(strategy: Box<dyn Strategy>, models: usize) -> Self {
        let last_good = vec![LastGood::new(); models];
        Self { strategy, last_good, last_error: None, answers: 0, breaker: Breaker::default() }
    }

    /// Asks about one request, if it decides for each.
    fn rehearse(&mut self, model: &FleetModel, route: &Route) -> Result<(), Fault> {
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
