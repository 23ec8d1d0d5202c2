//! Cooling, probes and slow start.

use config::SlowStart;

use super::super::slow_start::Ramp;
use super::super::{Change, Standing};
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
    scene.fail(0, 10);
    assert!(load.latency().expect("answers") > 2.0 * before, "{:?}", load.latency());
    assert_eq!(load.in_flight(), 0);
    scene.fail(0, 200);
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

/// Ejects a standing at `now` by five failures. Returns how long it lasts.
fn ejected(standing: &Standing, outcome: &Outcome, now: Instant) -> Duration {
    let settings = Ejection::default();
    let mut change = Change::None;
    for _ in 0..5 {
        let turn = standing.admit(now).expect("in");
        change = standing.record(turn, outcome.clone(), now, &settings, None);
        if let Change::Due(reason) = change {
            change = standing.eject(turn, reason, &settings, now);
        }
    }
    let Change::Ejected { lasts, .. } = change else { panic!("{change:?}") };
    lasts
}

#[test]
fn jitter_varies_an_ejection_by_a_tenth() {
    let jitters: [(fn() -> f64, u64); 5] =
        [(|| 0.0, 30), (|| 1.0, 33), (|| -1.0, 27), (|| 7.0, 33), (|| -7.0, 27)];
    for (jitter, seconds) in jitters {
        let (standing, now) = (Standing::with_jitter(jitter), Instant::now());
        let lasts = ejected(&standing, &failure(), now);
        assert!((lasts.as_secs_f64() - seconds as f64).abs() < 1e-6, "{lasts:?}");
        assert_eq!(standing.wait(now), Some(lasts));
        assert!(!standing.is_open(now + lasts - Duration::from_nanos(1)));
        assert!(standing.is_open(now + lasts));
        assert_eq!(standing.wait(now + lasts), None);
    }
    let standing = Standing::default();
    let lasts = [0; 20].map(|_| {
        let mut now = Instant::now();
        let lasts = ejected(&standing, &failure(), now);
        now += lasts;
        let turn = standing.admit(now).expect("the trial");
        standing.record(turn, Outcome::Success, now, &Ejection::default(), None);
        lasts
    });
    assert!(lasts.iter().any(|one| about(*one, 30 * SECOND)), "{lasts:?}");
}

#[test]
fn an_ejection_happens_once() {
    let (standing, now, settings) = (Standing::default(), Instant::now(), Ejection::default());
    let turn = standing.admit(now).expect("in");
    ejected(&standing, &failure(), now);
    assert_eq!(standing.eject(turn, "again".into(), &settings, now), Change::None);
    let panic = standing.admit_in_panic(now).expect("not cooling");
    assert_eq!(standing.eject(panic, "again".into(), &settings, now), Change::None);
    assert_eq!(standing.record(panic, Outcome::Success, now, &settings, None), Change::Restored);
    assert_eq!(
        standing.eject(panic, "again".into(), &settings, now),
        Change::None,
        "restored since"
    );
    assert!(standing.is_clear(now) && !standing.is_out(now));
}

#[test]
fn a_place_that_comes_up_starts_slowly() {
    let (standing, now, settings) = (Standing::default(), Instant::now(), SlowStart::default());
    let ramp = Ramp::begin(settings.min_rate, &settings, now);
    assert!(!standing.probed(now, false, now, ramp), "nothing changed");
    assert_eq!(standing.state(now, &settings).condition, Condition::Healthy);
    assert!(standing.probed(now, true, now, ramp));
    assert_eq!(standing.state(now, &settings).condition, Condition::SlowStart);
    assert!(standing.is_clear(now) && standing.is_open(now));
    assert_eq!(standing.next_change(now, &settings), Some(now + SECOND));
    let end = now + 10 * SECOND;
    assert_eq!(standing.next_change(end, &settings), None);
    assert_eq!(standing.state(end, &settings).condition, Condition::Healthy);
}
