//! The numbers that strategies are told about a deployment.

use contract::Place;

use super::super::{Load, Sibling, may_go};
use super::*;

fn place() -> Place {
    Place {
        name: "d".into(),
        model: "m".into(),
        side: Side::Local,
        weight: 1.0,
        capacity: 1,
        price: None,
        context_length: 1,
    }
}

#[test]
fn a_strategy_sees_how_attempts_went() {
    let (load, place) = (Arc::new(Load::default()), place());
    let _under_way: Vec<_> = (0..3).map(|_| load.enter()).collect();
    load.record_first_byte(SECOND, SECOND);
    load.record_failure(SECOND, SECOND);
    let seen = load.candidate(7, &place, 2, Condition::Healthy, SECOND);
    assert_eq!((seen.id, seen.queued), (7, 2));
    assert!(seen.in_flight > 2 && seen.error_rate > 0.0, "{seen:?}");
    assert!(seen.latency.is_some_and(|latency| latency > 1000.0), "a failure looks slow: {seen:?}");
    let later = load.candidate(7, &place, 2, Condition::Healthy, 100 * SECOND);
    assert_eq!(later.latency, None, "that was long ago");
}

#[test]
fn a_trial_is_not_judged_by_what_was_before() {
    let (load, place) = (Arc::new(Load::default()), place());
    let _under_way = load.enter();
    load.record_failure(SECOND, SECOND);
    let seen = load.candidate(0, &place, 0, Condition::HalfOpen, SECOND);
    assert_eq!((seen.in_flight, seen.latency, seen.error_rate), (1, None, 0.0));
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
