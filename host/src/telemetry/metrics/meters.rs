//! What nearly every request counts on, found once and not by its labels each time.

use std::sync::OnceLock;

use prometheus::{Histogram, IntCounter};

use super::Place;
use super::families::{Attempts, Control, Requests};

/// Those of one model.
#[derive(Debug)]
pub struct ModelMeters {
    model: String,
    found: OnceLock<OfModel>,
}

#[derive(Debug)]
pub(super) struct OfModel {
    /// Requests answered with status 200.
    pub(super) ok: IntCounter,
    pub(super) duration: Histogram,
}

impl ModelMeters {
    /// Those of the model with this id.
    #[must_use]
    pub fn new(model: &str) -> Self {
        Self { model: model.to_owned(), found: OnceLock::new() }
    }

    /// Whose they are.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn of(&self, requests: &Requests) -> &OfModel {
        self.found.get_or_init(|| OfModel {
            ok: requests.ended.with_label_values(&[&*self.model, "200"]),
            duration: requests.duration.with_label_values(&[&*self.model]),
        })
    }
}

/// Those of one deployment.
#[derive(Debug, Default)]
pub struct DeploymentMeters(OnceLock<OfDeployment>);

#[derive(Debug)]
pub(super) struct OfDeployment {
    /// Attempts that ended well.
    pub(super) ok: IntCounter,
    pub(super) first_byte: Histogram,
}

impl DeploymentMeters {
    pub(super) fn of(&self, attempts: &Attempts, place: Place<'_>) -> &OfDeployment {
        let Place { model, deployment, side } = place;
        self.0.get_or_init(|| OfDeployment {
            ok: attempts.ended.with_label_values(&[model, deployment, side, OK]),
            first_byte: attempts.first_byte.with_label_values(&[model, deployment]),
        })
    }
}

/// Those of one strategy.
#[derive(Debug, Default)]
pub struct StrategyMeters(OnceLock<IntCounter>);

impl StrategyMeters {
    /// Calls that were answered well.
    pub(super) fn ok(&self, control: &Control, strategy: &str) -> &IntCounter {
        self.0.get_or_init(|| control.strategy_calls.with_label_values(&[strategy, OK]))
    }
}

/// The outcome of an attempt that ended well, or of such a call.
pub(super) const OK: &str = "ok";
