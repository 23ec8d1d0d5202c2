use gateway_strategy::testing::{self, Fleet};
use gateway_strategy::{Needs, Request, Verdict, WhenFull};

use super::{Budget, PAID, ROOM, SPENT, WAITS};

/// A full GPU at which the next request waits about `ms`, and an API that answers after 200 ms. A usual
/// request costs a cent there.
fn full(ms: f64) -> Fleet {
    let gpu = Fleet::new().local("gpu").capacity(1).in_flight(1).latency(0.0).duration(ms);
    gpu.remote("api").capacity(100).latency(200.0).price(1e-5, 0.0)
}

fn budget(fleet: &Fleet, more: &str) -> Budget {
    fleet.configure(&format!(r#"{{"budget": "b", "ahead": 0.02{more}}}"#))
}

/// The verdict while so much of a window is over and of the money is spent, for a request of this cost.
fn said(budget: &mut Budget, fleet: &Fleet, [cost, elapsed, spent]: [f64; 3]) -> Verdict {
    let rows = fleet.local.len() + fleet.remote.len();
    let mut signals = vec![cost; rows];
    signals.extend([elapsed, spent / elapsed]);
    testing::set_signals(&signals);
    let verdict = fleet.verdict_for(budget, &Request::default());
    testing::set_signals(&[]);
    verdict
}

fn reason(verdict: &Verdict) -> u16 {
    let Verdict::Route(plan) = verdict else { panic!("{verdict:?}") };
    assert_eq!(plan.when_full, WhenFull::Next);
    plan.reason.expect("a reason")
}

#[test]
fn a_free_local_place_comes_first_whatever_it_takes() {
    let fleet = Fleet::new()
        .local("a")
        .capacity(4)
        .in_flight(4)
        .local("b")
        .capacity(4)
        .in_flight(3)
        .latency(60_000.0)
        .remote("api")
        .latency(1.0)
        .price(1e-9, 1e-9);
    let mut budget = budget(&fleet, "");
    assert_eq!(reason(&said(&mut budget, &fleet, [1e-6, 0.5, 0.0])), ROOM);
    assert_eq!(fleet.ask_for(&mut budget, &Request::default()), [0.0, 1.0, 0.0]);
}

#[test]
fn a_request_is_paid_for_if_it_would_wait_too_long() {
    // At the pace of time: 2 s and the 200 ms of the API.
    for (wait, expected) in [(2_100.0, WAITS), (2_300.0, PAID)] {
        let mut budget = budget(&full(wait), "");
        assert_eq!(reason(&said(&mut budget, &full(wait), [0.01, 0.5, 0.5])), expected, "{wait}");
    }
    let (paid, waits) = (full(2_300.0), full(2_100.0));
    assert_eq!(paid.ask_for(&mut budget(&paid, ""), &Request::default()), [0.0, 1.0]);
    assert_eq!(waits.ask_for(&mut budget(&waits, ""), &Request::default()), [1.0, 0.0]);
}

#[test]
fn waits_double_with_each_share_that_is_spent_ahead_of_time() {
    // The wait at which a request is just paid for, in seconds, without the 200 ms of the API.
    let patience = |cost: f64, elapsed: f64, spent: f64| {
        let pays = |ms: f64| {
            let fleet = full(ms + 200.0);
            reason(&said(&mut budget(&fleet, ""), &fleet, [cost, elapsed, spent])) == PAID
        };
        let (mut least, mut most) = (0.0, 1e9);
        for _ in 0..60 {
            let middle = (least + most) / 2.0;
            if pays(middle) { most = middle } else { least = middle }
        }
        (least / 10.0_f64).round() / 100.0
    };
    assert_eq!(patience(0.01, 0.5, 0.5), 2.0);
    assert_eq!(patience(0.01, 0.5, 0.52), 4.0);
    assert_eq!(patience(0.01, 0.5, 0.56), 16.0);
    assert_eq!(patience(0.01, 0.5, 0.48), 1.0);
    assert_eq!(patience(0.01, 0.5, 0.0), 0.0);
    assert_eq!(patience(0.005, 0.5, 0.5), 1.0, "a request of half the cost");
    assert_eq!(patience(f64::NAN, 0.5, 0.5), 2.0, "a usual one");
    assert_eq!(patience(0.01, f64::NAN, 0.5), 2.0, "a request that no budget counts for");
}

#[test]
fn the_cheaper_api_is_paid_where_both_are_quick() {
    let fleet = full(60_000.0).remote("dear").capacity(100).latency(100.0).price(1e-4, 0.0);
    let mut budget = budget(&fleet, "");
    testing::set_signals(&[f64::NAN, f64::NAN, f64::NAN, 0.5, 1.0]);
    assert_eq!(fleet.ask_for(&mut budget, &Request::default()), [0.0, 1.0, 0.0]);
    // Money that nobody would spend otherwise buys time.
    testing::set_signals(&[f64::NAN, f64::NAN, f64::NAN, 0.9, 0.1]);
    assert_eq!(fleet.ask_for(&mut budget, &Request::default()), [0.0, 0.0, 1.0]);
    testing::set_signals(&[]);
}

#[test]
fn without_money_requests_wait_are_held_or_refused() {
    let fleet = Fleet::new().local("gpu").capacity(2).in_flight(2).remote("api");
    let mut broke = fleet.clone();
    broke.remote.clear();
    let verdict = |more: &str| broke.verdict_for(&mut budget(&fleet, more), &Request::default());
    assert_eq!(reason(&verdict("")), SPENT);
    assert_eq!(verdict(r#", "when_spent": "hold", "hold_ms": 5000"#), Verdict::Hold(5_000));
    let refusal = Verdict::Refuse { retry_after: 1, reason: Some(SPENT) };
    assert_eq!(verdict(r#", "when_spent": "refuse""#), refusal);
    assert_eq!(broke.ask(&mut budget(&fleet, r#", "when_spent": "refuse""#)), [1.0]);
    let mut free = broke.clone();
    free.local[0].in_flight = 1;
    let mut refuses = budget(&fleet, r#", "when_spent": "refuse""#);
    assert_eq!(reason(&free.verdict_for(&mut refuses, &Request::default())), ROOM);
}

#[test]
fn it_asks_for_the_signals_of_its_budget() {
    budget(&full(1.0), "");
    let names = ["request.cost", "budget.b.elapsed", "budget.b.pace"];
    assert_eq!(testing::asked(), (names.map(str::to_owned).to_vec(), Needs::NOTHING));
}

#[test]
fn parameters_out_of_range_are_refused() {
    let refused = |text: &str| testing::configured::<Budget>(text, Vec::new()).err();
    assert_eq!(refused(r#"{"ahead": 0}"#).as_deref(), Some("`ahead`: 0 is not above 0"));
    let long = refused(r#"{"hold_ms": 60001}"#);
    assert_eq!(long.as_deref(), Some("`hold_ms`: 60001 is above 60000"));
    assert_eq!(refused(r#"{"hold_ms": 60000}"#), None);
}

#[test]
fn answers_are_good_whatever_is_asked() {
    for parameters in [
        "{}",
        r#"{"budget": "b", "when_spent": "hold"}"#,
        r#"{"when_spent": "refuse", "ahead": 1}"#,
    ] {
        testing::check_requests::<Budget>(parameters);
    }
}
