//! One request at a time, step by step, on values alone.

use config::{Ambiguous, Standby};
use fleet::FailureKind;
use http::StatusCode;

use crate::InferenceEndpoint;

use super::scene::*;
use super::*;

#[test]
fn attempts_go_by_weight_and_end_with_their_number() {
    let mut scene = Scene::new(&[0.0, 1.0, 0.0, 0.0], vec![WELL; 4]);
    let mut tried = vec![scene.attempt()];
    assert_eq!(tried, [1], "all of the weight");
    for _ in 0..2 {
        let _ = scene.fail(FAILED);
        tried.push(scene.attempt());
    }
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried.len(), 3, "no deployment twice");
    let _ = scene.fail(FAILED);
    assert_eq!(scene.step(Event::Ready), Step::GiveUp);
    let told = scene.exhausted();
    assert_eq!(told.failures.len(), 3);
    assert_eq!(told.failures[0], ("d1".into(), FAILED.into()));
    assert!(!told.over_budget && !told.busy);
}

#[test]
fn nothing_left_is_given_up() {
    let mut scene = Scene::new(&[0.5, 0.5], vec![WELL; 2]);
    for _ in 0..2 {
        scene.attempt();
        let _ = scene.fail(FAILED);
    }
    assert_eq!(scene.step(Event::Ready), Step::GiveUp);
}

#[test]
fn who_went_out_meanwhile_is_passed_over() {
    let mut scene = Scene::new(&[1.0, 0.0], vec![WELL; 2]);
    scene.deployments[0].open = false;
    assert_eq!(scene.step(Event::Ready), Step::Enter(1));
    let mut scene = Scene::new(&[1.0, 0.0], vec![WELL; 2]);
    scene.deployments[1].eligible = false;
    scene.attempt();
    let _ = scene.fail(FAILED);
    assert_eq!(scene.step(Event::Ready), Step::GiveUp, "the snapshot gives it no traffic");
}

#[test]
fn a_refused_attempt_is_none() {
    let mut scene = Scene::with(&[1.0, 0.0], vec![WELL; 2], |terms| terms.fallback.attempts = 1);
    assert_eq!(scene.step(Event::Ready), Step::Enter(0));
    assert_eq!(scene.step(Event::Entered), Step::Attempt(0));
    assert_eq!(scene.step(Event::Refused), Step::Enter(1), "a refusal costs no attempt");
    assert_eq!(scene.step(Event::Entered), Step::Attempt(1));
}

#[test]
fn the_line_is_left_in_time() {
    let mut scene = Scene::new(&[1.0, 0.0], vec![WELL; 2]);
    scene.step(Event::Ready);
    let until = scene.now + PATIENCE;
    assert_eq!(scene.step(Event::Full), Step::Wait { until });
    assert_eq!(scene.itinerary.wanted(), [0]);
    assert_eq!(scene.step(Event::Placed(0)), Step::Attempt(0));
    let mut scene = Scene::new(&[1.0, 0.0], vec![WELL; 2]);
    let end = scene.now + TOTAL;
    scene.step(Event::Ready);
    scene.now = end - SECOND;
    assert_eq!(scene.step(Event::Full), Step::Wait { until: end });
    scene.now = end;
    assert_eq!(scene.step(Event::NoPlace(Busy::Waited)), Step::GiveUp);
    let told = scene.exhausted();
    assert_eq!(told.failures, [("m".into(), Cause::TimedOut(Phase::Total).into())]);
}

#[test]
fn a_place_that_was_not_had_is_told() {
    for (busy, told) in [(Busy::Full, true), (Busy::Waited, true), (Busy::Dispersed, false)] {
        let mut scene = Scene::new(&[1.0, 0.0], vec![WELL; 2]);
        scene.step(Event::Ready);
        scene.step(Event::Full);
        assert_eq!(scene.step(Event::NoPlace(busy)), Step::Enter(1), "{busy:?}");
        // A later wait that ends differently changes nothing.
        scene.step(Event::NoPlace(Busy::Dispersed));
        assert_eq!(scene.exhausted().busy, told, "{busy:?}");
    }
}

#[test]
fn a_request_overflows_to_what_has_a_weight() {
    let mut scene = Scene::new(&[0.9, 0.1, 0.0], vec![WELL; 3]);
    let Step::Enter(first) = scene.step(Event::Ready) else { panic!("no turn") };
    let full = Event::Pressed { soon: true };
    assert_eq!(scene.step(full), Step::Enter(1 - first), "at once");
    // A place becomes free soon at both, so that the standby is not paid yet.
    let until = scene.now + PATIENCE;
    assert_eq!(scene.step(full), Step::Wait { until });
    assert_eq!(scene.itinerary.wanted(), [first, 1 - first]);
    assert_eq!(scene.step(Event::NoPlace(Busy::Waited)), Step::Enter(2));
    assert_eq!(scene.step(Event::Entered), Step::Attempt(2));
    assert!(scene.exhausted().busy);
}

#[test]
fn a_standby_comes_before_a_wait_without_hope() {
    let mut scene = Scene::new(&[1.0, 0.0], vec![WELL; 2]);
    scene.step(Event::Ready);
    assert_eq!(scene.step(Event::Pressed { soon: false }), Step::Enter(1));
    // If it is full as well, both are waited for.
    assert!(matches!(scene.step(Event::Pressed { soon: false }), Step::Wait { .. }));
    assert_eq!(scene.itinerary.wanted(), [0, 1]);
    assert_eq!(scene.step(Event::Placed(1)), Step::Attempt(1));
    scene.itinerary.began(scene.now);
    let _ = scene.fail(FAILED);
    assert!(matches!(scene.step(Event::Ready), Step::Wait { .. }));
    assert_eq!(scene.itinerary.wanted(), [0], "the other one has failed");
}

#[test]
fn a_refused_request_goes_on_and_comes_back() {
    let full = Cause::Status(StatusCode::SERVICE_UNAVAILABLE);
    let mut scene = Scene::with(&[1.0, 0.0], vec![WELL; 2], |terms| terms.fallback.attempts = 1);
    scene.spend_the_budget();
    scene.attempt();
    let _ = scene.fail(full);
    assert_eq!(scene.attempt(), 1, "neither an attempt nor budget is spent");
    let _ = scene.fail(full);
    let until = scene.now + PATIENCE;
    assert_eq!(scene.step(Event::Ready), Step::Wait { until });
    assert_eq!(scene.itinerary.wanted(), [0, 1]);
    scene.now += SECOND;
    assert_eq!(scene.step(Event::Placed(0)), Step::Attempt(0));
    scene.itinerary.began(scene.now);
    let _ = scene.fail(full);
    assert_eq!(scene.step(Event::Ready), Step::Wait { until }, "one patience for all waits");
    scene.now = until;
    assert_eq!(scene.step(Event::NoPlace(Busy::Waited)), Step::GiveUp);
    assert_eq!(scene.exhausted().failures.len(), 3);
}

#[test]
fn refusals_without_end_have_an_end() {
    let full = Cause::Status(StatusCode::TOO_MANY_REQUESTS);
    let mut scene = Scene::with(&[1.0], vec![WELL], |terms| terms.fallback.attempts = 2);
    scene.attempt();
    for _ in 0..REFUSALS {
        let _ = scene.fail(full);
        assert!(matches!(scene.step(Event::Ready), Step::Wait { .. }));
        assert_eq!(scene.step(Event::Placed(0)), Step::Attempt(0));
        scene.itinerary.began(scene.now);
    }
    let _ = scene.fail(full);
    assert_eq!(scene.step(Event::Ready), Step::GiveUp);
}

#[test]
fn a_short_pause_is_waited_for() {
    let cooling = Known { cools: Some(LONG), ..OUT };
    let mut scene = Scene::new(&[1.0, 0.0], vec![cooling, OUT]);
    scene.itinerary.left = 1;
    assert_eq!(scene.attempt(), 1, "in panic");
    let mut scene = Scene::new(&[1.0], vec![cooling]);
    assert_eq!(scene.step(Event::Ready), Step::GiveUp, "too long a pause");
    let short = Known { cools: Some(PATIENCE - SECOND), ..OUT };
    let mut scene = Scene::new(&[1.0], vec![short]);
    let until = scene.now + PATIENCE;
    assert_eq!(scene.step(Event::Ready), Step::Wait { until });
    assert_eq!(scene.itinerary.wanted(), [0]);
    assert_eq!(scene.step(Event::Placed(0)), Step::Attempt(0));
}

#[test]
fn a_full_queue_is_not_tried_again() {
    let short = Known { cools: Some(SECOND), ..OUT };
    let mut scene = Scene::new(&[1.0], vec![short]);
    assert!(matches!(scene.step(Event::Ready), Step::Wait { .. }));
    assert_eq!(scene.step(Event::NoPlace(Busy::Full)), Step::GiveUp);
}

#[test]
fn a_pause_of_what_is_never_tried_is_not_waited_for() {
    let short = Known { cools: Some(SECOND), ..OUT };
    let mut scene =
        Scene::with(&[0.0], vec![short], |terms| terms.fallback.standby = Standby::Never);
    assert_eq!(scene.step(Event::Ready), Step::GiveUp);
}

#[test]
fn nobody_waits_at_a_deployment_that_is_down() {
    let down = Known { up: false, ..WELL };
    let mut scene = Scene::new(&[1.0, 0.0], vec![down, WELL]);
    scene.step(Event::Ready);
    assert_eq!(scene.step(Event::Full), Step::PassOver(0));
    let mut panic = Scene::with(&[1.0, 0.0], vec![down, WELL], |terms| terms.panic = true);
    panic.step(Event::Ready);
    assert!(matches!(panic.step(Event::Full), Step::Wait { .. }), "there is nothing better");
}

#[test]
fn panic_tries_everything_but_who_asks_to_be_left_alone() {
    let cooling = Known { cools: Some(LONG), ..OUT };
    let mut scene = Scene::new(&[1.0, 0.0, 0.0], vec![cooling, OUT, OUT]);
    assert!(scene.itinerary.is_panic());
    let mut tried = vec![scene.attempt()];
    let _ = scene.fail(FAILED);
    tried.push(scene.attempt());
    tried.sort_unstable();
    assert_eq!(tried, [1, 2]);
    let _ = scene.fail(FAILED);
    assert_eq!(scene.step(Event::Ready), Step::GiveUp);
    let scene = Scene::new(&[1.0, 0.0], vec![OUT, WELL]);
    assert!(!scene.itinerary.is_panic(), "a deployment is left");
    let mut nobody = Scene::new(&[1.0], vec![cooling]);
    assert_eq!(nobody.step(Event::Ready), Step::GiveUp);
}

#[test]
fn every_attempt_but_the_first_is_paid_for() {
    let mut scene = Scene::new(&[1.0, 0.0, 0.0], vec![WELL; 3]);
    scene.spend_the_budget();
    scene.attempt();
    let _ = scene.fail(FAILED);
    for deployment in &mut scene.deployments {
        deployment.failing = true;
    }
    let Step::Enter(second) = scene.step(Event::Ready) else { panic!("no turn") };
    let third = 3 - second;
    assert_eq!(scene.step(Event::Entered), Step::Enter(third), "the retry budget is used up");
    assert_eq!(scene.budget.denied(), 1);
    // A deployment that does not fail is tried without budget.
    scene.deployments[third].failing = false;
    assert_eq!(scene.step(Event::Entered), Step::Attempt(third));
    assert!(scene.exhausted().over_budget);
}

#[test]
fn a_request_is_denied_once() {
    let failing = Known { failing: true, ..WELL };
    let mut scene = Scene::new(&[1.0, 0.0, 0.0], vec![failing; 3]);
    scene.spend_the_budget();
    scene.attempt();
    let _ = scene.fail(FAILED);
    scene.step(Event::Ready);
    scene.step(Event::Entered);
    assert_eq!(scene.step(Event::Entered), Step::GiveUp);
    assert_eq!(scene.budget.denied(), 1);
}

#[test]
fn in_panic_every_further_attempt_is_paid_for() {
    let mut scene = Scene::with(&[0.5, 0.5], vec![WELL; 2], |terms| terms.panic = true);
    scene.spend_the_budget();
    scene.attempt();
    let _ = scene.fail(FAILED);
    scene.step(Event::Ready);
    assert_eq!(scene.step(Event::Entered), Step::GiveUp);
    let mut paid = Scene::with(&[0.5, 0.5], vec![WELL; 2], |terms| terms.panic = true);
    paid.attempt();
    let _ = paid.fail(FAILED);
    paid.attempt();
}

#[test]
fn an_ambiguous_request_is_sent_once_more() {
    let mut scene = Scene::new(&[0.5, 0.3, 0.2], vec![WELL; 3]);
    scene.attempt();
    scene.lose();
    scene.attempt();
    scene.lose();
    assert_eq!(scene.step(Event::Ready), Step::GiveUp, "it may have been answered twice");
    let mut scene = Scene::new(&[0.5, 0.3, 0.2], vec![WELL; 3]);
    scene.attempt();
    scene.lose();
    scene.attempt();
    let _ = scene.fail(FAILED);
    scene.attempt();
}

#[test]
fn what_must_not_be_repeated_is_not() {
    let never = |terms: &mut Terms| terms.fallback.ambiguous = Ambiguous::Never;
    let responses = |terms: &mut Terms| terms.endpoint = InferenceEndpoint::Responses;
    for change in [&never as &dyn Fn(&mut Terms), &responses] {
        let mut scene = Scene::with(&[0.5, 0.5], vec![WELL; 2], change);
        scene.attempt();
        scene.lose();
        assert_eq!(scene.step(Event::Ready), Step::GiveUp);
        let mut scene = Scene::with(&[0.5, 0.5], vec![WELL; 2], change);
        scene.attempt();
        let _ = scene.fail(FAILED);
        scene.attempt();
    }
}

#[test]
fn the_end_of_the_request_ends_everything() {
    let mut scene = Scene::new(&[0.5, 0.5], vec![WELL; 2]);
    scene.attempt();
    scene.now += TOTAL - SECOND;
    let late = Cause::TimedOut(Phase::Total);
    assert!(matches!(scene.fail(late), Outcome::Failure { kind: FailureKind::Answer, .. }));
    assert_eq!(scene.step(Event::Ready), Step::GiveUp);
    scene.now += SECOND;
    assert_eq!(scene.exhausted().failures.len(), 1, "the time-out is listed once");
    let mut scene = Scene::new(&[0.5, 0.5], vec![WELL; 2]);
    scene.now += TOTAL;
    assert_eq!(scene.step(Event::Ready), Step::GiveUp);
}

#[test]
fn time_that_others_took_is_not_charged() {
    let late = Cause::TimedOut(Phase::Total);
    let mut scene = Scene::new(&[0.5, 0.5], vec![WELL; 2]);
    scene.now += TOTAL / 2 + SECOND;
    scene.attempt();
    assert_eq!(scene.fail(late), Outcome::Neutral);
    let mut scene = Scene::new(&[0.5, 0.5], vec![WELL; 2]);
    scene.now += TOTAL / 2;
    scene.attempt();
    assert_ne!(scene.fail(late), Outcome::Neutral, "it had half of the total");
}

#[test]
fn a_wait_is_passed_on() {
    let scene = Scene::new(&[1.0], vec![WELL]);
    let (wait, now) = (Some(SECOND), scene.now);
    let told = scene.itinerary.exhausted(|_| String::new(), "m", wait, now);
    assert_eq!((told.wait, told.failures), (wait, Vec::new()));
}
