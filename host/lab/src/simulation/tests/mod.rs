//! Tests the simulation against results that can be computed without it.

#![allow(clippy::unwrap_used)]

mod asked;
mod budgets;
mod gateways;
mod hedges;
mod refusals;
mod scrapes;
mod scripted;
mod signals;
mod stalls;
mod theory;

use std::time::Duration;

use contract::{Description, Fault, Needs, RawWeights, Side, Situation};

use super::*;

/// Gives all deployments the same weight, or only the local ones.
struct Simple {
    description: Description,
    remote: f64,
}

impl Strategy for Simple {
    fn description(&self) -> &Description {
        &self.description
    }

    fn assign(&mut self, situation: Situation<'_>) -> Result<RawWeights, Fault> {
        let Situation { local, remote, .. } = situation;
        let remotes = if local.is_empty() { 1.0 } else { self.remote };
        Ok(RawWeights { local: vec![1.0; local.len()], remote: vec![remotes; remote.len()] })
    }
}

fn description(refresh: Option<Duration>) -> Description {
    Description { refresh, ..Description::named("simple") }
}

fn contestant(remote: f64) -> Contestant {
    contestants(remote, 1)
}

/// The same at several gateways.
fn contestants(remote: f64, gateways: u8) -> Contestant {
    let strategy = |_| of(Simple { description: description(None), remote });
    let gateways = (0..gateways).map(strategy).collect();
    Contestant { name: "simple".into(), gateways, signals: SignalSet::default() }
}

fn of(strategy: impl Strategy + 'static) -> GatewayStrategy {
    GatewayStrategy { strategy: Box::new(strategy), surroundings: Arc::default() }
}

fn scenario(yaml: &str) -> Scenario {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenario.yaml");
    std::fs::write(&path, yaml).unwrap();
    Scenario::read(&path).unwrap_or_else(|errors| panic!("{errors}"))
}

fn run(scenario: &Scenario, remote: f64) -> (Vec<workload::Request>, run::Done) {
    let requests = workload::requests(scenario).unwrap();
    let Contestant { mut gateways, signals, .. } = contestants(remote, scenario.gateways);
    let done = {
        let strategies = gateways.iter_mut().map(GatewayStrategy::asked);
        run::Run::new(scenario, &requests, strategies, signals).run()
    };
    (requests, done)
}

/// A scenario with every kind of trouble.
const ROUGH: &str = "
duration: 300
deployments:
  - {name: a, side: local, parallel: 2, prefill: 1000, decode: 50, slowdown: 0.1, jitter: 0.3, cache: 5000,
     latency: {exponential: 0.05}, context_length: 2000, failures: 0.05, concurrency: {max: 3, queue: 2, wait: 1},
     outages: [{from: 50, to: 90}, {from: 150, to: 200, failing: 0.7}]}
  - {name: b, side: local, parallel: 4, prefill: 2000, decode: 20, concurrency: {max: 4, queue: 0},
     outages: [{from: 60, to: 120}, {from: 150, to: 250, slow: 8}]}
  - {name: c, side: remote, parallel: 8, prefill: 5000, decode: 80, failures: 0.2, latency: 0.1,
     price: {prompt: 1e-6, completion: 2e-6}, outages: [{from: 70, to: 100}]}
arrivals: {rate: 2, bursts: {every: 40, lasting: 10, rate: 10}}
requests:
  - {share: 3, prompt: {lognormal: {median: 300, sigma: 1, max: 4000}}, output: {uniform: [5, 200]}, system: 200}
  - {prompt: 100, output: 50, stream: false, session: {turns: {uniform: [1, 5]}, pause: 5}}
gateway: {attempts: 2, first_byte: 20}
";

#[test]
fn every_request_is_answered_or_fails_once() {
    let scenario = scenario(ROUGH);
    let report = simulate(&scenario, &mut [contestant(1.0), contestant(0.0)]).unwrap();
    let requests = workload::requests(&scenario).unwrap();
    for strategy in &report.strategies {
        assert_eq!(strategy.requests, requests.len());
        assert_eq!(strategy.ok + strategy.failed, strategy.requests);
        assert!(strategy.ok > 0 && strategy.broken > 0 && strategy.too_long > 0, "{strategy:?}");
        assert!(strategy.shares.iter().any(|share| share.ejections > 0), "{strategy:?}");
        let answered: usize = strategy.shares.iter().map(|share| share.requests).sum();
        assert_eq!(answered, strategy.ok + strategy.broken);
        assert_eq!(strategy.series.failed.iter().sum::<usize>(), strategy.failed);
        assert!(strategy.cost > 0.0);
    }
}

#[test]
fn an_attempt_leaves_nothing_behind() {
    let scenario = scenario(ROUGH);
    let (requests, done) = run(&scenario, 1.0);
    for (request, record) in requests.iter().zip(&done.records) {
        assert!(record.total <= scenario.duration * 4, "{request:?} {record:?}");
        assert!(record.queued <= record.total, "{request:?} {record:?}");
        assert!(record.first_byte.is_none_or(|first| first <= record.total), "{record:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_report_to_the_byte() {
    let mut scenario = scenario(ROUGH);
    let text = |scenario: &Scenario| {
        let report = simulate(scenario, &mut [contestant(1.0), contestant(0.0)]).unwrap();
        serde_json::to_string(&report).unwrap()
    };
    let first = text(&scenario);
    assert_eq!(first, text(&scenario));
    scenario.seed += 1;
    assert_ne!(first, text(&scenario));
}

#[test]
fn who_takes_part_beside_it_changes_nothing_for_a_strategy() {
    let scenario = scenario(ROUGH);
    let alone = simulate(&scenario, &mut [contestant(0.0)]).unwrap();
    let beside = simulate(&scenario, &mut [contestant(1.0), contestant(0.0)]).unwrap();
    assert_eq!(alone.strategies[0], beside.strategies[1]);
    assert_eq!(alone.arrivals, beside.arrivals);
}

#[test]
fn what_is_down_is_gone_around_and_comes_back() {
    let scenario = scenario(
        "duration: 300
deployments:
  - {name: a, side: local, parallel: 64, prefill: 1e6, decode: 1e3, outages: [{from: 100, to: 150}]}
  - {name: b, side: remote, parallel: 64, prefill: 1e6, decode: 1e3}
arrivals: {rate: 5}
requests: [{prompt: 10, output: 10}]
",
    );
    let (requests, done) = run(&scenario, 0.0);
    assert!(done.records.iter().all(|record| record.fate != record::Fate::Failed));
    let at = |from, to, site| {
        let within = from..to;
        let mut of = requests.iter().zip(&done.records);
        of.all(|(r, record)| !within.contains(&r.at.as_secs()) || record.site == Some(site))
    };
    assert!(at(0, 99, 0) && at(101, 150, 1) && at(200, 300, 0));
    assert!(done.counts[0].ejections > 0);
    assert_eq!(scenario.sites[1].place.side, Side::Remote);
}

#[test]
fn no_request_takes_longer_than_it_may() {
    let scenario = scenario(
        "duration: 20
deployments: [{name: a, side: local, parallel: 2, prefill: 1e6, decode: 0.001, slowdown: 10,
  concurrency: {max: 3, queue: 5, wait: 100}}]
arrivals: {rate: 1}
requests: [{prompt: 1, output: 100000}]
gateway: {total: 30, first_byte: 10}
",
    );
    let (_, done) = run(&scenario, 1.0);
    let fates = |fate| done.records.iter().filter(|record| record.fate == fate).count();
    assert_eq!(fates(record::Fate::Ok), 0);
    assert!(fates(record::Fate::Broken) >= 2);
    assert!(done.records.iter().all(|record| record.total <= Duration::from_secs(30)));
}

#[test]
fn a_session_that_comes_back_is_read_faster() {
    let yaml = |cache| {
        format!(
            "duration: 1000
deployments: [{{name: a, side: local, parallel: 64, prefill: 1000, decode: 1e3, cache: {cache}}}]
arrivals: {{rate: 0.5}}
requests: [{{prompt: 100, output: 10, system: 1000, session: {{turns: 5, pause: 10}}}}]
"
        )
    };
    let first_byte = |cache| {
        let scenario = scenario(&yaml(cache));
        simulate(&scenario, &mut [contestant(1.0)]).unwrap().strategies[0].first_byte.p50
    };
    assert!(first_byte(0) > 1.1 && first_byte(1_000_000) < 0.15);
}
