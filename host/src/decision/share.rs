//! From eligibility and a strategy's answers to the weights of every deployment.

use std::time::Instant;

use crate::config::{Share, Side, Standby};
use crate::fleet::{Condition, Deployment, FleetModel, Route, State};

use super::{Candidate, Fault, Price, Strategy, Weights};

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
    let mut eligible: Vec<bool> = states.iter().map(State::is_eligible).collect();
    let kept_only = |eligible: &[bool]| {
        let mut used = model.deployments.iter().zip(eligible).filter(|(_, e)| **e);
        used.all(|(d, _)| d.config.share == Share::Kept && d.config.weight == 0.0)
    };
    // Under `standby: never` what is configured with weight 0 cannot stand in for the others.
    let panic = !eligible.contains(&true) || (standby == Standby::Never && kept_only(&eligible));
    if panic {
        let cooling = |state: &State| state.condition == Condition::Cooling;
        let all = states.iter().all(cooling);
        eligible = states.iter().map(|state| all || !cooling(state)).collect();
    }
    let mut outcome = None;
    let mut weights = vec![0.0; model.deployments.len()];
    let of = |share| {
        let used = move |i: &usize| model.deployments[*i].config.share == share;
        (0..model.deployments.len()).filter(|i| eligible[*i]).filter(used).collect::<Vec<usize>>()
    };
    let (assigned, kept) = (of(Share::Assigned), of(Share::Kept));
    for &i in &kept {
        weights[i] = model.deployments[i].config.weight;
    }
    if let (Some(strategy), false) = (strategy, assigned.is_empty()) {
        let rest = 1.0 - kept.iter().map(|i| weights[*i]).sum::<f64>();
        outcome = Some(ask(model, &states, &assigned, strategy).map(|answer| *last = answer));
        for (i, weight) in assigned.iter().zip(restrict(last, &assigned)) {
            weights[*i] = weight * rest.max(0.0);
        }
    }
    let used: Vec<usize> = (0..weights.len()).filter(|i| eligible[*i]).collect();
    let weights: Vec<f64> =
        weights.iter().zip(&states).map(|(weight, state)| weight * state.factor).collect();
    let mut shared = vec![0.0; weights.len()];
    for (i, weight) in used.iter().zip(restrict(&weights, &used)) {
        shared[*i] = weight;
    }
    (Route { panic, weights: shared, states }, outcome)
}

/// The weights at `indices`, divided by their sum; an even split where that is 0.
fn restrict(weights: &[f64], indices: &[usize]) -> Vec<f64> {
    let picked: Vec<f64> =
        indices.iter().map(|i| weights.get(*i).copied().unwrap_or(0.0)).collect();
    let sum: f64 = picked.iter().sum();
    if sum > 0.0 {
        picked.iter().map(|weight| weight / sum).collect()
    } else {
        Weights::even(picked.len(), 0).local().to_vec()
    }
}

fn ask(
    model: &FleetModel,
    states: &[State],
    assigned: &[usize],
    strategy: &mut dyn Strategy,
) -> Result<LastGood, Fault> {
    let on = |side| {
        let matches = move |i: &usize| model.deployments[*i].config.side == side;
        assigned.iter().copied().filter(matches).collect::<Vec<usize>>()
    };
    let (local, remote) = (on(Side::Local), on(Side::Remote));
    let candidates = |list: &[usize]| -> Vec<Candidate> {
        list.iter().map(|i| candidate(&model.deployments[*i], &states[*i])).collect()
    };
    let raw = strategy.assign(&candidates(&local), &candidates(&remote))?;
    let weights = Weights::check(raw, local.len(), remote.len())?;
    let mut all = vec![0.0; model.deployments.len()];
    for (i, weight) in local.iter().zip(weights.local()).chain(remote.iter().zip(weights.remote()))
    {
        all[*i] = *weight;
    }
    Ok(all)
}

fn candidate(deployment: &Deployment, state: &State) -> Candidate {
    let (config, load) = (&deployment.config, &deployment.load);
    // What it failed at, it was ejected for: judged by that again, it would never be tried.
    let fresh = state.condition == Condition::HalfOpen;
    let price = config.pricing.prompt.parse().ok().zip(config.pricing.completion.parse().ok());
    Candidate {
        name: config.name.clone(),
        model: deployment.model.to_string(),
        weight: config.weight,
        in_flight: if fresh { load.in_flight() } else { load.apparent_in_flight() },
        latency: load.latency().filter(|_| !fresh),
        error_rate: if fresh { 0.0 } else { load.error_rate() },
        price: price.map(|(prompt, completion)| Price { prompt, completion }),
        signals: Vec::new(),
    }
}
