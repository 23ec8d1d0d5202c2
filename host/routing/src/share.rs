//! From eligibility and a strategy's answers to the weights of every deployment.

use std::time::Instant;

use config::Standby;
use contract::{Facts, Fault, Question, Strategy, Weights};
use fleet::{Eligible, FleetModel, Route, State, Trial};

/// What a strategy said of one model when it last said something usable: one weight for each
/// deployment, 0 for those that were not asked about. Empty before that.
pub(super) type LastGood = Vec<f64>;

/// Computes how one model's traffic is shared now, and how the strategy answered; None: it was not
/// asked. After a fault of the strategy the route rests on `last`, else on an even split.
pub(super) fn share(
    model: &FleetModel,
    strategy: Option<&mut (dyn Strategy + 'static)>,
    standby: Standby,
    last: &mut LastGood,
    now: Instant,
) -> (Route, Option<Result<(), Fault>>) {
    let states: Vec<State> = model.deployments.iter().map(|d| d.state(now)).collect();
    let eligible = Eligible::of(model, &states, standby);
    let asked = strategy.filter(|_| eligible.is_assigned());
    let outcome =
        asked.map(|strategy| ask(model, &states, &eligible, strategy).map(|answer| *last = answer));
    let weights = eligible.share(model, &states, last);
    (Route { eligible, weights, candidate: None, states }, outcome)
}

/// What a strategy says of a model now, checked: one weight for each deployment.
fn ask(
    model: &FleetModel,
    states: &[State],
    eligible: &Eligible,
    strategy: &mut dyn Strategy,
) -> Result<LastGood, Fault> {
    let (local, remote) = eligible.candidates(model, states, Instant::now());
    let raw = strategy.assign(&local, &remote)?;
    let weights = Weights::check(raw, local.len(), remote.len())?;
    Ok(eligible.spread(&weights, model.deployments.len()))
}

/// Asks a strategy about one request to the model that `route` is of. Nothing else is known of the request, and
/// the answer is used for nothing: it is known to be good.
pub(super) fn rehearse(
    model: &FleetModel,
    route: &Route,
    strategy: &mut dyn Strategy,
) -> Result<(), Fault> {
    let (local, remote) = route.eligible.candidates(model, &route.states, Instant::now());
    let (id, facts) = (&*model.config.id, &Facts::default());
    let question = Question { model: id, stream: false, facts, local: &local, remote: &remote };
    let raw = strategy.assign_request(question)?;
    Weights::check(raw, local.len(), remote.len())?;
    Ok(())
}

/// Asks a candidate about the model that `route` is of, compares its answer with that in use, and keeps it in the
/// route. What it last said well stands where it fails. None: it is not asked.
pub(super) fn try_beside(
    model: &FleetModel,
    candidate: &mut dyn Strategy,
    trial: &Trial,
    route: &mut Route,
    last: &mut LastGood,
) -> Option<Result<(), Fault>> {
    if !trial.is_on() || !route.eligible.is_assigned() {
        return None;
    }
    let began = Instant::now();
    let answer = ask(model, &route.states, &route.eligible, candidate);
    let outcome = answer.map(|answer| {
        trial.took(true, began.elapsed());
        *last = answer;
    });
    if let Err(fault) = &outcome {
        trial.fault(&fault.to_string());
    }
    if !last.is_empty() {
        let weights = route.eligible.share(model, &route.states, last);
        if outcome.is_ok() {
            trial.compare(&route.weights, &weights);
        }
        route.candidate = Some(weights);
    }
    Some(outcome)
}
