//! Serde types that mirror what a user writes in the two files. The schemas are generated from
//! them, so editors show the comments of their fields.

pub(super) mod models;
pub(super) mod routing;
pub(super) mod strategy;

use schemars::JsonSchema;
use serde::Deserialize;

use super::ProbeMethod;

/// The health probe of a deployment: a path (asked with GET), or a request and the answers that
/// mean healthy.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RawHealth {
    /// `/health`
    Path(String),
    /// `{path: /health, method: HEAD, status: 204, body: ok}`
    Probe(RawProbe),
}

/// The request of a health probe, and the answers that mean healthy.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProbe {
    /// Absolute path at the deployment's host. Default: the health path of the kind, else /health,
    /// and the list of models if that does not exist.
    pub(crate) path: Option<String>,
    /// GET or HEAD. A HEAD that gets 405 is repeated as GET.
    #[serde(default)]
    pub(crate) method: ProbeMethod,
    /// A status that means healthy, or several. Default: 200 and 204.
    pub(crate) status: Option<RawStatus>,
    /// A text that the first 4 KiB of the answer must contain. Default: any answer, unless it says
    /// that the engine is loading or sleeping.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) body: Option<String>,
}

/// Where an engine tells its load, and in which series of Prometheus metrics:
/// `running: 'my_metric{engine="0"}'`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSignals {
    /// The path of the metrics at the deployment's host: `/metrics`, or `:8002/metrics` for another
    /// port of it, which gets no key. Default: that of the kind, else /metrics.
    pub(crate) path: Option<String>,
    /// The series of the requests that the engine works on. Several are summed. Default of all
    /// series: those of the kind.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) running: Option<String>,
    /// The series of the requests in the engine's own queue. Several are summed.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) waiting: Option<String>,
    /// The series of the used share of the KV cache, 0 to 1. Several are averaged. Also
    /// `percent / 100` or `used / total`.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) kv: Option<String>,
    /// The series of the share of prompt tokens found in the prefix cache, 0 to 1. Also
    /// `percent / 100`, or two counters: `hits / queries`.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) prefix_hit: Option<String>,
}

/// One status or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RawStatus {
    /// `204`
    One(#[schemars(range(min = 100, max = 599))] u16),
    /// `[200, 503]`
    Several(#[schemars(length(min = 1))] Vec<u16>),
}
