//! Second attempts.

use contract::{RawHedge, RawPlan, RawVerdict, Signal};

use super::record::{Fate, Second};
use super::scripted::{Scripted, first, run_scripted};
use super::*;

/// Two deployments. `first` and `second` are further keys of theirs.
fn pair(first: &str, second: &str, rest: &str) -> Scenario {
    scenario(&format!(
        "duration: 100
deployments:
  - {{name: a, side: local, parallel: 64, decode: 100, price: {{prompt: 1, completion: 10}}, {first}}}
  - {{name: b, side: local, parallel: 64, decode: 100, price: {{prompt: 3, completion: 10}}, {second}}}
arrivals: {{rate: 1}}
requests: [{{prompt: 100, output: 50}}]
{rest}
"
    ))
}

/// Sends everything to the first deployment, with a second attempt at the other one.
fn run_hedged(
    scenario: &Scenario,
    after: u32,
    max_cost: Option<f64>,
) -> (Vec<workload::Request>, run::Done) {
    let decide = |question: contract::Question<'_>| {
        let plan = first(question);
        let weights = RawWeights { local: vec![0.0, 1.0], remote: Vec::new() };
        let both = plan.weights.local.len() == 2;
        let hedge = both.then_some(RawHedge { after, weights, max_cost });
        RawVerdict::Route(RawPlan { hedge, ..plan })
    };
    run_scripted(scenario, &mut [Scripted::new(&[Signal::RequestCost], decide)])
}

const ALL: &str = "gateway: {hedge: {budget: 100}}";

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

#[test]
fn a_second_attempt_that_is_quicker_answers() {
    let (_, done) = run_hedged(&pair("prefill: 10", "prefill: 1000", ALL), 2000, None);
    for record in &done.records {
        assert_eq!(
            (record.fate, record.site, record.second),
            (Fate::Ok, Some(1), Some(Second::Won))
        );
        assert_eq!(seconds(record.first_byte.unwrap()), 2.1);
        // The loser has read the prompt.
        assert_eq!(record.cost, 100.0 + 300.0 + 500.0);
    }
    let run::Counts { ejections, stalls, .. } = done.counts[0];
    assert_eq!((ejections, stalls, done.denied), (0, 0, 0), "to lose is no failure");
}

#[test]
fn a_first_attempt_that_answers_cancels_the_second_one() {
    let (_, done) = run_hedged(&pair("prefill: 40", "prefill: 100", ALL), 2000, None);
    for record in &done.records {
        assert_eq!((record.site, record.second), (Some(0), Some(Second::Lost)));
        assert_eq!(seconds(record.first_byte.unwrap()), 2.5);
        assert_eq!(record.cost, 300.0 + 100.0 + 500.0);
    }
    let quick = pair("prefill: 100", "prefill: 100", ALL);
    let (_, done) = run_hedged(&quick, 2000, None);
    assert!(done.records.iter().all(|record| record.second.is_none() && record.cost == 600.0));
}

#[test]
fn a_plain_answer_wins_with_its_end() {
    let mut scenario = pair("prefill: 1000", "prefill: 1e6", ALL);
    // The first begins to write at 0.1 s, and has written all at 10.1 s.
    scenario.sites[0].decode = 5.0;
    scenario.kinds[0].stream = false;
    let (_, done) = run_hedged(&scenario, 2000, None);
    for record in &done.records {
        assert_eq!((record.site, record.second), (Some(1), Some(Second::Won)));
        assert_eq!(seconds(record.total), 2.5001);
    }
}

#[test]
fn the_budget_limits_second_attempts() {
    let (requests, done) = run_hedged(&pair("prefill: 10", "prefill: 1000", ""), 2000, None);
    let made = done.records.iter().filter(|record| record.second.is_some()).count();
    assert_eq!(made, requests.len() * 5 / 100, "5 % by default");
    assert_eq!(done.denied as usize, requests.len() - made);
    let none = pair("prefill: 10", "prefill: 1000", "gateway: {hedge: {budget: 0}}");
    let (_, done) = run_hedged(&none, 2000, None);
    assert!(done.records.iter().all(|record| record.second.is_none()));
}

#[test]
fn a_second_attempt_takes_a_free_place_that_is_not_too_dear() {
    let full = "prefill: 100, concurrency: {max: 1, queue: 9}";
    let (_, done) = run_hedged(&pair("prefill: 1", full, ALL), 500, None);
    let (won, none) = (Some(Second::Won), None);
    let of = |second| done.records.iter().filter(|record| record.second == second).count();
    // Each of them takes the place for 1.5 s, and one request comes each second.
    assert!(of(won) > 30 && of(none) > 20, "{} {}", of(won), of(none));
    for (most, goes) in [(799.0, false), (800.0, true)] {
        let (_, done) = run_hedged(&pair("prefill: 10", "prefill: 1000", ALL), 2000, Some(most));
        // Before the first answer, the length of answers is not known, nor is the cost.
        let later = &done.records[20..];
        assert!(later.iter().all(|record| record.second.is_some() == goes), "{most}");
    }
}

#[test]
fn an_attempt_goes_on_when_the_one_beside_it_fails() {
    let fails = "prefill: 1000, failures: 1";
    let (_, done) = run_hedged(&pair("prefill: 25", fails, ALL), 2000, None);
    let hedged = done.records.iter().filter(|record| record.second.is_some());
    assert!(hedged.clone().count() > 3, "until it is ejected");
    for record in &done.records {
        assert_eq!((record.fate, record.site), (Fate::Ok, Some(0)));
        assert_eq!(seconds(record.first_byte.unwrap()), 4.0);
    }
    // The first one breaks while the second one reads.
    let breaks = "prefill: 1, outages: [{from: 50, to: 51}]";
    let mut scenario = pair(breaks, "prefill: 20", ALL);
    scenario.kinds[0].stream = false;
    let (requests, done) = run_hedged(&scenario, 1000, None);
    let (mut broken, mut all) = (0, 0);
    for (request, record) in requests.iter().zip(&done.records) {
        assert_eq!(record.fate, Fate::Ok, "{request:?} {record:?}");
        all += usize::from(record.second == Some(Second::Won));
        broken += usize::from((44.0..49.0).contains(&request.at.as_secs_f64()));
    }
    assert!(broken > 0 && all > requests.len() / 2, "{broken} {all}");
}

#[test]
fn reports_count_second_attempts_if_there_are_any() {
    let strategy = |hedge: bool| {
        let decide = move |question: contract::Question<'_>| {
            let plan = first(question);
            let weights = RawWeights { local: vec![0.0, 1.0], remote: Vec::new() };
            let hedge = hedge.then_some(RawHedge { after: 2000, weights, max_cost: None });
            RawVerdict::Route(RawPlan { hedge, ..plan })
        };
        let gateways = vec![of(Scripted::new(&[], decide))];
        Contestant { name: "s".into(), gateways, signals: SignalSet::default() }
    };
    let scenario = pair("prefill: 10", "prefill: 1000", ALL);
    let report = simulate(&scenario, &mut [strategy(true), strategy(false)]).unwrap();
    let [with, without] = &report.strategies[..] else { panic!("two") };
    let made = with.requests;
    assert_eq!(with.second_attempts, Some(SecondAttempts { made, won: made, denied: 0 }));
    assert_eq!(without.second_attempts, None);
    assert!(!serde_json::to_string(without).unwrap().contains("second_attempts"));
    let rows = table::rows(&report);
    let at = rows[1].iter().position(|heading| heading == "hedged").unwrap();
    assert_eq!([&*rows[2][at], &*rows[3][at]], [&*made.to_string(), "0"]);
}
