//! Tests that the simulation records the signals that the gateway would.

use contract::{Signal, SignalSet};

use super::*;

/// A run with all signals, up to the end of the scenario.
fn recorded(scenario: &Scenario) -> impl Fn(usize, Signal, &workload::Request) -> f64 {
    let requests = workload::requests(scenario).unwrap();
    let mut contestant = contestant(1.0);
    let signals = Signal::ALL.into_iter().collect();
    let strategies = contestant.gateways.iter_mut().map(GatewayStrategy::asked);
    let (done, sites) = run::Run::new(scenario, &requests, strategies, signals).run_to_the_end();
    let end = done.records.iter().zip(&requests).map(|(record, request)| request.at + record.total);
    let end = end.max().unwrap();
    let values: Vec<Vec<Vec<f64>>> = sites
        .iter()
        .map(|site| {
            let of = |request: &workload::Request| {
                let signals = request.signals();
                Signal::ALL.map(|signal| site.signal(signal, Some(&signals), end)).to_vec()
            };
            requests.iter().map(of).collect()
        })
        .collect();
    move |at, signal, request| {
        let index = requests.iter().position(|other| other == request).unwrap();
        values[at][index][signal as usize]
    }
}

/// Two engines: the second is twice as fast.
const PAIR: &str = "
duration: 400
deployments:
  - {name: a, side: local, parallel: 8, prefill: 1000, decode: 50, cache: 1000000}
  - {name: b, side: local, parallel: 8, prefill: 2000, decode: 100, cache: 1000000}
arrivals: {rate: 0.5}
requests: [{prompt: 1280, output: 101, system: 1280, session: {turns: 2, pause: 20}}]
";

fn near(got: f64, want: f64, by: f64) -> bool {
    (got / want - 1.0).abs() <= by
}

#[test]
fn speeds_and_times_are_those_of_the_engines() {
    let scenario = scenario(PAIR);
    let value = recorded(&scenario);
    let requests = workload::requests(&scenario).unwrap();
    for (at, decode) in [(0, 50.0), (1, 100.0)] {
        let of = |signal| value(at, signal, &requests[0]);
        let speed = of(Signal::TokensPerSecond);
        assert!(near(speed, decode, 0.03), "{speed} of {decode}");
        // An answer takes its 101 tokens and the prefill of what is not cached, at most 2,661.
        let (duration, least) = (of(Signal::DurationMean), 101.0 / decode * 1e3);
        assert!((least..least + 2661.0 * 1e3 / (decode * 20.0)).contains(&duration), "{duration}");
        let [p50, p90] = [Signal::FirstByteP50Long, Signal::FirstByteP90Long].map(of);
        assert!(
            p50 > 0.0 && p50 <= p90 && p90 <= 2661.0 * 1.05 * 1e3 / (decode * 20.0),
            "{p50} {p90}"
        );
        assert_eq!(
            [Signal::PrefillBacklog, Signal::RefusedRate, Signal::LineWait].map(of),
            [0.0; 3]
        );
    }
}

#[test]
fn prompts_are_known_where_they_were_answered() {
    let scenario = scenario(PAIR);
    let value = recorded(&scenario);
    let requests = workload::requests(&scenario).unwrap();
    let mut elsewhere = 0;
    for request in &requests {
        let known = [0, 1].map(|at| value(at, Signal::PrefixTokens, request));
        let most = f64::from(request.prompt / 128 * 128);
        // The index may have lost a block.
        let has = known.map(|known| known >= most - 128.0 - 0.02 * most);
        assert!(has.contains(&true), "{known:?} of {most}");
        // Every engine has the system prompt.
        assert!(known.iter().all(|known| *known >= (1280.0 - 128.0) * 0.98), "{known:?}");
        elsewhere += usize::from(has.contains(&false));
    }
    assert!(elsewhere > requests.len() / 4, "a session's rest is only where it was sent");
}

#[test]
fn a_run_with_signals_is_the_same_each_time() {
    let scenario = scenario(ROUGH);
    let values = || {
        let value = recorded(&scenario);
        let requests = workload::requests(&scenario).unwrap();
        let of = |at, request| Signal::ALL.map(|signal| value(at, signal, request).to_bits());
        requests
            .iter()
            .take(20)
            .flat_map(|request| [0, 1, 2].map(|at| of(at, request)))
            .collect::<Vec<_>>()
    };
    assert_eq!(values(), values());
}

#[test]
fn recording_changes_nothing() {
    let scenario = scenario(ROUGH);
    let requests = workload::requests(&scenario).unwrap();
    let [none, all] = [SignalSet::default(), Signal::ALL.into_iter().collect()].map(|signals| {
        let mut contestant = contestant(1.0);
        let strategies = contestant.gateways.iter_mut().map(GatewayStrategy::asked);
        let run = run::Run::new(&scenario, &requests, strategies, signals);
        format!("{:?}", run.run().records)
    });
    assert!(none == all);
}
