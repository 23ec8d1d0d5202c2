//! How a strategy's answer becomes weights, beside kept weights and slow start.

use config::Standby;
use contract::{RawWeights, Weights};

use super::super::{Condition, Eligible};
use super::*;

/// Five deployments: one keeps a fifth, and of the other four one is remote, one in slow start and
/// one out.
#[test]
fn an_answer_has_the_rest_and_slow_start_takes_its_part() {
    let assigned =
        |port, side| DeploymentConfig { side, share: Share::Assigned, ..deployment(port) };
    let kept = DeploymentConfig { weight: 0.2, ..deployment(1) };
    let deployments = vec![
        kept,
        assigned(2, Side::Local),
        assigned(3, Side::Remote),
        assigned(4, Side::Local),
        assigned(5, Side::Local),
    ];
    let config = Config { models: vec![model(deployments)], ..Config::default() };
    let fleet = Fleet::build(&config, None);
    let model = &fleet.models[0];
    let now = Instant::now();
    let mut states: Vec<_> = model.deployments.iter().map(|d| d.state(now)).collect();
    (states[3].condition, states[3].factor) = (Condition::SlowStart, 0.5);
    states[4].condition = Condition::Ejected;
    let eligible = Eligible::of(model, &states, Standby::Last);
    assert_eq!((&eligible.local[..], &eligible.remote[..]), (&[1, 3][..], &[2][..]));

    let raw = RawWeights { local: vec![1.0, 2.0], remote: vec![1.0] };
    let answer = Weights::check(raw, 2, 1).expect("good");
    let shared = eligible.share_answer(model, &states, &answer);
    // Before slow start: 0.2, 0.2, 0.2, 0.4 and 0.
    for (share, expected) in shared.iter().zip([0.25, 0.25, 0.25, 0.25, 0.0]) {
        assert!((share - expected).abs() < 1e-9, "{shared:?}");
    }
    // By position the result is the same. Weights of deployments that were not asked about are
    // ignored.
    let mut spread = eligible.spread(&answer, 5);
    assert_eq!(spread, [0.0, 0.25, 0.25, 0.5, 0.0]);
    (spread[0], spread[4]) = (7.0, 7.0);
    assert_eq!(eligible.share(model, &states, &spread), shared);
}

#[test]
fn candidates_are_those_that_the_strategy_is_asked_about() {
    let assigned =
        |port, side| DeploymentConfig { side, share: Share::Assigned, ..deployment(port) };
    let kept = DeploymentConfig { weight: 0.2, ..deployment(3) };
    let deployments = vec![
        assigned(1, Side::Remote),
        assigned(2, Side::Local),
        kept,
        assigned(4, Side::Local),
        assigned(5, Side::Local),
    ];
    let config = Config { models: vec![model(deployments)], ..Config::default() };
    let fleet = Fleet::build(&config, None);
    let (model, now) = (&fleet.models[0], Instant::now());
    let mut states: Vec<_> = model.deployments.iter().map(|d| d.state(now)).collect();
    states[3].condition = Condition::Ejected;
    let eligible = Eligible::of(model, &states, Standby::Last);
    let (local, remote) = eligible.candidates(model, &states, now);
    let names = |list: &[contract::Candidate<'_>]| {
        list.iter().map(|candidate| candidate.place.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&local), names(&remote)),
        (vec!["d2".into(), "d5".into()], vec!["d1".into()])
    );

    // Without any weight of the strategy its part is split evenly.
    let shares = eligible.share(model, &states, &[0.0; 5]);
    for (share, expected) in shares.iter().zip([0.8 / 3.0, 0.8 / 3.0, 0.2, 0.0, 0.8 / 3.0]) {
        assert!((share - expected).abs() < 1e-9, "{shares:?}");
    }
}
