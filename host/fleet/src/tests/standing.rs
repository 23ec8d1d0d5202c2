//! Cooling, probes and slow start.

use super::*;

#[test]
fn who_asks_to_be_left_alone_is() {
    let mut scene = Scene::of(2);
    scene.attempt(0, limited(30));
    assert_eq!(scene.condition(0), Condition::Cooling);
    assert!(scene.admit(0).is_none() && scene.admit_in_panic(0).is_none());
    assert_eq!(scene.fleet.models[0].wait(scene.now), Some(30 * SECOND));
    scene.attempt(1, limited(10));
    assert_eq!(scene.fleet.models[0].wait(scene.now), Some(10 * SECOND), "the smallest");
    scene.pass(10 * SECOND);
    assert_eq!(scene.condition(1), Condition::Healthy);
    assert_eq!(scene.pass_to_change(0), 20 * SECOND);
    assert_eq!(scene.condition(0), Condition::Healthy, "time alone ends it");
    (0..100).for_each(|_| {
        scene.attempt(0, limited(1));
        scene.now += SECOND;
    });
    assert_eq!(scene.condition(0), Condition::Healthy, "it never ejects");
}

#[test]
fn the_longest_wish_to_be_left_alone_counts() {
    let mut scene = Scene::of(1);
    let (first, second) = (scene.admit(0), scene.admit(0));
    first.expect("in").settle(limited(30), scene.now);
    second.expect("in").settle(limited(1), scene.now);
    scene.pass(29 * SECOND);
    assert_eq!(scene.condition(0), Condition::Cooling);
}

#[test]
fn a_probe_undoes_only_what_a_probe_can_see() {
    let mut scene = Scene::of(2);
    scene.fail(0, 5);
    scene.pass(SECOND);
    assert!(!scene.at(0).probed(scene.now, false, scene.now));
    assert_eq!(scene.condition(0), Condition::Ejected);

    assert!(scene.at(0).probed(scene.now, true, scene.now), "it was down, and came up");
    assert_eq!(scene.condition(0), Condition::HalfOpen);

    let mut scene = Scene::of(2);
    (0..5).for_each(|_| scene.attempt(0, lost()));
    scene.pass_to_change(0);
    scene.admit(0).expect("the trial").settle(lost(), scene.now);
    let sent = scene.now;
    scene.pass(SECOND);
    assert!(!scene.at(0).probed(sent, false, scene.now), "sent before");
    assert!(scene.at(0).probed(scene.now, false, scene.now));
    assert_eq!(scene.condition(0), Condition::HalfOpen);
    scene.admit(0).expect("the trial").settle(lost(), scene.now);
    scene.pass(SECOND);
    assert!(!scene.at(0).probed(scene.now, false, scene.now), "the probe was wrong before");
    assert_eq!(scene.condition(0), Condition::Ejected);
}

#[test]
fn a_busy_model_gives_a_restored_deployment_its_weight_slowly() {
    let mut scene = Scene::of(2);
    scene.fail(0, 5);
    for _ in 0..400 {
        scene.pass(SECOND / 10);
        scene.fleet.models[0].note(scene.now);
    }
    scene.admit(0).expect("the trial").settle(Outcome::Success, scene.now);
    let state = scene.at(0).state(scene.now);
    assert_eq!((state.condition, state.factor), (Condition::SlowStart, 0.1));
    let mut steps = 0;
    while scene.at(0).next_change(scene.now).is_some() {
        scene.pass_to_change(0);
        steps += 1;
    }
    assert_eq!(steps, 10);
    let state = scene.at(0).state(scene.now);
    assert_eq!((state.condition, state.factor), (Condition::Healthy, 1.0));
}

#[test]
fn standing_outlives_a_reload() {
    let scene = Scene::of(2);
    scene.fail(0, 5);
    let next = Fleet::build(&scene.config, Some(&scene.fleet));
    next.loaded();
    assert_eq!(next.models[0].deployments[0].state(scene.now).condition, Condition::Ejected);
}

#[test]
fn who_fails_fast_looks_neither_fast_nor_idle() {
    let scene = Scene::of(1);
    let load = &scene.at(0).load;
    for _ in 0..50 {
        let mut permit = scene.admit(0).expect("in");
        permit.begun(scene.now + SECOND);
        permit.settle(Outcome::Success, scene.now + SECOND);
    }
    let before = load.latency().expect("answers");
    assert_eq!(load.apparent_in_flight(), load.in_flight());
    scene.fail(0, 10);
    assert!(load.latency().expect("answers") > 2.0 * before, "{:?}", load.latency());
    assert_eq!(load.in_flight(), 0);
    assert!(load.apparent_in_flight() >= 1, "{}", load.apparent_in_flight());
    scene.fail(0, 200);
    assert!(load.apparent_in_flight() > 1000);
    assert!(load.latency().expect("answers") <= 600e3);
}

#[test]
fn what_was_seen_long_ago_says_nothing_of_now() {
    let scene = Scene::of(1);
    scene.fail(0, 10);
    let told = |after| scene.at(0).candidate(Condition::Healthy, scene.now + after).latency;
    assert!(told(59 * SECOND).is_some());
    assert_eq!(told(61 * SECOND), None);
}
