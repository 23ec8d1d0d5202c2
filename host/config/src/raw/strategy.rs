//! Strategies as written: of a model, and candidates beside the one in use.

use schemars::JsonSchema;
use serde::Deserialize;
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
    /// The candidate is asked the same questions, and its answers are only compared.
    #[serde(default)]
    pub(crate) shadow: bool,
    /// The share of the requests that the candidate decides for.
    #[schemars(range(min = 0, max = 1))]
    pub(crate) canary: Option<f64>,
    /// When the trial ends. The strategy in use then decides for all requests again.
    #[serde(default)]
    pub(crate) rollback: Rollback,
}
