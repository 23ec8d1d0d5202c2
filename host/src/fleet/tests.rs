//! Where deployments stand by what their requests met with, on a made-up clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::config::{
    Config, DeploymentConfig, Ejection, Endpoint, Model, ModelCard, Origin, Pricing, Share, Side,
};

use super::{Condition, Deployment, Fault, Fleet, Outcome, Permit};

const SECOND: Duration = Duration::from_secs(1);

/// A fleet of one model, and the clock.
struct Scene {
    fleet: Fleet,
    config: Config,
    now: Instant,
}

impl Scene {
    fn of(deployments: u16) -> Self {
        Self::with(deployments, Ejection::default())
    }

    fn with(deployments: u16, ejection: Ejection) -> Self {
        let models = vec![model((1..=deployments).map(deployment).collect())];
        let config = Config { models, ejection, ..Config::default() };
        Self { fleet: Fleet::build(&config, None), config, now: Instant::now() }
    }

    fn at(&self, index: usize) -> &Arc<Deployment> {
        &self.fleet.models[0].deployments[index]
    }

    fn condition(&self, index: usize) -> Condition {
        self.at(index).state(self.now).condition
    }

    fn admit(&self, index: usize) -> Option<Permit> {
        self.at(index).admit(self.now)
    }

    /// One attempt that ends at once.
    fn attempt(&self, index: usize, outcome: Outcome) {
        let permit = self.at(index).admit_in_panic(self.now).expect("not cooling");
        permit.settle(outcome, self.now);
    }

    fn fail(&self, index: usize, times: usize) {
        (0..times).for_each(|_| self.attempt(index, failure()));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Lets time pass until the next change, and says how long that was.
    fn pass_to_change(&mut self, index: usize) -> Duration {
        let next = self.at(index).next_change(self.now).expect("a change to come");
        let passed = next - self.now;
        self.now = next;
        passed
    }
}

fn deployment(port: u16) -> DeploymentConfig {
    let zero = || "0".to_owned();
    DeploymentConfig {
        name: format!("d{port}"),
        side: Side::Local,
        kind: "vllm".into(),
        endpoint: Endpoint {
            origin: Origin { tls: false, host: "h".into(), port },
            prefix: String::new(),
        },
        api_key: None,
        provider_model_id: "m".into(),
        weight: 1.0,
        share: Share::Kept,
        pricing: Pricing {
            prompt: zero(),
            completion: zero(),
            image: zero(),
            request: zero(),
            input_cache_reads: zero(),
            input_cache_writes: zero(),
        },
        probe: None,
    }
}

fn model(deployments: Vec<DeploymentConfig>) -> Model {
    let card = ModelCard {
        name: "m".into(),
        provider: "vllm".into(),
        context_length: 1,
        max_output_length: 1,
        quantization: "bf16".into(),
        input_modalities: Vec::new(),
        output_modalities: Vec::new(),
        supports_tools: false,
        supports_structured_output: false,
        supported_params: Vec::new(),
        pricing: deployments[0].pricing.clone(),
    };
    Model { id: "m".into(), aliases: Vec::new(), card, deployments }
}

fn failure() -> Outcome {
    Outcome::Failure { cause: "answered 500".into(), fault: Fault::Answer }
}

fn lost() -> Outcome {
    Outcome::Failure { cause: "could not connect".into(), fault: Fault::Connection }
}

fn limited(seconds: u32) -> Outcome {
    Outcome::Limited { cause: "answered 429".into(), wait: Some(seconds * SECOND) }
}

fn about(time: Duration, want: Duration) -> bool {
    (time.as_secs_f64() / want.as_secs_f64() - 1.0).abs() <= 0.1 + 1e-9
}

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
    assert_eq!(scene.condition(0), Condition::Healthy, "these are 19");
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
    assert_eq!(scene.condition(0), Condition::Ejected, "nor do they break the row");
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
    assert_eq!(scene.condition(0), Condition::Healthy, "the other one is of no use now");
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
    let mut trial = scene.admit(0).expect("one that tells nothing gives its turn back");
    assert!(scene.admit(0).is_none());
    trial.begun(scene.now);
    assert_eq!(scene.condition(0), Condition::Healthy);
    assert!(scene.admit(0).is_some(), "an answer that has begun is enough");
    trial.settle(failure(), scene.now);
    scene.fail(0, 3);
    assert_eq!(scene.condition(0), Condition::Healthy);
    scene.fail(0, 1);
    assert_eq!(scene.condition(0), Condition::Ejected, "what came after it counts as ever");
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
    assert_eq!(scene.condition(0), Condition::HalfOpen, "a trial that is put off is no failure");
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
    assert_eq!(scene.at(0).next_change(scene.now), until, "failing in panic is no further charge");
    scene.attempt(0, Outcome::Success);
    assert_eq!(scene.condition(0), Condition::Healthy);
}

#[test]
fn who_asks_to_be_left_alone_is() {
    let mut scene = Scene::of(2);
    scene.attempt(0, limited(30));
    assert_eq!(scene.condition(0), Condition::Cooling);
    assert!(scene.admit(0).is_none() && scene.at(0).admit_in_panic(scene.now).is_none());
    assert_eq!(scene.fleet.models[0].wait(scene.now), Some(30 * SECOND));
    scene.attempt(1, limited(10));
    assert_eq!(scene.fleet.models[0].wait(scene.now), Some(10 * SECOND), "the smallest");
    scene.pass(10 * SECOND);
    assert_eq!(scene.condition(1), Condition::Healthy);
    assert_eq!(scene.pass_to_change(0), 20 * SECOND);
    assert_eq!(scene.condition(0), Condition::Healthy, "and time alone ends it");
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
fn a_refused_credential_takes_out_until_a_load_or_a_later_probe() {
    let mut scene = Scene::of(2);
    let refused = || Outcome::Credential { cause: "answered 401".into() };
    scene.attempt(0, refused());
    assert_eq!(scene.condition(0), Condition::Credential);
    let sent = scene.now;
    scene.pass(1000 * SECOND);
    assert!(scene.admit(0).is_none() && scene.fleet.models[0].wait(scene.now).is_none());
    assert!(!scene.at(0).probed(sent, false, scene.now), "sent before");
    assert_eq!(scene.condition(0), Condition::Credential);
    assert!(scene.at(0).probed(scene.now, false, scene.now));
    assert_eq!(scene.condition(0), Condition::Healthy);

    scene.attempt(0, refused());
    let next = Fleet::build(&scene.config, Some(&scene.fleet));
    assert_eq!(scene.condition(0), Condition::Credential, "what is loaded may yet be refused");
    next.loaded(scene.now);
    assert_eq!(next.models[0].deployments[0].state(scene.now).condition, Condition::Healthy);
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
    next.loaded(scene.now);
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

/// What may happen to one of the deployments.
#[derive(Debug, Clone)]
enum Event {
    Begin(usize),
    End(usize, Outcome),
    Abandon(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Success),
        8 => Just(failure()),
        4 => Just(lost()),
        1 => (0u32..40).prop_map(limited),
        1 => Just(Outcome::Neutral),
    ];
    prop_oneof![
        6 => (0usize..4).prop_map(Event::Begin),
        6 => (0usize..64, outcome).prop_map(|(i, outcome)| Event::End(i, outcome)),
        1 => (0usize..64).prop_map(Event::Abandon),
        2 => (0u64..40_000).prop_map(Event::Pass),
    ]
}

proptest! {
    /// Whatever happens, in whatever order: at most half are out, an ejected one is never admitted,
    /// half-open has at most one under way, and time restores everything to where it can be used.
    #[test]
    fn the_rules_hold_in_any_order(
        deployments in 1u16..=4,
        events in prop::collection::vec(event(), 1..300),
    ) {
        let mut scene = Scene::of(deployments);
        let count = usize::from(deployments);
        let mut under_way: Vec<(bool, Permit)> = Vec::new();
        for event in events {
            match event {
                Event::Begin(i) => {
                    let (i, before) = (i % count, scene.condition(i % count));
                    let trials = under_way.iter().filter(|(trial, permit)| {
                        *trial && Arc::ptr_eq(permit.deployment(), scene.at(i))
                    });
                    let (trials, open) = (trials.count(), scene.at(i).is_open(scene.now));
                    let permit = scene.admit(i);
                    prop_assert_eq!(open, permit.is_some());
                    let trial = before == Condition::HalfOpen;
                    match before {
                        Condition::Ejected | Condition::Cooling => prop_assert!(permit.is_none()),
                        Condition::HalfOpen => prop_assert_eq!(permit.is_some(), trials == 0),
                        _ => prop_assert!(permit.is_some()),
                    }
                    under_way.extend(permit.map(|permit| (trial, permit)));
                }
                Event::End(i, outcome) if !under_way.is_empty() => {
                    let (_, permit) = under_way.swap_remove(i % under_way.len());
                    permit.settle(outcome, scene.now);
                }
                Event::Abandon(i) if !under_way.is_empty() => {
                    drop(under_way.swap_remove(i % under_way.len()));
                }
                Event::End(..) | Event::Abandon(_) => {}
                Event::Pass(millis) => scene.pass(Duration::from_millis(millis)),
            }
            let out = |i: &usize| {
                matches!(scene.condition(*i), Condition::Ejected | Condition::HalfOpen)
            };
            prop_assert!((0..count).filter(out).count() * 2 <= count);
        }
        drop(under_way);
        scene.pass(Duration::from_secs(331));
        for i in 0..count {
            prop_assert!(scene.admit(i).is_some());
        }
    }
}
