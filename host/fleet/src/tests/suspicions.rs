//! What different requests say alike: refused keys, missing models and endpoints; and failures that
//! are taken back.

use std::time::SystemTime;

use super::*;

/// Positions of two endpoints.
const CHAT: usize = 0;
const EMBEDDINGS: usize = 2;

fn answered(status: u16) -> String {
    format!("answered {status}")
}

fn credential() -> Outcome {
    Outcome::Credential { cause: answered(401) }
}

fn refused() -> Outcome {
    Outcome::Refused { cause: answered(403) }
}

fn no_model() -> Outcome {
    Outcome::NoModel { cause: answered(404) }
}

fn no_endpoint() -> Outcome {
    Outcome::NoEndpoint { cause: answered(501) }
}

impl Scene {
    /// A request whose body has this digest says so.
    fn hears(&self, outcome: &Outcome, request: u64) {
        self.at(0).suspect(outcome, Some(request), CHAT, self.now);
    }

    fn answers(&self) {
        self.at(0).answered(CHAT, self.now);
    }

    fn reason(&self) -> String {
        self.at(0).state(self.now).reason.unwrap_or_default()
    }
}

#[test]
fn one_request_proves_nothing() {
    for outcome in [credential(), refused(), no_model(), no_endpoint()] {
        let scene = Scene::of(2);
        (0..20).for_each(|_| scene.hears(&outcome, 1));
        assert_eq!(scene.condition(0), Condition::Healthy, "{outcome:?}");
        assert!(!scene.at(0).lacks(CHAT, scene.now), "{outcome:?}");
    }
}

#[test]
fn different_requests_take_it_out() {
    for (outcome, needed, condition) in [
        (credential(), 2, Condition::Credential),
        (no_model(), 2, Condition::Misconfigured),
        (refused(), 5, Condition::Refused),
    ] {
        let scene = Scene::of(2);
        (1..needed).for_each(|request| scene.hears(&outcome, request));
        assert_eq!(scene.condition(0), Condition::Healthy, "{outcome:?}");
        scene.hears(&outcome, needed);
        assert_eq!(scene.condition(0), condition);
        assert!(scene.admit(0).is_none() && scene.admit(1).is_some());
        assert!(scene.fleet.changes.take().contains("m"), "it is published");
        assert_eq!(
            scene.fleet.models[0].deployments[0].next_change(scene.now),
            Some(scene.now + 30 * SECOND)
        );
    }
}

#[test]
fn an_answer_between_proves_the_contrary() {
    let scene = Scene::of(2);
    for request in 0..100 {
        scene.hears(&credential(), request);
        scene.answers();
        scene.hears(&refused(), request);
        scene.hears(&refused(), request + 1);
        scene.answers();
    }
    assert_eq!(scene.condition(0), Condition::Healthy);
}

#[test]
fn the_reason_says_whether_a_key_is_configured() {
    let scene = Scene::of(2);
    scene.at(0).suspect(&credential(), None, CHAT, scene.now);
    assert_eq!(scene.reason(), "answered 401: it wants an api_key, and none is configured");
    let mut keyed = scene.config.clone();
    keyed.models[0].deployments[0].api_key = Some(config::Secret::new("k".into()));
    let fleet = Fleet::build(&keyed, None);
    let scene = Scene { fleet, config: keyed, now: scene.now };
    scene.at(0).suspect(&credential(), None, CHAT, scene.now);
    assert_eq!(scene.reason(), "answered 401: it does not accept its api_key");
}

#[test]
fn it_is_tried_again_by_one_request_at_a_time() {
    let mut scene = Scene::of(2);
    (1..=2).for_each(|request| scene.hears(&credential(), request));
    let mut lasts = 30;
    for request in 3..10 {
        assert_eq!(scene.fleet.models[0].wait(scene.now), Some(lasts * SECOND));
        scene.hears(&credential(), 100);
        scene.pass(lasts * SECOND - SECOND);
        assert!(scene.admit(0).is_none(), "sent before it went out, so it changes nothing");
        scene.pass(SECOND);
        assert_eq!(scene.condition(0), Condition::HalfOpen);
        let trial = scene.admit(0).expect("the trial");
        assert!(scene.admit(0).is_none() && !scene.at(0).is_open(scene.now), "one at a time");
        drop(trial);
        scene.hears(&credential(), request);
        assert_eq!(scene.condition(0), Condition::Credential);
        lasts = (2 * lasts).min(600);
    }
    scene.pass(lasts * SECOND);
    scene.admit(0).expect("the trial");
    scene.answers();
    assert_eq!(scene.condition(0), Condition::Healthy);
    scene.hears(&credential(), 1);
    assert_eq!(scene.condition(0), Condition::Healthy, "it is counted anew");
}

#[test]
fn a_trial_that_never_ends_makes_room_for_another() {
    let mut scene = Scene::of(2);
    (1..=2).for_each(|request| scene.hears(&no_model(), request));
    scene.pass(30 * SECOND);
    scene.admit(0).expect("the trial");
    scene.pass(9 * SECOND);
    assert!(scene.admit(0).is_none());
    scene.pass(SECOND);
    assert!(scene.admit(0).is_some());
}

#[test]
fn a_model_that_answered_within_the_hour_is_there() {
    let mut scene = Scene::of(2);
    scene.answers();
    scene.pass(3500 * SECOND);
    (0..10).for_each(|request| scene.hears(&no_model(), request));
    assert_eq!(scene.condition(0), Condition::Healthy);
    scene.pass(200 * SECOND);
    (0..2).for_each(|request| scene.hears(&no_model(), request));
    assert_eq!(scene.condition(0), Condition::Misconfigured);
    assert_eq!(scene.reason(), "answered 404: it does not have the model `m`");
}

#[test]
fn a_missing_endpoint_is_skipped_for_itself_only() {
    let mut scene = Scene::of(2);
    let say = |scene: &Scene, request| {
        scene.at(0).suspect(&no_endpoint(), Some(request), EMBEDDINGS, scene.now);
    };
    scene.answers();
    (1..=2).for_each(|request| say(&scene, request));
    let lacks = |scene: &Scene| [CHAT, EMBEDDINGS].map(|at| scene.at(0).lacks(at, scene.now));
    assert_eq!(lacks(&scene), [false, true]);
    assert_eq!(scene.condition(0), Condition::Healthy);
    assert!(scene.admit(0).is_some());
    scene.answers();
    assert_eq!(lacks(&scene), [false, true], "chat says nothing of embeddings");
    scene.pass(300 * SECOND);
    assert_eq!(lacks(&scene), [false, false], "it is forgotten after five minutes");
    say(&scene, 3);
    assert_eq!(lacks(&scene), [false, true], "and one request renews it");
    scene.at(0).answered(EMBEDDINGS, scene.now);
    (4..10).for_each(|request| say(&scene, request));
    assert_eq!(lacks(&scene), [false, false], "an answer within the hour disproves it");
}

#[test]
fn a_reload_and_a_new_process_get_a_chance_at_once() {
    let scene = Scene::of(2);
    (1..=2).for_each(|request| scene.hears(&credential(), request));
    let next = Fleet::build(&scene.config, Some(&scene.fleet));
    assert_eq!(scene.condition(0), Condition::Credential, "building a fleet changes nothing");
    next.loaded();
    assert_eq!(next.models[0].deployments[0].state(scene.now).condition, Condition::Healthy);

    let scene = Scene::of(2);
    (1..=2).for_each(|request| scene.hears(&no_model(), request));
    assert!(
        !scene.at(0).probed(scene.now, false, scene.now),
        "a good probe says nothing of models"
    );
    assert_eq!(scene.condition(0), Condition::Misconfigured);
    assert!(scene.at(0).probed(scene.now, true, scene.now), "it was down, and came up");
    assert_eq!(scene.condition(0), Condition::HalfOpen);
}

#[test]
fn in_panic_a_suspected_deployment_is_used() {
    let scene = Scene::of(1);
    (1..=2).for_each(|request| scene.hears(&no_model(), request));
    assert!(scene.admit(0).is_none());
    assert!(scene.admit_in_panic(0).is_some());
    scene.answers();
    assert!(scene.admit(0).is_some());
}

/// One failed attempt of a request. Returns what takes it back.
fn fail(scene: &Scene, at: usize, request: u64) -> super::super::Recorded {
    let recorded = scene.at(at).failing(request);
    scene.attempt(at, failure());
    recorded
}

#[test]
fn a_failure_that_is_taken_back_leaves_no_trace() {
    let mut scene = Scene::of(2);
    let mut permit = scene.admit(0).expect("in");
    permit.begun(scene.now + SECOND);
    permit.settle(Outcome::Success, scene.now + SECOND);
    scene.answers();
    scene.pass(SECOND);
    let before = (scene.at(0).load.latency(), scene.at(0).load.error_rate());
    for _ in 0..50 {
        assert!(scene.at(0).is_above(7, scene.now));
        let recorded = fail(&scene, 0, 7);
        assert_ne!((scene.at(0).load.latency(), scene.at(0).load.error_rate()), before);
        scene.at(0).take_back(recorded, scene.now);
        assert_eq!((scene.at(0).load.latency(), scene.at(0).load.error_rate()), before);
        assert!(!scene.at(0).load.is_failing());
    }
    scene.fail(0, 4);
    assert_eq!(scene.condition(0), Condition::Healthy, "four of five");
    scene.fail(0, 1);
    assert_eq!(scene.condition(0), Condition::Ejected);
}

#[test]
fn an_ejection_by_a_failure_that_is_taken_back_ends() {
    let scene = Scene::with(2, Ejection { consecutive: Some(1), ..Ejection::default() });
    scene.answers();
    let recorded = fail(&scene, 0, 7);
    assert_eq!(scene.condition(0), Condition::Ejected);
    scene.at(0).take_back(recorded, scene.now);
    assert_eq!(scene.condition(0), Condition::Healthy);
    let (old, _new) = (recorded, fail(&scene, 0, 8));
    scene.at(0).take_back(old, scene.now);
    assert_eq!(scene.condition(0), Condition::Ejected, "that ejection is another's");
}

#[test]
fn only_a_deployment_that_answers_others_is_above_a_request() {
    let scene = Scene::of(2);
    assert!(!scene.at(0).is_above(1, scene.now), "it never answered");
    scene.answers();
    assert!(scene.at(0).is_above(1, scene.now));
    fail(&scene, 0, 1);
    assert!(scene.at(0).is_above(1, scene.now), "only this request failed");
    assert!(!scene.at(0).is_above(2, scene.now));
    fail(&scene, 0, 2);
    assert!(!scene.at(0).is_above(1, scene.now), "others fail as well");
    scene.answers();
    assert!(scene.at(0).is_above(1, scene.now));
}

#[test]
fn a_probe_with_a_refused_key_is_certain() {
    let mut scene = Scene::of(2);
    scene.at(0).probe_key_refused("probe answered 401", scene.now);
    assert_eq!(scene.condition(0), Condition::Credential);
    assert!(scene.reason().starts_with("probe answered 401"), "{}", scene.reason());
    assert_eq!(scene.condition(1), Condition::Healthy);
    // While the deployment is out, more refused probes do not prolong its time.
    scene.now += Duration::from_secs(29);
    scene.at(0).probe_key_refused("probe answered 401", scene.now);
    scene.now += Duration::from_secs(1);
    assert_eq!(scene.condition(0), Condition::HalfOpen);
    scene.at(0).probe_key_refused("probe answered 401", scene.now);
    assert_eq!(scene.condition(0), Condition::Credential);
    // The key was put right at the engine.
    scene.at(0).probe_key_accepted(scene.now);
    assert_eq!(scene.condition(0), Condition::HalfOpen);
    assert!(scene.at(0).state(scene.now).since <= SystemTime::now(), "not after a minute");
    scene.answers();
    assert_eq!(scene.condition(0), Condition::Healthy);
    // Where requests are answered, only the probe's path wants another key.
    scene.at(0).probe_key_refused("probe answered 401", scene.now);
    assert_eq!(scene.condition(0), Condition::Healthy);
}
