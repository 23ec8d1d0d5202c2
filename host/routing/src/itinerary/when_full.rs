//! What a strategy says of full deployments: take the next one, or wait for this one.

use super::scene::*;
use super::*;

/// A request among three deployments that are tried in their order.
fn scene(when_full: WhenFull) -> Scene {
    let weights = RequestWeights {
        tiers: Some(vec![0, 1, 2]),
        when_full,
        ..RequestWeights::from(vec![1.0; 3])
    };
    Scene::planned(weights, vec![WELL; 3], |_| {})
}

#[test]
fn a_full_one_is_passed_over_and_waited_for_with_the_others() {
    for full in [Event::Full, Event::Pressed { soon: true }] {
        let mut scene = scene(WhenFull::Next);
        assert_eq!(scene.step(Event::Ready), Step::Enter(0));
        assert_eq!(scene.step(full), Step::Enter(1));
        assert_eq!(scene.step(full), Step::Enter(2));
        let until = scene.now + PATIENCE;
        assert_eq!(scene.step(full), Step::Wait { until }, "in one line");
        assert_eq!(scene.itinerary.wanted(), [0, 1, 2]);
        assert_eq!(scene.step(Event::Placed(1)), Step::Attempt(1));
    }
}

#[test]
fn the_first_is_waited_for_once_before_the_next() {
    let wait = SECOND;
    for full in [Event::Full, Event::Pressed { soon: false }] {
        let mut scene = scene(WhenFull::Wait(wait));
        assert_eq!(scene.step(Event::Ready), Step::Enter(0));
        assert_eq!(scene.step(full), Step::Wait { until: scene.now + wait });
        assert_eq!(scene.itinerary.wanted(), [0]);
        scene.now += wait;
        assert_eq!(scene.step(Event::NoPlace(Busy::Waited)), Step::Enter(1));
        assert_eq!(scene.step(full), Step::Enter(2), "only the first is waited for");
        let until = scene.now + PATIENCE;
        assert_eq!(scene.step(full), Step::Wait { until });
        assert_eq!(scene.itinerary.wanted(), [0, 1, 2], "and all of them in the end");
        assert_eq!(scene.step(Event::NoPlace(Busy::Waited)), Step::GiveUp);
        assert!(scene.exhausted().busy);
    }
}

#[test]
fn a_place_in_time_is_taken() {
    let mut scene = scene(WhenFull::Wait(SECOND));
    assert_eq!(scene.step(Event::Ready), Step::Enter(0));
    assert!(matches!(scene.step(Event::Full), Step::Wait { .. }));
    assert_eq!(scene.step(Event::Placed(0)), Step::Attempt(0));
    scene.itinerary.began(scene.now);
    let _ = scene.fail(FAILED);
    assert_eq!(scene.step(Event::Ready), Step::Enter(1));
}

#[test]
fn one_that_is_down_or_goes_out_of_use_is_not_waited_for() {
    let mut down = scene(WhenFull::Wait(SECOND));
    down.deployments[0].up = false;
    assert_eq!(down.step(Event::Ready), Step::Enter(0));
    assert_eq!(down.step(Event::Full), Step::PassOver(0));
    assert_eq!(down.step(Event::NoPlace(Busy::Dispersed)), Step::Enter(1));
    assert_eq!(down.step(Event::Full), Step::Enter(2));
    assert!(matches!(down.step(Event::Full), Step::Wait { .. }));
    assert_eq!(down.itinerary.wanted(), [1, 2]);
}

#[test]
fn a_wait_ends_with_the_request() {
    let mut scene = scene(WhenFull::Wait(2 * TOTAL));
    let end = scene.now + TOTAL;
    assert_eq!(scene.step(Event::Ready), Step::Enter(0));
    assert_eq!(scene.step(Event::Full), Step::Wait { until: end });
}
