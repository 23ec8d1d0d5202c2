//! Tests that strategies do on the shipped scenarios what their pages say.

use lab::simulation::StrategyReport;

use super::*;

/// The reports of these strategies on a shipped scenario.
fn reports<const N: usize>(scenario: &str, strategies: [&str; N]) -> [StrategyReport; N] {
    reports_with(scenario, |_| {}, strategies)
}

/// The same, with a scenario that was changed.
fn reports_with<const N: usize>(
    scenario: &str,
    change: impl Fn(&mut Scenario),
    strategies: [&str; N],
) -> [StrategyReport; N] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/scenarios");
    let file = folder.join(scenario).with_extension("yaml");
    let mut scenario = Scenario::read(&file).unwrap_or_else(|errors| panic!("{errors}"));
    change(&mut scenario);
    let ready = |text| contestant(text, Path::new("none"), &scenario).expect(text);
    let report = simulate(&scenario, &mut strategies.map(ready)).expect("not too many requests");
    let reports: [StrategyReport; N] = report.strategies.try_into().expect("one for each");
    for strategy in &reports {
        assert_eq!((strategy.faults, strategy.failed), (0, 0), "{}", strategy.name);
    }
    reports
}

/// The shares of the deployments, in the order of the scenario.
fn shares(report: &StrategyReport) -> Vec<f64> {
    report.shares.iter().map(|deployment| deployment.share).collect()
}

#[test]
fn a_place_is_held_for_the_whole_answer() {
    let strategies = ["local-first", "cost={first_byte_ms: 1000}", "spill={first_byte_ms: 1000}"];
    let [local_first, cost, spill] = reports("held-places", strategies);
    // The scenario is hard: who waits for the GPU misses the objective.
    assert!(local_first.first_byte.p90 > 2.0, "{:?}", local_first.first_byte);
    for kept in [cost, spill] {
        assert!(kept.first_byte.p90 <= 1.0, "{}: {:?}", kept.name, kept.first_byte);
        // The GPU is paid for, and must not idle.
        assert!(shares(&kept)[0] > 0.75, "{}: {:?}", kept.name, shares(&kept));
    }
}

#[test]
fn latency_sees_that_places_are_taken() {
    let [latency, least_load, score] = reports(
        "unequal-places",
        ["latency", "least-load", "score={scorers: [{signal: first-byte}]}"],
    );
    for quick in [latency, least_load, score] {
        assert!(quick.first_byte.p99 < 1.0, "{}: {:?}", quick.name, quick.first_byte);
    }
}

#[test]
fn configured_weights_count_within_a_side() {
    let strategies = ["fixed={local_fraction: 0.6}", "local-first", "round-robin"];
    let [fixed, local_first, round_robin] = reports("weights", strategies);
    for (report, expected) in [
        (fixed, [0.45, 0.15, 0.3, 0.1]),
        (local_first, [0.75, 0.25, 0.0, 0.0]),
        (round_robin, [0.375, 0.125, 0.375, 0.125]),
    ] {
        let near = |(got, expected): (f64, f64)| (got - expected).abs() < 0.02;
        let shares = shares(&report);
        assert!(shares.iter().copied().zip(expected).all(near), "{}: {shares:?}", report.name);
    }
}

#[test]
fn cores_decide_as_one() {
    let strategies = ["prefix-affinity", "session-affinity", "spill", "lmetric", "score"];
    let on_eight = reports("cores", strategies);
    let on_one = reports_with("cores", |scenario| scenario.cores = 1, strategies);
    assert_eq!(on_eight, on_one);
    // The API is used, so `spill` has begun and stopped.
    let api = shares(&on_eight[2])[3];
    assert!(api > 0.02 && api < 0.8, "{api}");
}

#[test]
fn a_full_engine_is_used_and_loses_no_request() {
    let [fixed, cost] = reports("refusals", ["fixed", "cost"]);
    for report in [fixed, cost] {
        let refusals: u64 = report.shares.iter().map(|deployment| deployment.refusals).sum();
        assert!(refusals > 0 && refusals < 100, "{}: {refusals}", report.name);
        assert!(report.shares.iter().all(|deployment| deployment.ejections == 0));
        assert!(shares(&report)[0] > 0.4, "{}: {:?}", report.name, shares(&report));
    }
}

#[test]
fn second_attempts_go_to_requests_that_are_late() {
    let strategies = ["latency", "latency={hedge_after_ms: 1000}", "latency={hedge_after_ms: 300}"];
    let [without, late, soon] = reports("hedges", strategies);
    assert_eq!(without.second_attempts, None);
    let made = |report: &StrategyReport| {
        report.second_attempts.map_or(0.0, |seconds| seconds.made as f64) / report.requests as f64
    };
    assert!((0.05..0.2).contains(&made(&late)), "{}", made(&late));
    // The budget of the scenario.
    assert!((0.19..0.21).contains(&made(&soon)), "{}", made(&soon));
    let p99 = |report: &StrategyReport| report.first_byte.p99;
    assert!(p99(&late) < 0.7 * p99(&without), "{} {}", p99(&late), p99(&without));
    assert!(p99(&late) < p99(&soon), "{} {}", p99(&late), p99(&soon));
}

#[test]
fn old_numbers_of_engines_mislead() {
    let strategies = ["score={scorers: [{signal: engine.waiting}]}", "least-load"];
    let [old, least_load] = reports("old-numbers", strategies);
    let [new, same] = reports_with("old-numbers", |scenario| scenario.scraping = None, strategies);
    assert_eq!(least_load, same, "it asks for none");
    let [old, new] = [old, new].map(|report| report.first_byte.p99);
    assert!(old > 1.3 * new, "{old} {new}");
}

#[test]
fn gateways_share_engines_that_refuse() {
    let [spill] = reports("gateways", ["spill"]);
    let [alone] = reports_with("gateways", |scenario| scenario.gateways = 1, ["spill"]);
    let refusals = |report: &StrategyReport| {
        report.shares.iter().map(|deployment| deployment.refusals).sum::<u64>()
    };
    assert!(refusals(&spill) > 10 && refusals(&alone) == 0, "{}", refusals(&spill));
    // None of them sees the others, and the GPUs are as busy.
    let local = |report: &StrategyReport| shares(report)[..2].iter().sum::<f64>();
    assert!(local(&spill) > local(&alone) - 0.02, "{} {}", local(&spill), local(&alone));
}
