//! Computes the weights of every deployment from eligibility and a strategy's answer.

use std::time::Instant;

use config::Standby;
use contract::{Column, Facts, Fault, Question, Role, Situation, Strategy, Verdict, Weights};
use fleet::{Eligible, FleetModel, Generation, Route, State, Trial};
use ledger::{Books, Payer};

/// A strategy's last good answer about one model: one weight per deployment, 0 for those that it
/// was not asked about. Empty before the first good answer.
pub(super) type LastGood = Vec<f64>;

/// The part of a configuration that all its models share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) standby: Standby,
    pub(super) books: Option<&'a Books>,
}

impl<'a> Shared<'a> {
    pub(super) fn of(generation: &'a Generation) -> Self {
        Self { standby: generation.config.fallback.standby, books: generation.books.as_deref() }
    }

    /// The value of a global signal where there is no request.
    fn global(self, column: &Column) -> f64 {
        match (self.books, &column.budget) {
            (Some(books), Some(budget)) => books.signal(column.signal, budget, Payer::Anybody),
            _ => f64::NAN,
        }
    }
}

/// Computes the route of one model. Also returns how the strategy answered, None if it was not
/// asked. After a fault the route uses `last`, or an even split if `last` is empty.
pub(super) fn share(
    model: &FleetModel,
    strategy: Option<&mut (dyn Strategy + 'static)>,
    shared: Shared<'_>,
    last: &mut LastGood,
    now: Instant,
) -> (Route, Option<Result<(), Fault>>) {
    let states: Vec<State> = model.deployments.iter().map(|d| d.state(now)).collect();
    let eligible = Eligible::of(model, &states, shared.standby);
    let asked = strategy.filter(|_| eligible.is_assigned());
    let outcome = asked.map(|strategy| {
        ask(model, &states, &eligible, strategy, shared).map(|answer| *last = answer)
    });
    let weights = eligible.share(model, &states, last);
    (Route { eligible, weights, candidate: None, states }, outcome)
}

/// Asks a strategy about a model. Returns checked weights, one per deployment.
fn ask(
    model: &FleetModel,
    states: &[State],
    eligible: &Eligible,
    strategy: &mut dyn Strategy,
    shared: Shared<'_>,
) -> Result<LastGood, Fault> {
    let now = Instant::now();
    let (local, remote) = eligible.candidates(model, states, now);
    let columns = &strategy.description().signals;
    let signals = eligible.signals(model, columns, None, |column| shared.global(column), now);
    let raw = strategy.assign(Situation { local: &local, remote: &remote, signals: &signals })?;
    let weights = Weights::check(raw, local.len(), remote.len())?;
    Ok(eligible.spread(&weights, model.deployments.len()))
}

/// Asks a strategy about one request to the model of `route`, without facts. The answer is only
/// checked, not used.
pub(super) fn rehearse(
    model: &FleetModel,
    route: &Route,
    strategy: &mut dyn Strategy,
    shared: Shared<'_>,
) -> Result<(), Fault> {
    let now = Instant::now();
    let (local, remote) = route.eligible.candidates(model, &route.states, now);
    let columns = &strategy.description().signals;
    let global = |column: &Column| shared.global(column);
    let signals = route.eligible.signals(model, columns, None, global, now);
    let situation = Situation { local: &local, remote: &remote, signals: &signals };
    let (id, facts) = (&*model.config.id, &Facts::default());
    let question = Question { model: id, stream: false, facts, situation, held: 0 };
    let raw = strategy.assign_request(question)?;
    Verdict::check(raw, [local.len(), remote.len()], strategy.description().reasons.len())?;
    Ok(())
}

/// Asks a candidate about the model of `route`, compares its weights with those in use, and stores
/// the candidate's weights in the route. After a fault the candidate's last good weights are
/// stored. None if the candidate was not asked.
pub(super) fn try_beside(
    model: &FleetModel,
    candidate: &mut dyn Strategy,
    trial: &Trial,
    route: &mut Route,
    last: &mut LastGood,
    shared: Shared<'_>,
) -> Option<Result<(), Fault>> {
    if !trial.is_on() || !route.eligible.is_assigned() {
        return None;
    }
    let began = Instant::now();
    let answer = ask(model, &route.states, &route.eligible, candidate, shared);
    let outcome = answer.map(|answer| {
        trial.took(Role::Candidate, began.elapsed());
        *last = answer;
    });
    if let Err(fault) = &outcome {
        trial.fault(&fault.to_string());
    }
    if !last.is_empty() {
        let weights = route.eligible.share(model, &route.states, last);
        if outcome.is_ok() {
            trial.compare(&route.weights, &weights);
            trial.expect(model, [&route.weights, &weights], None, Instant::now());
        }
        route.candidate = Some(weights);
    }
    Some(outcome)
}
