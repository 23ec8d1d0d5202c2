//! Tests of deployments as a whole, on a clock that the tests set.

mod any_order;
mod ejection;
mod eligible;
mod engines;
mod load;
mod quotas;
mod scope;
mod sharing;
mod standing;
mod suspicions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Config, DeploymentConfig, Ejection, Share};
use contract::Side;
use samples::{deployment, model};

use super::{Condition, Deployment, FailureKind, Fleet, Outcome, Permit, Slot, Slots};

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
        self.at(index).admit(self.slot(), self.now)
    }

    fn admit_in_panic(&self, index: usize) -> Option<Permit> {
        self.at(index).admit_in_panic(self.slot(), self.now)
    }

    /// A place that no pressure limits.
    fn slot(&self) -> Slot {
        Arc::new(Slots::new(Side::Remote, 1)).try_enter(self.now).place().expect("a place")
    }

    /// One attempt that ends at once.
    fn attempt(&self, index: usize, outcome: Outcome) {
        let permit = self.admit_in_panic(index).expect("not cooling");
        permit.settle(outcome, self.now);
    }

    fn fail(&self, index: usize, times: usize) {
        (0..times).for_each(|_| self.attempt(index, failure()));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Moves the clock to the next change. Returns the time that passed.
    fn pass_to_change(&mut self, index: usize) -> Duration {
        let next = self.at(index).next_change(self.now).expect("a change to come");
        let passed = next - self.now;
        self.now = next;
        passed
    }
}

fn failure() -> Outcome {
    Outcome::Failure { cause: "answered 500".into(), kind: FailureKind::Answer }
}

fn lost() -> Outcome {
    Outcome::Failure { cause: "could not connect".into(), kind: FailureKind::Connection }
}

fn limited(seconds: u32) -> Outcome {
    Outcome::Limited { cause: "answered 429".into(), wait: Some(seconds * SECOND) }
}

fn about(time: Duration, want: Duration) -> bool {
    (time.as_secs_f64() / want.as_secs_f64() - 1.0).abs() <= 0.1 + 1e-9
}
