//! The numbers that strategies are told about a deployment.

use contract::{Candidate, Place};

use super::super::{Load, Sibling, may_go};
use super::*;

#[test]
fn a_strategy_sees_how_attempts_went() {
    let (load, place) = (Arc::new(Load::default()), Place::new("d", "m", Side::Local));
    let idle = Candidate { queued: 2, ..Candidate::idle(7, &place) };
    let _under_way: Vec<_> = (0..3).map(|_| load.enter()).collect();
    load.record_first_byte(SECOND, SECOND);
    load.record_failure(SECOND, SECOND);
    let seen = load.candidate(idle, SECOND);
    assert_eq!((seen.id, seen.queued, seen.in_flight), (7, 2, 3));
    assert!(seen.error_rate > 0.0, "{seen:?}");
    assert!(seen.latency.is_some_and(|latency| latency > 1000.0), "a failure looks slow: {seen:?}");
    let later = load.candidate(idle, 100 * SECOND);
    assert_eq!(later.latency, None, "that was long ago");
}

#[test]
fn a_trial_is_not_judged_by_what_was_before() {
    let scene = Scene::of(1);
    scene.fail(0, 1);
    let _under_way = scene.at(0).load.enter();
    let seen = scene.at(0).candidate(Condition::HalfOpen, scene.now);
    assert_eq!((seen.in_flight, seen.latency, seen.error_rate), (1, None, 0.0));
    let seen = scene.at(0).candidate(Condition::Healthy, scene.now);
    assert!(seen.latency.is_some() && seen.error_rate > 0.0, "{seen:?}");
}

#[test]
fn outcomes_say_whether_it_went_well() {
    let credential = Outcome::Credential { cause: "answered 401".into() };
    for (outcome, good) in [
        (Outcome::Neutral, None),
        (Outcome::Success, Some(true)),
        (failure(), Some(false)),
        (limited(1), None),
        (credential, None),
    ] {
        assert_eq!(outcome.is_good(), good, "{outcome:?}");
        let scene = Scene::of(2);
        scene.attempt(0, outcome);
        let load = &scene.at(0).load;
        let failed = good == Some(false);
        assert_eq!((load.is_failing(), load.latency().is_some()), (failed, failed));
    }
}

#[test]
fn half_may_be_ejected_and_never_the_last() {
    use Sibling::{Doubtful, OfUse, Out};
    for (others, may) in [
        (&[][..], false),
        (&[OfUse], true),
        (&[Doubtful], false),
        (&[Out], false),
        (&[OfUse, Out], false),
        (&[OfUse, Doubtful], true),
        (&[OfUse, OfUse, Out], true),
        (&[Doubtful, Doubtful, Out], false),
        (&[OfUse, Out, Out], false),
        (&[OfUse, OfUse, Out, Out], false),
        (&[OfUse, OfUse, OfUse, Out, Out], true),
    ] {
        assert_eq!(may_go(others.iter().copied()), may, "{others:?}");
    }
}

#[test]
fn averages_move_by_a_tenth() {
    let (load, is) = (Load::default(), |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}"));
    assert_eq!((load.latency(), load.error_rate(), load.is_failing()), (None, 0.0, false));
    load.record_first_byte(SECOND, SECOND);
    is(load.latency().expect("one"), 1000.0);
    load.record_first_byte(2 * SECOND, SECOND);
    is(load.latency().expect("two"), 1100.0);
    load.record_failure(SECOND, SECOND);
    is(load.error_rate(), 0.1);
    load.record_failure(SECOND, SECOND);
    is(load.error_rate(), 0.19);
    assert!(load.is_failing());
    load.record_success();
    is(load.error_rate(), 0.171);
    assert!(!load.is_failing());
    load.record_failure(SECOND, SECOND);
    load.forget();
    assert_eq!((load.latency(), load.error_rate(), load.is_failing()), (None, 0.0, false));
    (0..3).for_each(|_| load.record_ejection());
    assert_eq!(load.ejections(), 3);
}

#[test]
fn a_failure_counts_as_slow() {
    // The latency before, how long the failure took, and the latency after it, in seconds.
    for (before, took, after) in [
        (None, 1, 5.0),
        (None, 7, 7.0),
        (Some(2), 1, 2.3),
        (Some(10), 1, 11.0),
        (Some(10), 30, 12.0),
        (Some(300), 1, 330.0),
        (Some(400), 1, 420.0),
        (Some(400), 700, 430.0),
    ] {
        let load = Load::default();
        if let Some(before) = before {
            load.record_first_byte(before * SECOND, SECOND);
        }
        load.record_failure(took * SECOND, SECOND);
        let latency = load.latency().expect("a failure") / 1e3;
        assert!((latency - after).abs() < 1e-6, "{before:?} {took}: {latency}");
    }
}

#[test]
fn an_observation_is_recent_for_a_minute() {
    let load = Load::default();
    load.record_first_byte(SECOND, 3 * SECOND);
    let ms = Duration::from_millis;
    for (now, is_recent) in [(0, true), (3_000, true), (62_999, true), (63_000, false)] {
        assert_eq!(load.recent_latency(ms(now)).is_some(), is_recent, "{now}");
    }
}
