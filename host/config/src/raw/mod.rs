//! What a user writes: serde types that mirror the two files. The schemas are generated from them,
//! so a comment here is what an editor shows.

pub(super) mod ejection;
pub(super) mod limits;
pub(super) mod models;
pub(super) mod request;
pub(super) mod routing;
pub(super) mod strategy;
pub(super) mod timeouts;

use schemars::JsonSchema;
use serde::Deserialize;

/// How a deployment is asked whether it is healthy: a path (asked with GET), or path and method.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Health {
    /// `/health`
    Path(String),
    /// `{path: /health, method: HEAD}`
    Probe(HealthProbe),
}

/// The question of a health probe.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthProbe {
    /// Absolute path at the deployment's host.
    #[serde(default = "health_path")]
    pub(super) path: String,
    /// GET or HEAD.
    #[serde(default)]
    pub(super) method: Method,
}

/// The method of a health probe.
#[derive(Debug, Clone, Copy, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(inline)]
pub(super) enum Method {
    #[default]
    Get,
    Head,
}

pub(super) fn health_path() -> String {
    "/health".to_owned()
}
