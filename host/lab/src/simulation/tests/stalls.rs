//! Engines that hang for a time, come back, or change their speed.

use contract::{CandidateState, RawVerdict};

use super::record::Fate;
use super::scripted::{Scripted, first, run_scripted};
use super::*;

/// Two deployments. The first hangs from 100 to 160 s.
fn hanging(rate: f64, output: u32) -> Scenario {
    scenario(&format!(
        "duration: 300
deployments:
  - {{name: a, side: local, parallel: 512, prefill: 1e6, decode: 10,
      outages: [{{from: 100, to: 160, stall: true}}]}}
  - {{name: b, side: local, parallel: 512, prefill: 1e6, decode: 10}}
arrivals: {{rate: {rate}}}
requests: [{{prompt: 10, output: {output}}}]
gateway: {{first_byte: 5}}
"
    ))
}

/// Prefers the first deployment. Also returns the states in which its strategy saw it.
fn preferring(scenario: &Scenario) -> (Vec<workload::Request>, run::Done, Vec<CandidateState>) {
    let mut seen = Vec::new();
    let mut strategies = [Scripted::new(&[], |question| {
        let one = &question.situation.local[0];
        if &*one.place.name == "a" && seen.last() != Some(&one.state) {
            seen.push(one.state);
        }
        RawVerdict::Route(first(question))
    })];
    let (requests, done) = run_scripted(scenario, &mut strategies);
    drop(strategies);
    (requests, done, seen)
}

#[test]
fn an_engine_that_still_answers_others_stalls_and_is_not_ejected() {
    // Answers of 20 s go on while new ones do not begin.
    let (requests, done, seen) = preferring(&hanging(5.0, 200));
    assert!(done.records.iter().all(|record| record.fate == Fate::Ok));
    assert!(done.counts[0].stalls > 0, "{:?}", done.counts);
    assert!(seen.contains(&CandidateState::Stalled), "{seen:?}");
    assert_eq!(seen.last(), Some(&CandidateState::Healthy), "{seen:?}");
    let at = |from, to, site| {
        let within = |r: &workload::Request| (from..to).contains(&r.at.as_secs());
        let mut of = requests.iter().zip(&done.records).filter(|(r, _)| within(r));
        of.all(|(_, record)| record.site == Some(site))
    };
    assert!(at(0, 95, 0) && at(101, 150, 1) && at(165, 200, 0));
}

#[test]
fn an_engine_that_answers_nobody_is_ejected_and_tried_again() {
    // Answers take 0.1 s, and requests come two seconds apart: nobody is answered in the stall.
    let (_, done, seen) = preferring(&hanging(0.5, 1));
    assert!(done.records.iter().all(|record| record.fate == Fate::Ok));
    assert_eq!(done.counts[0].stalls, 0, "{:?}", done.counts);
    assert!(done.counts[0].ejections > 0, "{:?}", done.counts);
    assert!(seen.contains(&CandidateState::HalfOpen), "{seen:?}");
    assert_eq!(seen.last(), Some(&CandidateState::Healthy), "{seen:?}");
}

/// Shares of a deployment that was down from 100 to 120 s, in the ten seconds after its return,
/// second by second, with equal weights. Twenty requests a second.
fn shares_after_return(slow_start: &str) -> Vec<f64> {
    let scenario = scenario(&format!(
        "duration: 300
deployments:
  - {{name: a, side: local, parallel: 512, prefill: 1e6, decode: 1e3,
      outages: [{{from: 100, to: 120}}]}}
  - {{name: b, side: local, parallel: 512, prefill: 1e6, decode: 1e3}}
arrivals: {{rate: 200}}
requests: [{{prompt: 10, output: 10}}]
gateway: {{slow_start: {slow_start}}}
"
    ));
    let (requests, done) = run(&scenario, 1.0);
    let of: Vec<_> = requests.iter().zip(&done.records).collect();
    let is_back = |(r, record): &&(&workload::Request, &record::Record)| {
        r.at.as_secs() >= 120 && record.site == Some(0)
    };
    let back = of.iter().find(is_back).unwrap().0.at;
    (0..12)
        .map(|second| {
            let from = back + Duration::from_secs(second);
            let within =
                |r: &workload::Request| r.at >= from && r.at < from + Duration::from_secs(1);
            let all: Vec<_> = of.iter().filter(|(r, _)| within(r)).collect();
            let at_it = all.iter().filter(|(_, record)| record.site == Some(0)).count();
            at_it as f64 / all.len() as f64
        })
        .collect()
}

#[test]
fn a_deployment_that_comes_back_gets_its_share_slowly() {
    let slow = shares_after_return("{duration: 10s, from: 0.1}");
    // At first 0.1 : 1, then more each second, and half at last.
    assert!(slow[0] < 0.2, "{slow:?}");
    assert!(slow[4] > 0.25 && slow[4] < 0.45, "{slow:?}");
    assert!(slow[11] > 0.4, "{slow:?}");
    for shares in ["{duration: 0}", "{duration: 10s, min_rate: 1000}"].map(shares_after_return) {
        assert!(shares[1] > 0.4, "{shares:?}");
    }
}

#[test]
fn an_engine_whose_speed_changes_takes_longer() {
    let drifting = |drift: &str| {
        let scenario = scenario(&format!(
            "duration: 400
deployments: [{{name: a, side: local, parallel: 64, prefill: 100, decode: 100, drift: {drift}}}]
arrivals: {{rate: 1}}
requests: [{{prompt: 100, output: 100}}]
"
        ));
        let (requests, done) = run(&scenario, 1.0);
        let at: Vec<_> = requests.iter().map(|request| request.at.as_secs()).collect();
        at.into_iter().zip(done.records.iter().map(|r| r.total.as_secs_f64())).collect::<Vec<_>>()
    };
    for (at, total) in drifting("{steps: [{from: 100, speed: 0.5}, {from: 200, speed: 2}]}") {
        let want = match at {
            0..98 => 2.0,
            100..196 => 4.0,
            200.. => 1.0,
            _ => continue,
        };
        assert!((total - want).abs() < 1e-3, "{total} at {at}");
    }
    let wave = drifting("{period: 400, amplitude: 0.5}");
    let near = |second: u64| wave.iter().find(|(at, _)| *at >= second).unwrap().1;
    assert!((near(0) - 2.0).abs() < 0.1, "{}", near(0));
    assert!((near(95) - 2.0 / 1.5).abs() < 0.05, "{}", near(95));
    assert!((near(295) - 2.0 / 0.5).abs() < 0.1, "{}", near(295));
}
