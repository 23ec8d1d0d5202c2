//! Places, lines and permits as an itinerary asks for them, on a paused clock.

#![allow(clippy::unwrap_used)]

mod quotas;

use config::{Config, Fallback, Hedging, Paths, Standby, load};
use contract::Signal;
use fleet::{Condition, Eligible, Outcome, State};
use http::StatusCode;
use rand::rngs::ThreadRng;
use tokio::time::sleep;

use crate::{Cause, InferenceEndpoint};

use super::*;

/// Two deployments, each with one place and a line for one.
const ROUTING: &str = "
routing_strategy: fixed
remote_deployment:
  - {name: first, endpoint: 'http://first', models: [m], concurrency: {max: 1, queue: 1, wait: 5}}
  - {name: second, endpoint: 'http://second', models: [m], concurrency: {max: 1, queue: 1, wait: 5}}
";

/// All traffic goes to the first; the second is standby.
const WEIGHTS: [f64; 2] = [1.0, 0.0];

struct Scene {
    fleet: Fleet,
    route: Route,
    config: Config,
    signals: Option<Arc<RequestSignals>>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| folder.path().join(name);
        std::fs::write(file("models.yaml"), "models: [{id: m}]").unwrap();
        std::fs::write(file("routing.yaml"), ROUTING).unwrap();
        let (models, routing) = (file("models.yaml"), file("routing.yaml"));
        let paths = Paths { models, routing, routing_required: true };
        let config = load(&paths, &|_| None).unwrap();
        let fleet = Fleet::build(&config, None);
        let now = now();
        let states: Vec<State> = fleet.deployments().map(|d| d.state(now)).collect();
        let eligible = Eligible::of(&fleet.models[0], &states, Standby::Last);
        let route = Route { eligible, weights: WEIGHTS.into(), candidate: None, states };
        Self { fleet, route, config, signals: None }
    }

    fn turns(&self) -> Turns<'_, ThreadRng> {
        self.turns_within(Scope::ALL)
    }

    fn turns_within(&self, scope: Scope) -> Turns<'_, ThreadRng> {
        let now = now();
        let terms = Terms {
            fallback: Fallback { attempts: 2, ..self.config.fallback },
            hedging: Hedging { budget: 100 },
            endpoint: InferenceEndpoint::ChatCompletions,
            panic: self.route.eligible.panic,
            started: now,
            total: Duration::from_secs(600),
        };
        let (fleet, model, route) = (&self.fleet, &self.fleet.models[0], &self.route);
        let (body, signals) = (b"{}", self.signals.as_ref());
        let asked = RoutedRequest { fleet, model, route, body, terms, scope, signals };
        Turns::begin(asked, &WEIGHTS[..], rand::rng(), now)
    }

    fn at(&self, index: usize) -> &Arc<Deployment> {
        &self.fleet.models[0].deployments[index]
    }

    fn admit(&self, index: usize) -> Permit {
        let deployment = self.at(index);
        let place = deployment.slots.try_enter(now()).place().unwrap();
        deployment.admit(place, now()).unwrap()
    }
}

fn name(permit: Option<&Permit>) -> Option<&str> {
    permit.map(|permit| &*permit.deployment().config.name)
}

/// The reasons why deployments were passed over, and the number of waits.
#[derive(Default)]
struct Log(Vec<Busy>, u32);

impl WaitLog for Log {
    fn queued(&mut self, _time: Duration) {
        self.1 += 1;
        assert!(self.1 < 9, "it waits again and again");
    }

    fn passed_over(&mut self, _deployment: &Arc<Deployment>, busy: Busy, _after: Duration) {
        self.0.push(busy);
    }
}

#[tokio::test(start_paused = true)]
async fn a_free_place_is_taken_and_the_next_after_a_failure() {
    let (scene, mut log) = (Scene::new(), Log::default());
    let mut turns = scene.turns();
    let first = turns.next(&mut log).await.unwrap();
    assert_eq!(name(Some(&first)), Some("first"));
    turns.failed(first, Cause::Connect.into(), now());
    assert!(scene.at(0).load.is_failing());
    let second = turns.next(&mut log).await.unwrap();
    assert_eq!(name(Some(&second)), Some("second"));
    turns.failed(second, Cause::Connect.into(), now());
    assert_eq!(name(turns.next(&mut log).await.as_ref()), None, "two attempts are all");
    let told = turns.exhausted(now());
    let names: Vec<&str> = told.failures.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_waits_for_one() {
    let (scene, mut log) = (Scene::new(), Log::default());
    let taken = scene.admit(0);
    let mut turns = scene.turns();
    let free = async {
        sleep(Duration::from_secs(1)).await;
        drop(taken);
    };
    let (permit, ()) = tokio::join!(turns.next(&mut log), free);
    assert_eq!(name(permit.as_ref()), Some("first"));
    assert_eq!(log.0, []);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_the_next_is_tried() {
    let (scene, mut log) = (Scene::new(), Log::default());
    let _taken = scene.admit(0);
    let mut turns = scene.turns();
    let permit = turns.next(&mut log).await;
    assert_eq!(name(permit.as_ref()), Some("second"));
    assert_eq!(log.0, [Busy::Waited]);
    assert_eq!(scene.at(0).slots.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_line_is_passed_over_at_once() {
    let (scene, mut log) = (Scene::new(), Log::default());
    let _taken = scene.admit(0);
    let slots = &scene.at(0).slots;
    let far = now() + Duration::from_secs(3600);
    let wanted = std::iter::once(Wanted { at: 0, slots, queue: 1 });
    let mut waiting = std::pin::pin!(wait_for_any(wanted, far, |_| true));
    std::future::poll_fn(|cx| {
        assert!(waiting.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    let mut turns = scene.turns();
    let permit = turns.next(&mut log).await;
    assert_eq!(name(permit.as_ref()), Some("second"));
    assert_eq!(log.0, [Busy::Full]);
}

#[tokio::test(start_paused = true)]
async fn an_ejection_sends_those_in_line_elsewhere() {
    let (scene, mut log) = (Scene::new(), Log::default());
    let taken = scene.admit(0);
    let mut turns = scene.turns();
    let cooling = async {
        sleep(Duration::from_secs(1)).await;
        let wait = Some(Duration::from_secs(60));
        taken.settle(Outcome::Limited { cause: "answered 429".into(), wait }, now());
    };
    let (permit, ()) = tokio::join!(turns.next(&mut log), cooling);
    assert_eq!(name(permit.as_ref()), Some("second"));
    drop(permit);
    assert_eq!(name(scene.turns().next(&mut log).await.as_ref()), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn in_panic_what_is_out_is_tried() {
    let (scene, mut log) = (Scene::new(), Log::default());
    let barred = || Outcome::Credential { cause: "answered 401".into() };
    for index in [0, 1] {
        scene.at(index).suspect(&barred(), None, 0, now());
        assert!(!scene.at(index).is_open(now()));
    }
    assert!(scene.turns().next(&mut log).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_asked_for_is_waited_for_once() {
    let scene = Scene::new();
    let pause = Duration::from_secs(3);
    for at in [0, 1] {
        let limited = Outcome::Limited { cause: "answered 429".into(), wait: Some(pause) };
        scene.admit(at).settle(limited, now());
    }
    let (mut log, mut other) = (Log::default(), Log::default());
    let began = now();
    let (mut one, mut two) = (scene.turns(), scene.turns());
    let (first, second) = tokio::join!(one.next(&mut log), two.next(&mut other));
    assert!(first.is_some() && now() - began >= pause);
    assert!(second.is_none(), "both queues are full");
    assert!(log.1 == 1 && other.1 == 1, "each asked once: {} {}", log.1, other.1);
}

/// A failure that may be the request's own fault.
fn crash() -> Failure {
    Cause::Status(StatusCode::INTERNAL_SERVER_ERROR).into()
}

#[tokio::test(start_paused = true)]
async fn one_request_repeated_ejects_nobody() {
    let (scene, mut log) = (Scene::new(), Log::default());
    scene.at(0).answered(0, now());
    for _ in 0..20 {
        let mut turns = scene.turns();
        let permit = turns.next(&mut log).await.unwrap();
        assert_eq!(name(Some(&permit)), Some("first"));
        turns.failed(permit, crash(), now());
        let _ = turns.exhausted(now());
    }
    assert_eq!(scene.at(0).state(now()).condition, Condition::Healthy);
    assert!(scene.at(0).load.is_failing(), "the first time counts");
}

#[tokio::test(start_paused = true)]
async fn who_fails_at_what_others_answer_is_charged() {
    let (scene, mut log) = (Scene::new(), Log::default());
    scene.at(0).answered(0, now());
    for _ in 0..5 {
        assert_eq!(scene.at(0).state(now()).condition, Condition::Healthy);
        let mut turns = scene.turns();
        let permit = turns.next(&mut log).await.unwrap();
        turns.failed(permit, crash(), now());
        let mut permit = turns.next(&mut log).await.unwrap();
        assert_eq!(name(Some(&permit)), Some("second"));
        turns.committed(&mut permit, now());
        permit.settle(Outcome::Success, now());
    }
    assert_eq!(scene.at(0).state(now()).condition, Condition::Ejected);
}

#[tokio::test(start_paused = true)]
async fn what_fails_everywhere_charges_nobody() {
    let (scene, mut log) = (Scene::new(), Log::default());
    scene.at(0).answered(0, now());
    scene.at(1).answered(0, now());
    let mut turns = scene.turns();
    for _ in 0..2 {
        let permit = turns.next(&mut log).await.unwrap();
        turns.failed(permit, crash(), now());
    }
    let _ = turns.exhausted(now());
    for at in [0, 1] {
        let load = &scene.at(at).load;
        assert!(!load.is_failing() && load.error_rate() == 0.0 && load.latency().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_answers_have_followed_is_an_average() {
    let (scene, mut log) = (Scene::new(), Log::default());
    scene.at(0).answered(0, now());
    let mut turns = scene.turns();
    let permit = turns.next(&mut log).await.unwrap();
    turns.failed(permit, crash(), now());
    scene.at(0).answered(0, now());
    let _ = turns.exhausted(now());
    assert!(!scene.at(0).load.is_failing() && scene.at(0).load.error_rate() > 0.0);
}

#[tokio::test(start_paused = true)]
async fn no_place_is_held_in_line_for_another() {
    let (scene, mut log) = (Scene::new(), Log::default());
    let mut turns = scene.turns();
    let permit = turns.next(&mut log).await.unwrap();
    turns.failed(permit, crash(), now());
    let pause = Some(Duration::from_secs(3));
    scene.admit(0).settle(Outcome::Limited { cause: "answered 429".into(), wait: pause }, now());
    // The second fails, so that its attempt needs budget, and there is none.
    scene.admit(1).settle(crash().outcome(crate::Overtime::Deployment), now());
    while scene.fleet.budget.withdraw(scene.config.fallback.budget, now()) {}
    let mut next = std::pin::pin!(turns.next(&mut log));
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut next).await.is_err(), "it waits");
    assert_eq!(scene.at(1).slots.taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_prompt_counts_where_it_is_sent() {
    let (mut scene, mut log) = (Scene::new(), Log::default());
    let (prompt_tokens, prefixes) = (Some(400), vec![1 << 40, 2 << 40, 3 << 40]);
    let signals =
        RequestSignals { prompt_tokens, prefixes, block_tokens: 128, ..RequestSignals::default() };
    scene.signals = Some(Arc::new(signals.clone()));
    let asked = [Signal::PrefillBacklog, Signal::PrefixTokens];
    scene.fleet.models[0].want(asked.into_iter().collect(), now());
    let seen = |at: usize| asked.map(|signal| scene.at(at).signal(signal, Some(&signals), now()));
    let mut turns = scene.turns();
    let first = turns.next(&mut log).await.unwrap();
    assert_eq!((seen(0), seen(1)), ([400.0, 384.0], [0.0, 0.0]));
    turns.failed(first, Cause::Connect.into(), now());
    let mut second = turns.next(&mut log).await.unwrap();
    assert_eq!((seen(0), seen(1)), ([0.0, 0.0], [400.0, 384.0]), "nothing was read at the first");
    turns.committed(&mut second, now());
    assert_eq!(seen(1), [0.0, 384.0]);
    // The client leaves. What was read is cached all the same.
    drop(second);
    assert_eq!(seen(1), [0.0, 384.0]);
}
