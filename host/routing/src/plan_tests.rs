//! Decisions on a clock that the tests set: which models strategies are asked about, and the
//! results.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use config::{
    Concurrency, Config, DeploymentConfig, Endpoint, Model, ModelCard, Origin, Pricing, Share,
    SlowStart, Timeouts, TotalTime,
};
use contract::{Candidate, Description, EndedAttempt, Ending, Needs, RawWeights, Side, Strategy};
use fleet::{AttemptQueue, Condition, Deployment, Fleet, Outcome, Slots, StrategyInfo};
use proptest::prelude::*;

use super::*;

#[path = "plan_harm_tests.rs"]
mod harm;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Deployments of each model.
const DEPLOYMENTS: usize = 4;

const ENDED: EndedAttempt = EndedAttempt {
    deployment: 0,
    ending: Ending::Ok,
    status: None,
    first_byte: None,
    total: Duration::ZERO,
    prompt_tokens: None,
    completion_tokens: None,
    cost: None,
};

/// Models that strategies were asked about, and attempts that they were told of.
#[derive(Debug, Default)]
struct Record {
    asked: Vec<String>,
    told: usize,
    /// Calls of `outcome`.
    outcomes: usize,
}

/// Gives the nth deployment that it is asked about the weight 1 / n.
struct Harmonic {
    description: Description,
    learns: bool,
    fails: bool,
    fails_on_outcomes: bool,
    /// CPU time of each call, and of those that were not taken yet.
    cpu_time: [Duration; 2],
    record: Arc<Mutex<Record>>,
}

impl Strategy for Harmonic {
    fn description(&self) -> &Description {
        &self.description
    }

    fn assign(
        &mut self,
        _: &[Candidate<'_>],
        remote: &[Candidate<'_>],
    ) -> Result<RawWeights, Fault> {
        self.record.lock().unwrap().asked.push(remote[0].place.model.clone());
        self.cpu_time[1] += self.cpu_time[0];
        if self.fails {
            return Err(Fault::Trap("as told".into()));
        }
        let weights = (1..=remote.len()).map(|n| 1.0 / n as f64).collect();
        Ok(RawWeights { local: Vec::new(), remote: weights })
    }

    fn learns(&self) -> bool {
        self.learns
    }

    fn outcome(&mut self, attempts: &[EndedAttempt]) -> Result<(), Fault> {
        let mut record = self.record.lock().unwrap();
        record.told += attempts.len();
        record.outcomes += 1;
        self.cpu_time[1] += self.cpu_time[0];
        match self.fails_on_outcomes {
            true => Err(Fault::Trap("as told".into())),
            false => Ok(()),
        }
    }

    fn take_cpu_time(&mut self) -> Duration {
        std::mem::take(&mut self.cpu_time[1])
    }
}

/// A plan of models `m0`, `m1`, ..., and the clock.
struct Scene {
    plan: Plan,
    snapshot: Snapshot,
    record: Arc<Mutex<Record>>,
    attempt_queue: Vec<Arc<AttemptQueue>>,
    now: Instant,
}

/// A strategy for a scene.
#[derive(Clone, Copy, Default)]
struct Spec {
    refresh: Option<Duration>,
    learns: bool,
    fails: bool,
    fails_on_outcomes: bool,
    cpu_time: Duration,
}

impl Scene {
    /// Model n belongs to the strategy at index `strategies[n]`.
    fn of(strategies: &[usize], specs: &[Spec]) -> Self {
        let record: Arc<Mutex<Record>> = Arc::default();
        let seat = |spec: &Spec| {
            let strategy = Box::new(harmonic(*spec, &record));
            Seat { strategy, candidate: None }
        };
        let attempt_queue: Vec<Arc<AttemptQueue>> = specs.iter().map(|_| Arc::default()).collect();
        let generation = Arc::new(generation(strategies, specs, &attempt_queue));
        let now = Instant::now();
        let mut plan = Plan::new(generation, specs.iter().map(seat).collect(), now);
        plan.work(now, || true);
        let snapshot = plan.snapshot();
        // As after a trial at load.
        plan.seats.iter_mut().for_each(|seat| seat.limit(0.1));
        let scene = Self { plan, snapshot, record, attempt_queue, now };
        scene.asked();
        scene
    }

    fn fleet(&self) -> &Fleet {
        &self.plan.generation.fleet
    }

    fn deployment(&self, model: usize, at: usize) -> &Arc<Deployment> {
        &self.fleet().models[model].deployments[at]
    }

    fn attempt(&self, model: usize, at: usize, outcome: Outcome) {
        let deployment = self.deployment(model, at);
        // A place that no pressure limits.
        let slot = Arc::new(Slots::new(Side::Remote, 1)).try_enter(self.now).place().unwrap();
        deployment.suspect(&outcome, None, 0, self.now);
        if let Some(permit) = deployment.admit_in_panic(slot, self.now) {
            permit.settle(outcome, self.now);
        }
    }

    /// Moves the clock by `after` and decides. Returns the models asked about.
    fn decide(&mut self, after: Duration) -> Vec<String> {
        self.now += after;
        let changed = self.fleet().changes.take();
        let decision = self.plan.decide(changed.iter().map(|model| &**model), self.now, || true);
        self.snapshot = decision.snapshot.unwrap_or_else(|| self.plan.snapshot());
        self.asked()
    }

    /// Moves the clock to the plan's next decision. Returns the time passed and the models asked
    /// about.
    fn decide_next(&mut self) -> (Duration, Vec<String>) {
        let after = self.plan.next(self.now).unwrap() - self.now;
        (after, self.decide(after))
    }

    /// The models asked about since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.record.lock().unwrap().asked)
    }
}

fn harmonic(spec: Spec, record: &Arc<Mutex<Record>>) -> Harmonic {
    let description = Description {
        name: "harmonic".into(),
        version: "1".into(),
        summary: String::new(),
        parameters: serde_json::json!({}),
        refresh: spec.refresh,
        needs: Needs::default(),
    };
    let Spec { learns, fails, fails_on_outcomes, cpu_time, .. } = spec;
    let (cpu_time, record) = ([cpu_time, Duration::ZERO], Arc::clone(record));
    Harmonic { description, learns, fails, fails_on_outcomes, cpu_time, record }
}

fn generation(
    strategies: &[usize],
    specs: &[Spec],
    attempt_queue: &[Arc<AttemptQueue>],
) -> Generation {
    let models = strategies.iter().enumerate().map(|(index, strategy)| model(index, *strategy));
    let slow_start = SlowStart { duration: None, ..SlowStart::default() };
    let config = Config { models: models.collect(), slow_start, ..Config::default() };
    let info = |(spec, attempt_queue): (&Spec, &Arc<AttemptQueue>)| {
        let (name, version, sha256) = ("harmonic".to_owned(), String::new(), String::new());
        let (parameters, on_path, meters, candidate) = Default::default();
        let attempt_queue = spec.learns.then(|| Arc::clone(attempt_queue));
        StrategyInfo {
            name,
            version,
            sha256,
            parameters,
            on_path,
            meters,
            attempt_queue,
            candidate,
        }
    };
    let strategies = specs.iter().zip(attempt_queue).map(info).collect();
    let fleet = Fleet::build(&config, None);
    Generation { config, fleet, strategies, loaded_at: SystemTime::now() }
}

fn model(index: usize, strategy: usize) -> Model {
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
        pricing: Pricing::default(),
    };
    let total = TotalTime::default();
    let deployments = (1..=DEPLOYMENTS as u16).map(deployment).collect();
    Model {
        id: format!("m{index}"),
        aliases: Vec::new(),
        card,
        sides: config::Sides::BOTH,
        total,
        strategy,
        deployments,
    }
}

fn deployment(port: u16) -> DeploymentConfig {
    let origin = Origin { tls: false, host: "h".into(), port };
    DeploymentConfig {
        name: format!("d{port}"),
        side: Side::Remote,
        kind: "vllm".into(),
        endpoint: Endpoint { origin, prefix: String::new(), query: String::new() },
        api_key: None,
        provider_model_id: "m".into(),
        capability: config::Capability {
            context_length: 1,
            input: config::Modalities::default(),
            output: config::Modalities::default(),
            tools: false,
        },
        weight: 1.0,
        share: Share::Assigned,
        pricing: Pricing::default(),
        probe: None,
        concurrency: Concurrency::default(),
        timeouts: Timeouts::default(),
    }
}

fn limited(wait: Duration) -> Outcome {
    Outcome::Limited { cause: "answered 429".into(), wait: Some(wait) }
}

fn refreshes(interval: Duration) -> Spec {
    Spec { refresh: Some(interval), ..Spec::default() }
}

#[test]
fn only_models_that_changed_are_asked_about() {
    let mut scene = Scene::of(&[0, 1, 0, 1], &[Spec::default(); 2]);
    assert_eq!((scene.decide(SECOND), scene.plan.next(scene.now)), (vec![], None));
    let before = scene.snapshot.routes.clone();
    scene.attempt(2, 0, limited(5 * SECOND));
    scene.fleet().changes.add(&"gone".into());
    assert_eq!(scene.decide(SECOND), ["m2"]);
    let routes = &scene.snapshot.routes;
    let shared: Vec<bool> = before.iter().zip(routes).map(|(a, b)| Arc::ptr_eq(a, b)).collect();
    assert_eq!(shared, [true, true, false, true]);
    assert_eq!(routes[2].states[0].condition, Condition::Cooling);
    assert_eq!(routes[2].weights[0], 0.0);
    // Time alone ends it.
    let (after, asked) = scene.decide_next();
    assert!(after <= 5 * SECOND, "{after:?}");
    assert_eq!((asked, scene.plan.next(scene.now)), (vec!["m2".to_owned()], None));
    assert_eq!(scene.snapshot.routes[2].weights, before[2].weights);
}

#[test]
fn nothing_new_is_nothing_to_publish() {
    let mut scene = Scene::of(&[0], &[refreshes(100 * MS)]);
    let decision = scene.plan.decide([], scene.now + 100 * MS, || true);
    assert!(decision.snapshot.is_none() && decision.failures.is_empty());
    assert_eq!(scene.asked(), ["m0"]);
}

#[test]
fn each_strategy_keeps_its_own_refresh() {
    let specs = [refreshes(100 * MS), Spec::default(), refreshes(250 * MS)];
    let mut scene = Scene::of(&[0, 1, 2, 0], &specs);
    let mut turns = Vec::new();
    let start = scene.now;
    while turns.len() < 6 {
        let (_, asked) = scene.decide_next();
        turns.push(((scene.now - start).as_millis(), asked.concat()));
    }
    let due = |at, asked: &str| (at, asked.to_owned());
    let first = [due(100, "m0m3"), due(200, "m0m3"), due(250, "m2"), due(300, "m0m3")];
    assert_eq!(turns[..4], first);
    assert_eq!(turns[4..], [due(400, "m0m3"), due(500, "m0m3m2")]);
}

#[test]
fn a_learner_is_asked_when_there_was_something_to_learn() {
    let learner = Spec { learns: true, ..Spec::default() };
    let mut scene = Scene::of(&[0, 0, 1], &[learner, Spec::default()]);
    assert_eq!(scene.decide_next(), (SECOND, vec![]));
    let attempt = ENDED;
    scene.attempt_queue[0].add(attempt);
    assert_eq!(scene.decide(SECOND / 2), [""; 0], "not due");
    let asked = scene.decide_next();
    assert_eq!(asked, (SECOND / 2, vec!["m0".to_owned(), "m1".into()]));
    // A changed model's strategy is first told of earlier attempts. The other models follow when
    // due.
    scene.attempt_queue[0].add(attempt);
    scene.attempt(1, 0, limited(60 * SECOND));
    assert_eq!(scene.decide(SECOND / 2), ["m1"]);
    assert_eq!(scene.record.lock().unwrap().told, 2);
    assert_eq!(scene.decide_next(), (SECOND / 2, vec!["m0".to_owned(), "m1".into()]));
    assert_eq!(scene.decide_next(), (SECOND, vec![]));
}

#[test]
fn a_strategy_that_keeps_failing_rests() {
    let fails = Spec { fails: true, ..Spec::default() };
    let mut scene = Scene::of(&[0; 7], &[fails]);
    let half_a_minute = 30 * SECOND;
    // The first five are asked at the start, and the two others not at all.
    assert!(scene.snapshot.strategy_states[0].last_error.is_some());
    scene.attempt(6, 0, limited(SECOND));
    assert_eq!(scene.decide(MS), [""; 0], "it rests");
    assert_eq!(scene.snapshot.routes[6].states[0].condition, Condition::Cooling);
    assert_eq!(scene.decide(2 * SECOND), [""; 0]);
    let asked = scene.decide(half_a_minute);
    assert_eq!(asked.len(), 1, "one more fault is enough: {asked:?}");
    let next = scene.plan.next(scene.now).unwrap() - scene.now;
    assert_eq!(next, half_a_minute);
}

#[test]
fn a_model_that_was_not_answered_is_asked_about_again() {
    let fails = Spec { fails: true, ..Spec::default() };
    let mut scene = Scene::of(&[0], &[fails]);
    assert_eq!(scene.decide_next(), (30 * SECOND, vec!["m0".to_owned()]));
}

#[test]
fn an_installed_plan_asks_only_about_what_changed_since() {
    let mut scene = Scene::of(&[0, 0, 0], &[Spec::default()]);
    scene.attempt(1, 2, limited(5 * SECOND));
    let (snapshot, failures) = scene.plan.install(scene.now, || true);
    assert!(failures.is_empty());
    assert_eq!(scene.asked(), ["m1"]);
    assert_eq!(snapshot.routes[1].states[2].condition, Condition::Cooling);
    assert!(Arc::ptr_eq(&snapshot.routes[0], &scene.snapshot.routes[0]));
}

#[test]
fn changes_go_before_what_is_due_when_time_is_short() {
    let mut scene = Scene::of(&[0; 6], &[refreshes(100 * MS)]);
    scene.now += 100 * MS;
    scene.attempt(4, 0, limited(SECOND));
    let changed = scene.fleet().changes.take();
    let mut left = 2;
    let go_on = || {
        left -= 1;
        left > 0
    };
    scene.plan.decide(changed.iter().map(|model| &**model), scene.now, go_on);
    assert_eq!(scene.asked(), ["m4", "m0"]);
    assert_eq!(scene.plan.next(scene.now), Some(scene.now));
    assert_eq!(scene.decide(Duration::ZERO), ["m1", "m2", "m3", "m5"]);
    assert_eq!(scene.plan.next(scene.now), Some(scene.now + 100 * MS));
}

#[test]
fn a_broken_decision_is_made_anew() {
    let mut scene = Scene::of(&[0, 0], &[Spec::default()]);
    scene.plan.decide_all();
    assert_eq!(scene.plan.next(scene.now), Some(scene.now));
    assert_eq!(scene.decide(Duration::ZERO), ["m0", "m1"]);
}

#[test]
fn good_answers_are_counted_once() {
    let mut scene = Scene::of(&[0, 0, 1], &[Spec::default(), refreshes(100 * MS)]);
    let counted = |scene: &mut Scene| -> Vec<(String, usize)> {
        scene.plan.answers().map(|(name, count)| (name.to_owned(), count)).collect()
    };
    let harmonic = |count| ("harmonic".to_owned(), count);
    assert_eq!(counted(&mut scene), [harmonic(2), harmonic(1)]);
    assert_eq!(counted(&mut scene), [harmonic(0), harmonic(0)]);
    scene.decide_next();
    scene.attempt(0, 0, limited(SECOND));
    scene.decide(MS);
    assert_eq!(counted(&mut scene), [harmonic(1), harmonic(1)]);
}

/// Something that happens at a deployment of a model, and how many milliseconds pass after it.
fn events() -> impl proptest::strategy::Strategy<Value = Vec<(usize, usize, u8, u32)>> {
    prop::collection::vec((0..5usize, 0..DEPLOYMENTS, 0..4u8, 0..4_000u32), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// An incremental decision gives the same result as one that asks about every model.
    #[test]
    fn it_decides_as_one_that_asks_about_everything(events in events()) {
        let mut scene = Scene::of(&[0, 1, 0, 1, 2], &[Spec::default(); 3]);
        for (model, at, what, passes) in events {
            let outcome = match what {
                0 => Outcome::Success,
                1 => limited(SECOND),
                2 => Outcome::Credential { cause: "answered 401".into() },
                _ => Outcome::Failure { cause: "answered 500".into(), kind: fleet::FailureKind::Answer },
            };
            let times = if what == 3 { 5 } else { 1 };
            (0..times).for_each(|_| scene.attempt(model, at, outcome.clone()));
            scene.decide(passes * MS);
            let mut all = harmonic(Spec::default(), &Arc::default());
            for (model, route) in scene.fleet().models.iter().zip(&scene.snapshot.routes) {
                let standby = scene.plan.generation.config.fallback.standby;
                let (expected, _) = share(model, Some(&mut all), standby, &mut Vec::new(), scene.now);
                prop_assert_eq!(&**route, &expected);
            }
        }
    }
}
