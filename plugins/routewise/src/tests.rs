use gateway_strategy::clock::Moment;
use gateway_strategy::testing::{self, Fleet, set_draws, set_now, set_signals};
use gateway_strategy::{Attempt, Ending, Learning as _, Plan, Request, Verdict};

use super::RouteWise;
use super::lp::{self, Point};
use super::output::Lengths;
use super::profile::{KEPT, PRIOR, Profile, WINDOW};

const MINUTE: u64 = 60_000;
/// A request whose cost at a price of a dollar for a token is 1,010 dollars.
fn request() -> Request {
    Request { prompt_tokens: Some(1_000), max_output_tokens: Some(10), ..Request::default() }
}

fn at(milliseconds: u64) {
    set_now(Moment { milliseconds, offset: 0 });
}

/// An answered attempt at a deployment.
fn answered(deployment: u32, first_byte: f64) -> Attempt {
    Attempt {
        deployment,
        request: 0,
        session: None,
        tenant: None,
        ending: Ending::Ok,
        status: Some(200),
        queued: 0.0,
        first_byte,
        total: first_byte,
        probability: 1.0,
        prompt_tokens: None,
        cached_tokens: None,
        completion_tokens: None,
        reasoning_tokens: None,
        cost: f64::NAN,
    }
}

fn failed(deployment: u32) -> Attempt {
    Attempt { ending: Ending::Failed, first_byte: f64::NAN, ..answered(deployment, 0.0) }
}

/// A cheap slow, a middling and a dear quick API.
fn market() -> Fleet {
    let fleet = Fleet::new().remote("cheap").price(1e-6, 1e-6).remote("fair").price(2e-6, 2e-6);
    fleet.remote("dear").price(5e-6, 5e-6)
}

/// Tells `times` of each deployment, one after the other.
fn teach(strategy: &mut RouteWise, times: &[&[f64]]) {
    let attempts = |(deployment, times): (u32, &&[f64])| {
        times.iter().map(move |time| answered(deployment, *time)).collect::<Vec<_>>()
    };
    let all: Vec<Attempt> = (0..).zip(times).flat_map(attempts).collect();
    strategy.outcome(&all);
}

fn plan(fleet: &Fleet, strategy: &mut RouteWise, request: &Request) -> Plan {
    match fleet.verdict_for(strategy, request) {
        Verdict::Route(plan) => plan,
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn the_budget_is_met_by_one_or_two() {
    let points = |all: &[(f64, f64)]| -> Vec<Point> {
        all.iter().map(|(cost, latency)| Point { cost: *cost, latency: *latency }).collect()
    };
    let market = points(&[(1.0, 900.0), (2.0, 300.0), (5.0, 200.0), (4.0, 800.0)]);
    for (alpha, want) in [
        (0.0, [1.0, 0.0, 0.0, 0.0]),
        (0.125, [0.5, 0.5, 0.0, 0.0]),
        (0.25, [0.0, 1.0, 0.0, 0.0]),
        (0.5, [0.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]),
        (1.0, [0.0, 0.0, 1.0, 0.0]),
    ] {
        let mix = lp::solve(&market, lp::budget(&market, alpha)).expect("a point");
        let mut shares = [0.0; 4];
        mix.into_iter().for_each(|(at, weight)| shares[at] += weight);
        let far = shares.iter().zip(want).map(|(a, b)| f64::abs(a - b)).fold(0.0, f64::max);
        assert!(far < 1e-12, "{alpha}: {shares:?}");
    }
    let alike = points(&[(2.0, 300.0), (1.0, 300.0)]);
    assert_eq!(lp::solve(&alike, 2.0).map(|mix| mix[0]), Some((1, 1.0)), "the cheaper one");
}

#[test]
fn a_large_market_is_solved_like_a_small_one() {
    let mut seed = 1u64;
    let mut roll = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(seed >> 40).expect("24 bits")) / f64::from(1 << 24)
    };
    for round in 0..200 {
        let few: Vec<Point> = (0..40)
            .map(|_| Point { cost: roll() * 1e-2, latency: 100.0 + 900.0 * roll() })
            .collect();
        // More of the same, but slower: the same optimum, found by descent.
        let slower = few.iter().map(|point| Point { latency: point.latency + 1e4, ..*point });
        let many: Vec<Point> = few.iter().copied().chain(slower).collect();
        let budget = lp::budget(&few, roll());
        let latency = |points: &[Point]| {
            let mix = lp::solve(points, budget).expect("a point");
            let cost: f64 = mix.iter().map(|(at, weight)| points[*at].cost * weight).sum();
            assert!(cost <= budget + lp::EPSILON, "{round}");
            mix.iter().map(|(at, weight)| points[*at].latency * weight).sum::<f64>()
        };
        assert!((latency(&few) - latency(&many)).abs() < 1e-6, "{round}");
    }
}

#[test]
fn windows_slide_and_failures_count() {
    let mut profile = Profile::default();
    let day = PRIOR;
    (0..9).for_each(|n| profile.answered(day + n, 100.0));
    let mean = |profile: &Profile, now| profile.view(now).mean();
    assert_eq!(mean(&profile, day + WINDOW), Some(100.0));
    let later = day + 30 * MINUTE;
    profile.answered(later, 1_100.0);
    assert_eq!(mean(&profile, later), Some(200.0), "one is too few, so older ones count");
    (0..9).for_each(|_| profile.answered(later, 1_100.0));
    assert_eq!(mean(&profile, later), Some(1_100.0));
    assert!(profile.view(later + WINDOW + 1).is_unmeasured());
    assert!(!profile.view(later + WINDOW).is_unmeasured());
    profile.failed(later + 1, false);
    assert_eq!(mean(&profile, later + 1), Some((10.0 * 1_100.0 + 60_000.0) / 11.0));
    assert_eq!(profile.view(later + 1).share_within(2_000.0), 10.0 / 11.0);
    assert_eq!(mean(&profile, later + 2 * PRIOR), None);
    (0..KEPT).for_each(|_| profile.answered(later + 2, 7.0));
    assert_eq!((profile.measured.len(), mean(&profile, later + 2)), (KEPT, Some(7.0)));
}

#[test]
fn three_failures_in_a_row_take_a_deployment_out() {
    let mut profile = Profile::default();
    profile.failed(10, false);
    profile.failed(10, true);
    assert!(!profile.is_out(10));
    profile.failed(10, false);
    assert!(profile.is_out(30_009) && !profile.is_out(30_010));
    profile.answered(20, 5.0);
    assert!(!profile.is_out(20));
    assert_eq!(profile.streak, 0);
}

#[test]
fn answers_are_expected_by_the_length_of_prompts() {
    let mut lengths = Lengths::default();
    assert_eq!(lengths.expect(Some(100)), 512.0);
    [10, 20, 30].into_iter().for_each(|answer| lengths.add(100, answer));
    lengths.add(100_000, 1_000);
    lengths.add(100_000, 0);
    assert_eq!(lengths.expect(Some(127)), 20.0, "one bin");
    assert_eq!(lengths.expect(Some(128)), 265.0, "all, as that bin is empty");
    assert_eq!(lengths.expect(Some(100_000)), 265.0, "one is too few");
    assert_eq!(lengths.expect(None), 265.0);
    (0..10_000).for_each(|_| lengths.add(100, 500));
    assert!(lengths.expect(Some(100)) > 495.0, "old answers are forgotten");
}

#[test]
fn deployments_that_are_measured_share_by_the_budget() {
    let fleet = market();
    let mut strategy: RouteWise = fleet.configure(r#"{"alpha": 0.125}"#);
    teach(&mut strategy, &[&[900.0], &[300.0], &[200.0]]);
    assert_eq!(fleet.ask_for(&mut strategy, &request()), [0.5, 0.5, 0.0]);
    assert_eq!(fleet.ask(&mut strategy), [0.5, 0.5, 0.0]);
    let mut other: RouteWise = fleet.configure(r#"{"alpha": 1}"#);
    assert_eq!(fleet.ask_for(&mut other, &request()), [0.0, 0.0, 1.0], "it reads the store");
    strategy.outcome(&[answered(1, 1_700.0)]);
    for one in [&mut strategy, &mut other] {
        assert_eq!(
            one.rows(&request(), &[], &fleet.remote)[1].latency,
            Some(1_000.0),
            "it follows"
        );
    }
}

#[test]
fn an_unmeasured_deployment_gets_one_request_at_a_time() {
    let fleet = market();
    at(MINUTE);
    set_draws(&[0.0]);
    let mut strategy: RouteWise = fleet.configure(r#"{"alpha": 1}"#);
    let mut other: RouteWise = fleet.configure(r#"{"alpha": 1}"#);
    let first = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    assert_eq!(fleet.ask_for(&mut strategy, &request()), first[0]);
    assert_eq!(fleet.ask_for(&mut other, &request()), first[1]);
    assert_eq!(fleet.ask_for(&mut strategy, &request()), first[2]);
    // All are on their way. Nothing is known, so the cheapest one serves.
    assert_eq!(fleet.ask_for(&mut strategy, &request()), first[0]);
    strategy.outcome(&[answered(2, 50.0)]);
    assert_eq!(fleet.ask_for(&mut other, &request()), first[2], "known");
    at(2 * MINUTE);
    assert_eq!(fleet.ask_for(&mut other, &request()), first[0], "the leases are over");
    set_draws(&[]);
}

#[test]
fn exploration_stays_within_the_budget() {
    let fleet = Fleet::new().remote("cheap").price(1e-6, 1e-6).remote("dear").price(5e-6, 5e-6);
    let mut strategy: RouteWise = fleet.configure("{}");
    teach(&mut strategy, &[&[900.0]]);
    // A quarter of the requests may go to the dear one.
    for (draw, want) in [(0.74, [1.0, 0.0]), (0.76, [0.0, 1.0]), (0.76, [1.0, 0.0])] {
        set_draws(&[draw]);
        assert_eq!(fleet.ask_for(&mut strategy, &request()), want, "{draw}");
    }
    set_draws(&[]);
}

#[test]
fn the_second_attempt_is_made_as_late_as_it_may() {
    let fleet = market();
    let mut strategy: RouteWise = fleet.configure(r#"{"alpha": 0}"#);
    let spread: Vec<f64> = (1..=10).map(|n| 200.0 * f64::from(n)).collect();
    teach(&mut strategy, &[&spread, &[290.0; 5], &[190.0; 5]]);
    let objective = |milliseconds| Request { objective: Some(milliseconds), ..request() };
    let hedge = |strategy: &mut RouteWise, asked: &Request| plan(&fleet, strategy, asked).hedge;
    // 195 ms are left at 800 ms: enough for the dear one alone.
    let late = hedge(&mut strategy, &objective(1_000)).expect("a second attempt");
    assert_eq!((late.after, &late.weights.remote[..]), (800, &[0.0, 0.0, 1.0][..]));
    assert_eq!(hedge(&mut strategy, &objective(200)), None, "nothing is that quick");
    assert_eq!(hedge(&mut strategy, &request()), None, "no objective");
    let early = hedge(&mut strategy, &objective(300)).expect("a second attempt");
    assert_eq!(early.after, 105);
}

#[test]
fn a_mix_with_an_objective_is_drawn_here() {
    let fleet = market();
    let mut strategy: RouteWise = fleet.configure(r#"{"alpha": 0.125, "slo_ms": 1000}"#);
    let spread: Vec<f64> = (1..=10).map(|n| 200.0 * f64::from(n)).collect();
    teach(&mut strategy, &[&spread, &[290.0; 5], &[900.0; 5]]);
    for (draw, want) in [(0.49, [1.0, 0.0, 0.0]), (0.51, [0.0, 1.0, 0.0])] {
        set_draws(&[draw]);
        assert_eq!(fleet.ask_for(&mut strategy, &request()), want, "{draw}");
    }
    set_draws(&[]);
}

#[test]
fn a_quota_costs_more_the_less_is_left() {
    let fleet = Fleet::new().remote("prepaid").remote("api").price(1e-6, 1e-6);
    let mut strategy: RouteWise = fleet.configure(r#"{"alpha": 0}"#);
    let unknown = f64::NAN;
    let used = |share| set_signals(&[unknown, share, unknown, unknown]);
    used(0.0);
    fleet.ask(&mut strategy);
    // Requests of 100 to 1,000 tokens.
    let sizes = (1..=10).map(|n| Attempt {
        prompt_tokens: Some(100 * n - 1),
        completion_tokens: Some(1),
        ..answered(n % 2, 100.0)
    });
    strategy.outcome(&sizes.collect::<Vec<_>>());
    // A request of 510 tokens costs more than a quota that is half gone, and less than a full one.
    let asked = |tokens| Request { prompt_tokens: Some(tokens), ..request() };
    for (share, tokens, prepaid) in [
        (0.0, 500, 1.0),
        (0.0, 150, 0.0),
        (0.5, 500, 1.0),
        (0.9, 500, 0.0),
        (0.9, 990, 1.0),
        (1.0, 100_000, 0.0),
    ] {
        used(share);
        let shares = fleet.ask_for(&mut strategy, &asked(tokens));
        assert_eq!(shares[0], prepaid, "{share} {tokens}");
    }
    set_signals(&[]);
}

#[test]
fn what_is_full_or_out_is_no_candidate() {
    let full = Fleet::new().local("gpu").capacity(2).in_flight(1).queued(1);
    let fleet = full.remote("api").price(1e-6, 1e-6);
    let mut strategy: RouteWise = fleet.configure(r#"{"alpha": 0}"#);
    teach(&mut strategy, &[&[10.0], &[20.0]]);
    assert_eq!(fleet.ask(&mut strategy), [0.0, 1.0]);
    let free = Fleet::new().local("gpu").capacity(2).in_flight(1).remote("api").price(1e-6, 1e-6);
    assert_eq!(free.ask(&mut strategy), [1.0, 0.0]);
    strategy.outcome(&[failed(0), failed(0), failed(0)]);
    assert_eq!(free.ask(&mut strategy), [0.0, 1.0], "it is out");
}

#[test]
fn a_remote_without_a_price_is_a_fallback() {
    let fleet = Fleet::new().remote("unknown").remote("api").price(1e-3, 1e-3);
    let mut strategy: RouteWise = fleet.configure(r#"{"alpha": 1}"#);
    teach(&mut strategy, &[&[10.0], &[900.0]]);
    assert_eq!(fleet.ask_for(&mut strategy, &request()), [0.0, 1.0]);
}

#[test]
fn fallbacks_are_ordered_and_never_standby() {
    let fleet = market();
    let mut strategy: RouteWise = fleet.configure(r#"{"alpha": 0}"#);
    teach(&mut strategy, &[&[900.0], &[300.0], &[200.0]]);
    let weights = fleet.ask_order(&mut strategy, &request());
    assert!(weights[0] == 1.0 && weights[2] > weights[1] && weights[1] > 0.0, "{weights:?}");
}

#[test]
fn records_survive_the_store() {
    let fleet = market();
    let mut strategy: RouteWise = fleet.configure("{}");
    at(1_700_000_000_000);
    let many: Vec<f64> = (0..600).map(f64::from).collect();
    teach(&mut strategy, &[&many]);
    strategy.outcome(&[failed(0)]);
    let mut again: RouteWise = fleet.configure("{}");
    again.known.refresh();
    let key = again.tiers[0].key;
    let read = again.known.current(key).expect("a record").profile().clone();
    assert_eq!(&read, strategy.known.get(key).expect("a record").profile());
    assert_eq!(read.measured.len(), KEPT);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut fleet = Fleet::new();
    for n in 0..300 {
        fleet = fleet.remote(&format!("api-{n}")).price(1e-6, 1e-6);
    }
    let mut strategy: RouteWise = fleet.configure("{}");
    for n in 0..300 {
        at(u64::from(n) + 1);
        let many: Vec<Attempt> = (0..KEPT).map(|_| answered(n, 5.0)).collect();
        strategy.outcome(&many);
    }
    strategy.known.refresh();
    let known = |n: usize| strategy.known.get(strategy.tiers[n].key).is_some();
    assert_eq!((0..300).filter(|n| known(*n)).count(), super::REMEMBERED);
    assert!(known(299) && !known(0), "the oldest make room");
}

#[test]
fn answers_are_good_whatever_is_asked() {
    for parameters in ["{}", r#"{"alpha": 0, "slo_ms": 1}"#, r#"{"alpha": 1, "slo_ms": 1000}"#] {
        testing::check_requests::<RouteWise>(parameters);
    }
}
