//! Engines that refuse requests when they are full.

use contract::{Signal, WhenFull};

use super::scripted::{Scripted, first, run_scripted};
use super::*;

/// An engine for two requests at a time, which `refuses` so, and a slow one that takes all. Five
/// requests a second would keep three of the first busy.
fn full(side: &str, refuses: &str) -> Scenario {
    scenario(&format!(
        "duration: 300
deployments:
  - {{name: a, side: {side}, parallel: 2, prefill: 1e6, decode: 100, refuses: {refuses}}}
  - {{name: b, side: {side}, parallel: 1000, prefill: 1e6, decode: 20}}
arrivals: {{rate: 5}}
requests: [{{prompt: 10, output: {{exponential: 60}}}}]
"
    ))
}

/// A run that prefers the first deployment, with the last limit and the highest refused rate that
/// its strategy saw.
fn preferring(scenario: &Scenario) -> (Vec<workload::Request>, run::Done, u32, f64) {
    let (mut limit, mut rate) = (0, 0.0_f64);
    let mut strategies = [Scripted::new(&[Signal::Limit, Signal::RefusedRate], |question| {
        let Situation { local, remote, signals } = question.situation;
        let one = local.first().or(remote.first()).unwrap();
        if &*one.place.name == "a" {
            limit = one.limit;
            assert_eq!(signals[0], f64::from(one.limit));
            rate = rate.max(signals[1]);
        }
        RawVerdictOf::next(first(question))
    })];
    let (requests, done) = run_scripted(scenario, &mut strategies);
    drop(strategies);
    (requests, done, limit, rate)
}

struct RawVerdictOf;

impl RawVerdictOf {
    /// A plan that takes the next deployment if one is full.
    fn next(plan: contract::RawPlan) -> contract::RawVerdict {
        contract::RawVerdict::Route(contract::RawPlan { when_full: WhenFull::Next, ..plan })
    }
}

#[test]
fn the_gateway_learns_how_many_requests_a_full_engine_takes() {
    for side in ["local", "remote"] {
        let scenario = full(side, "{queue: 1, status: 429}");
        let (requests, done, limit, rate) = preferring(&scenario);
        assert!(done.records.iter().all(|record| record.fate == record::Fate::Ok));
        assert!((2..=4).contains(&limit), "{side}: {limit}");
        assert!(rate > 0.0 && rate < 1.0, "{rate}");
        let run::Counts { ejections, refusals, .. } = done.counts[0];
        assert_eq!(ejections, 0, "a full engine is no broken one");
        // Without a limit it would refuse about a third of the requests.
        assert!(refusals > 3 && refusals < requests.len() as u64 / 10, "{side}: {refusals}");
        let at_first = done.records.iter().filter(|record| record.site == Some(0)).count();
        assert!(at_first * 2 > requests.len(), "{side}: it stays full: {at_first}");
    }
}

#[test]
fn an_engine_whose_queue_has_no_end_refuses_nothing() {
    let mut scenario = full("local", "{queue: 0}");
    scenario.sites[0].refusal = None;
    let (_, done, limit, rate) = preferring(&scenario);
    assert_eq!((done.counts[0].refusals, rate), (0, 0.0));
    assert_eq!(limit, scenario.sites[0].concurrency.max);
}

/// Times at which a request was answered by the first deployment, in seconds.
fn times(requests: &[workload::Request], done: &run::Done) -> Vec<f64> {
    let mut times: Vec<f64> = requests
        .iter()
        .zip(&done.records)
        .filter(|(_, record)| record.site == Some(0))
        .map(|(request, record)| (request.at + record.first_byte.unwrap()).as_secs_f64())
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

#[test]
fn a_remote_one_that_names_a_time_is_left_alone_for_it() {
    let longest = |side| {
        let scenario = full(side, "{queue: 0, status: 503, retry_after: 20}");
        let (requests, done, ..) = preferring(&scenario);
        assert!(done.counts[0].refusals > 0);
        let times = times(&requests, &done);
        times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
    };
    // The pause begins a little after the last answer has begun.
    let (remote, local) = (longest("remote"), longest("local"));
    assert!(remote > 19.5 && remote < 25.0, "{remote}");
    // A local engine is full for as long as its requests take, whatever it says.
    assert!(local < 10.0, "{local}");
}

#[test]
fn a_refusal_costs_a_request_no_attempt() {
    let mut scenario = full("local", "{queue: 0}");
    scenario.fallback.attempts = 1;
    let (_, done, ..) = preferring(&scenario);
    assert!(done.counts[0].refusals > 0);
    assert!(done.records.iter().all(|record| record.fate == record::Fate::Ok));
}

#[test]
fn requests_wait_where_every_engine_is_full() {
    let mut scenario = full("local", "{queue: 0}");
    scenario.sites.truncate(1);
    let (_, done, ..) = preferring(&scenario);
    let ok = done.records.iter().filter(|record| record.fate == record::Fate::Ok);
    let waited = ok.clone().filter(|record| record.queued > Duration::ZERO).count();
    // It has two thirds of the places that are needed, and keeps them busy.
    assert!(ok.count() * 2 > done.records.len() && waited > 100, "{waited}");
}
