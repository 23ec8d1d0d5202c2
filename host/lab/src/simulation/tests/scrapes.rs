//! The age of what engines tell.

use contract::{RawVerdict, Signal};

use super::scripted::{Scripted, first, run_scripted};
use super::*;

const SIGNALS: [Signal; 3] = [Signal::EngineRunning, Signal::EngineWaiting, Signal::EngineAge];

/// One engine. `rest` are settings of the gateway.
fn one(arrivals: &str, outages: &str, rest: &str) -> Scenario {
    scenario(&format!(
        "duration: 60
deployments:
  - {{name: a, side: local, parallel: 2, prefill: 1e6, decode: 10, latency: 0.01, outages: [{outages}]}}
arrivals: {arrivals}
requests: [{{prompt: 10, output: 50}}]
gateway: {{{rest}}}
"
    ))
}

/// The signals that the strategies of all gateways saw, by the time of the request.
fn seen(scenario: &Scenario) -> Vec<(Duration, [f64; 3])> {
    let seen = std::sync::Mutex::new(Vec::new());
    let strategy = |_| {
        Scripted::new(&SIGNALS, |question| {
            let signals = question.situation.signals;
            seen.lock().unwrap().push([signals[0], signals[1], signals[2]]);
            RawVerdict::Route(first(question))
        })
    };
    let mut strategies: Vec<_> = (0..scenario.gateways).map(strategy).collect();
    let (requests, _) = run_scripted(scenario, &mut strategies);
    drop(strategies);
    let seen = seen.into_inner().unwrap();
    requests.iter().map(|request| request.at).zip(seen).collect()
}

#[test]
fn without_an_interval_the_engine_is_seen_as_it_is() {
    for (_, [running, waiting, age]) in seen(&one("{rate: 0.3}", "", "")) {
        assert!(running <= 2.0 && age == 0.0, "{running} {waiting} {age}");
    }
}

#[test]
fn numbers_are_as_old_as_the_last_scrape() {
    let seen = seen(&one("{rate: 3}", "", "scrape: 2"));
    let mut fresh = 0;
    for (at, [_, _, age]) in &seen {
        // The first scrape is at 0 s, and each answer comes 10 ms later.
        let want = at.as_millis() % 2000;
        let (want, is_first) = match (want, at.as_millis()) {
            (..10, 10..) => (want + 2000, false),
            (want, at) => (want, at < 10),
        };
        assert!(is_first || (*age - want as f64).abs() <= 1.0, "{age} instead of {want}");
        fresh += usize::from(want < 500);
    }
    assert!(fresh > 10);
    // The line grows for ever, but between two scrapes the number of waiting ones stays.
    let mut waiting: Vec<f64> = seen.iter().map(|(_, [_, waiting, _])| *waiting).collect();
    waiting.retain(|waiting| !waiting.is_nan());
    waiting.dedup();
    assert!(waiting.len() > 15 && waiting.len() <= 31, "{waiting:?}");
}

#[test]
fn the_gateways_own_requests_count_at_once() {
    let rows =
        seen(&one("{steps: [{from: 10, rate: 100}, {from: 10.5, rate: 0}]}", "", "scrape: 30"));
    let running: Vec<f64> = rows.iter().map(|(_, [running, ..])| *running).collect();
    let count = running.len();
    assert!(count > 30);
    // The engine told 0 at 0 s. Each request sees those before it.
    let want: Vec<f64> = (0..count).map(|before| before as f64).collect();
    assert_eq!(running, want);
}

#[test]
fn an_engine_that_is_down_becomes_unknown() {
    let scenario = one("{steps: [{from: 0, rate: 5}]}", "{from: 10, to: 40}", "scrape: 0.5");
    for (at, [running, ..]) in seen(&scenario) {
        match at.as_secs_f64() {
            // Numbers are used for 5 s.
            15.1..40.0 => assert!(running.is_nan(), "{running} at {at:?}"),
            0.1..10.0 | 40.6.. => assert!(!running.is_nan(), "{at:?}"),
            _ => {}
        }
    }
}

#[test]
fn several_gateways_scrape_more_seldom_and_do_not_see_each_others_requests() {
    let ages = |gateways: u8| {
        let rest = format!("scrape: 0.5, gateways: {gateways}");
        let rows = seen(&one("{rate: 20}", "", &rest));
        rows.iter().map(|(_, [_, _, age])| *age).filter(|age| !age.is_nan()).fold(0.0, f64::max)
    };
    assert!((ages(1) - 505.0).abs() < 10.0, "{}", ages(1));
    assert!((ages(4) - 2005.0).abs() < 30.0, "{}", ages(4));
}
