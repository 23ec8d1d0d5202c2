//! When a deployment is ejected, and how it comes back.

use super::*;

#[test]
fn five_failures_in_a_row_eject_and_a_success_starts_the_count_anew() {
    let scene = Scene::of(2);
    scene.fail(0, 4);
    scene.attempt(0, Outcome::Success);
    scene.fail(0, 4);
    assert_eq!(scene.condition(0), Condition::Healthy);
    scene.fail(0, 1);
    let state = scene.at(0).state(scene.now);
    assert_eq!(state.condition, Condition::Ejected);
    assert_eq!(state.reason.as_deref(), Some("5 attempts in a row failed, the last: answered 500"));
    assert!(scene.admit(0).is_none() && scene.admit(1).is_some());
}

#[test]
fn seventeen_of_twenty_eject_but_not_of_fewer() {
    let scene = Scene::with(2, Ejection { consecutive: None, ..Ejection::default() });
    scene.fail(0, 16);
    (0..3).for_each(|_| scene.attempt(0, Outcome::Success));
    assert_eq!(scene.condition(0), Condition::Healthy, "only 19 attempts");
    scene.fail(0, 1);
    assert_eq!(scene.condition(0), Condition::Ejected);
    let off = Ejection { consecutive: None, percent: None, ..Ejection::default() };
    let scene = Scene::with(2, off);
    scene.fail(0, 1000);
    assert_eq!(scene.condition(0), Condition::Healthy);
}

#[test]
fn clients_that_leave_or_are_at_fault_count_for_nothing() {
    let scene = Scene::of(2);
    scene.fail(0, 4);
    for _ in 0..100 {
        drop(scene.admit(0).expect("in"));
        scene.attempt(0, Outcome::Neutral);
    }
    assert_eq!(scene.condition(0), Condition::Healthy);
    assert_eq!(scene.at(0).load.in_flight(), 0);
    scene.fail(0, 1);
    assert_eq!(scene.condition(0), Condition::Ejected, "neutral outcomes do not end the row");
}

#[test]
fn at_most_half_are_out_and_never_the_last() {
    for (deployments, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let scene = Scene::of(deployments);
        let out = |scene: &Scene| {
            let all = 0..usize::from(deployments);
            all.filter(|i| scene.condition(*i) == Condition::Ejected).count()
        };
        (0..usize::from(deployments)).for_each(|i| scene.fail(i, 50));
        assert_eq!(out(&scene), most, "of {deployments}");
    }
    let scene = Scene::of(2);
    scene.attempt(1, limited(10));
    scene.fail(0, 50);
    assert_eq!(scene.condition(0), Condition::Healthy, "the other one is cooling");
}

#[test]
fn each_ejection_lasts_longer_up_to_a_cap_and_free_time_is_rewarded() {
    let mut scene = Scene::of(2);
    for times in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10] {
        scene.fail(0, 5);
        let lasted = scene.pass_to_change(0);
        assert!(about(lasted, 30 * SECOND * times), "{lasted:?} the {times}. time");
        scene.admit(0).expect("the trial").settle(Outcome::Success, scene.now);
    }
    // Twelve ejections so far. Nine times the base time without one leaves three.
    scene.pass(9 * 30 * SECOND);
    scene.fail(0, 5);
    assert!(about(scene.pass_to_change(0), 30 * SECOND * 4));
}

#[test]
fn half_open_lets_exactly_one_through() {
    let mut scene = Scene::of(2);
    scene.fail(0, 5);
    scene.pass_to_change(0);
    assert_eq!(scene.condition(0), Condition::HalfOpen);
    assert!(scene.at(0).is_open(scene.now));
    let trial = scene.admit(0).expect("the first");
    assert!(scene.admit(0).is_none() && !scene.at(0).is_open(scene.now));
    drop(trial);
    let mut trial = scene.admit(0).expect("a trial without an outcome frees the next one");
    assert!(scene.admit(0).is_none());
    trial.begun(scene.now);
    assert_eq!(scene.condition(0), Condition::Healthy);
    assert!(scene.admit(0).is_some(), "an answer that has begun is enough");
    trial.settle(failure(), scene.now);
    scene.fail(0, 3);
    assert_eq!(scene.condition(0), Condition::Healthy);
    scene.fail(0, 1);
    assert_eq!(scene.condition(0), Condition::Ejected, "later failures count as usual");
}

#[test]
fn a_trial_that_fails_doubles_the_time() {
    let mut scene = Scene::of(2);
    scene.fail(0, 5);
    assert!(about(scene.pass_to_change(0), 30 * SECOND));
    for want in [60, 120, 240, 300, 300] {
        scene.admit(0).expect("the trial").settle(failure(), scene.now);
        assert_eq!(scene.condition(0), Condition::Ejected);
        assert!(about(scene.pass_to_change(0), want * SECOND), "{want}");
    }
    scene.admit(0).expect("the trial").settle(limited(5), scene.now);
    assert_eq!(scene.condition(0), Condition::Cooling);
    scene.pass(5 * SECOND);
    assert_eq!(scene.condition(0), Condition::HalfOpen, "a limited trial is no failure");
}

#[test]
fn what_began_before_an_ejection_says_nothing_after_it() {
    let mut scene = Scene::of(2);
    let early: Vec<Permit> = (0..20).map(|_| scene.admit(0).expect("in")).collect();
    scene.fail(0, 5);
    for (i, permit) in early.into_iter().enumerate() {
        permit.settle(if i % 2 == 0 { Outcome::Success } else { failure() }, scene.now);
    }
    assert_eq!(scene.condition(0), Condition::Ejected);
    assert!(about(scene.pass_to_change(0), 30 * SECOND));
}

#[test]
fn in_panic_an_ejected_one_may_prove_itself() {
    let mut scene = Scene::of(2);
    scene.fail(0, 5);
    scene.pass(SECOND);
    let until = scene.at(0).next_change(scene.now);
    scene.fail(0, 5);
    assert_eq!(
        scene.at(0).next_change(scene.now),
        until,
        "failures in panic mode do not extend it"
    );
    scene.attempt(0, Outcome::Success);
    assert_eq!(scene.condition(0), Condition::Healthy);
}

#[test]
fn the_share_of_failures_counts_from_a_full_window() {
    let ejection =
        Ejection { consecutive: None, percent: Some(50), window: 4, ..Ejection::default() };
    // F fails, S succeeds. The window has the last four.
    for (attempts, condition) in [
        ("FFF", Condition::Healthy),
        ("FSSS", Condition::Healthy),
        ("SSSSF", Condition::Healthy),
        ("FFSS", Condition::Healthy),
        ("SSFF", Condition::Ejected),
        ("FSSF", Condition::Ejected),
        ("SFSSSF", Condition::Healthy),
        ("FFFSSSF", Condition::Healthy),
        ("FFFSSF", Condition::Ejected),
    ] {
        let scene = Scene::with(2, ejection);
        for attempt in attempts.chars() {
            scene.attempt(0, if attempt == 'F' { failure() } else { Outcome::Success });
        }
        // A success never ejects, not even if it fills the window.
        assert_eq!(scene.condition(0), condition, "{attempts}");
    }
    let reason = Scene::with(2, ejection);
    [Outcome::Success, failure(), Outcome::Success, failure()]
        .into_iter()
        .for_each(|outcome| reason.attempt(0, outcome));
    let said = reason.at(0).state(reason.now).reason;
    assert_eq!(said.as_deref(), Some("2 of the last 4 attempts failed, the last: answered 500"));
}

#[test]
fn what_began_before_a_return_says_nothing_after_it() {
    let mut scene = Scene::of(2);
    let early: Vec<Permit> = (0..5).map(|_| scene.admit(0).expect("in")).collect();
    scene.fail(0, 5);
    scene.pass_to_change(0);
    scene.admit(0).expect("the trial").settle(Outcome::Success, scene.now);
    early.into_iter().for_each(|permit| {
        permit.settle(failure(), scene.now);
    });
    assert_eq!(scene.condition(0), Condition::Healthy);
    scene.fail(0, 4);
    assert_eq!(scene.condition(0), Condition::Healthy, "only four count");
    scene.fail(0, 1);
    assert_eq!(scene.condition(0), Condition::Ejected);
}

#[test]
fn a_trial_of_an_earlier_ejection_has_no_say() {
    let mut scene = Scene::of(2);
    scene.fail(0, 5);
    scene.pass_to_change(0);
    let trial = scene.admit(0).expect("the trial");
    // In panic mode another request restores it, and new failures eject it.
    scene.attempt(0, Outcome::Success);
    scene.fail(0, 5);
    scene.pass_to_change(0);
    let second = scene.admit(0).expect("the second trial");
    drop(trial);
    assert!(scene.admit(0).is_none(), "the second trial is under way");
    drop(second);

    let mut late = scene.admit(0).expect("a third trial");
    scene.attempt(0, Outcome::Success);
    scene.fail(0, 5);
    late.begun(scene.now);
    assert_eq!(scene.condition(0), Condition::Ejected, "its answer came too late");
    late.settle(Outcome::Success, scene.now);
    assert_eq!(scene.condition(0), Condition::Ejected);
}

#[test]
fn the_time_of_each_state_is_told() {
    let mut scene = Scene::of(2);
    scene.fail(0, 5);
    let ejected = scene.at(0).state(scene.now);
    let lasts = scene.pass_to_change(0);
    let half_open = scene.at(0).state(scene.now);
    assert_eq!(half_open.condition, Condition::HalfOpen);
    assert_eq!(half_open.since, ejected.since + lasts);
    assert_eq!(half_open.reason, ejected.reason);
}
