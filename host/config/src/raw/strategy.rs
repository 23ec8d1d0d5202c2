//! Strategies as written: of a model, and candidates beside the one in use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Rollback;

/// The strategy of one model.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStrategy {
    /// A built-in strategy, a component of the plugin folder without its .wasm, or a component's path.
    #[schemars(length(min = 1))]
    pub(crate) routing_strategy: String,
    /// Parameters of the strategy.
    #[serde(default)]
    pub(crate) routing_parameter: Option<Map<String, Value>>,
    /// The digest that the strategy's component must have.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    pub(crate) sha256: Option<String>,
    /// A strategy that is tried beside this one.
    pub(crate) candidate: Option<RawCandidate>,
}

/// A strategy that is tried beside the one in use. One of `shadow` and `canary` says how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCandidate {
    /// A built-in strategy, a component of the plugin folder without its .wasm, or a component's path.
    #[schemars(length(min = 1))]
    pub(crate) routing_strategy: String,
    /// Parameters of the strategy.
    #[serde(default)]
    pub(crate) routing_parameter: Option<Map<String, Value>>,
    /// The digest that the strategy's component must have.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    pub(crate) sha256: Option<String>,
    /// It is asked the same questions, and its answers are only compared.
    #[serde(default)]
    pub(crate) shadow: bool,
    /// The share of the requests that it decides for.
    #[schemars(range(min = 0, max = 1))]
    pub(crate) canary: Option<f64>,
    /// When the trial is ended, and the strategy in use decides for all requests again.
    #[serde(default)]
    pub(crate) rollback: RawRollback,
}

/// When the trial of a candidate is ended.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawRollback {
    /// Faults of the candidate (traps, time-outs, answers that cannot be used) that end it.
    #[schemars(range(min = 1, max = 1_000_000))]
    faults: u32,
    /// It ends when the share of its requests that fail is larger than that of the others by so much.
    #[schemars(range(min = 0, max = 1))]
    margin: f64,
    /// Requests it must have decided for before they are compared.
    #[schemars(range(min = 1, max = 1_000_000))]
    min_requests: u32,
}

impl Default for RawRollback {
    fn default() -> Self {
        let Rollback { faults, margin, min_requests } = Rollback::default();
        Self { faults, margin, min_requests }
    }
}

impl From<RawRollback> for Rollback {
    fn from(RawRollback { faults, margin, min_requests }: RawRollback) -> Self {
        Self { faults, margin, min_requests }
    }
}
