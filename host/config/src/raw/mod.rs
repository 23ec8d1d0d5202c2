//! Serde types that mirror what a user writes in the two files. The schemas are generated from
//! them, so editors show the comments of their fields.

pub(super) mod models;
pub(super) mod routing;
pub(super) mod strategy;

use schemars::JsonSchema;
use serde::Deserialize;

use super::ProbeMethod;

/// The health probe of a deployment: a path (asked with GET), or path and method.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RawHealth {
    /// `/health`
    Path(String),
    /// `{path: /health, method: HEAD}`
    Probe(RawProbe),
}

/// Path and method of a health probe.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProbe {
    /// Absolute path at the deployment's host.
    #[serde(default = "health_path")]
    pub(super) path: String,
    /// GET or HEAD.
    #[serde(default)]
    pub(super) method: ProbeMethod,
}

pub(super) fn health_path() -> String {
    "/health".to_owned()
}
