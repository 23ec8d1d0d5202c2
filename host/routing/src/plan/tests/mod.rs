//! Decisions on a clock that the tests set: which models strategies are asked about, and the
//! results.

#![allow(clippy::unwrap_used)]

mod asked;
mod harm;
mod results;

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use config::{Config, DeploymentConfig, Model, Share, SlowStart};
use contract::{Description, EndedAttempt, Ending, RawWeights, Side, Situation, Strategy};
use fleet::{AttemptQueue, Condition, Deployment, Fleet, Outcome, Slots, StrategyInfo};

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Deployments of each model.
const DEPLOYMENTS: usize = 4;

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

    fn assign(&mut self, situation: Situation<'_>) -> Result<RawWeights, Fault> {
        let remote = situation.remote;
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
    let description = Description { refresh: spec.refresh, ..Description::named("harmonic") };
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
        let attempt_queue = spec.learns.then(|| Arc::clone(attempt_queue));
        StrategyInfo { name: "harmonic".to_owned(), attempt_queue, ..StrategyInfo::default() }
    };
    let strategies = specs.iter().zip(attempt_queue).map(info).collect();
    let fleet = Fleet::build(&config, None);
    Generation { config, fleet, strategies, books: None, loaded_at: SystemTime::now() }
}

fn model(index: usize, strategy: usize) -> Model {
    let assigned = |port| DeploymentConfig { share: Share::Assigned, ..samples::deployment(port) };
    let deployments = (1..=DEPLOYMENTS as u16).map(assigned).collect();
    Model { id: format!("m{index}"), strategy, ..samples::model(deployments) }
}

fn limited(wait: Duration) -> Outcome {
    Outcome::Limited { cause: "answered 429".into(), wait: Some(wait) }
}

fn refreshes(interval: Duration) -> Spec {
    Spec { refresh: Some(interval), ..Spec::default() }
}
