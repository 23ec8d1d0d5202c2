//! How health is probed: `timeout`, `health_check` and `health` of `routing.yaml`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings of health probes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probing {
    /// Time between two probes of a deployment. None: no probing.
    pub interval: Option<Duration>,
    /// Time limit of one probe.
    pub timeout: Duration,
    /// Failures in a row that make a healthy deployment unhealthy.
    pub down_after: u32,
    /// Successes in a row that make an unhealthy deployment healthy.
    pub up_after: u32,
}

/// When a deployment counts as down, and as up again.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProbeCounts {
    /// Failed probes in a row after which it is down.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) down_after: u32,
    /// Good probes in a row after which it is up.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) up_after: u32,
}

/// The target of a health probe. Status 200 means healthy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProbeTarget {
    /// Absolute path at the deployment's origin: `/health`.
    pub path: String,
    /// Method of the request.
    pub method: ProbeMethod,
}

/// The method of a health probe. Methods that change state are not offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(inline)]
pub enum ProbeMethod {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`
    Head,
}

impl Probing {
    /// Time limit of one probe if the file sets none.
    pub(crate) fn default_timeout() -> Duration {
        Duration::from_secs(2)
    }
}

impl Default for Probing {
    fn default() -> Self {
        let ProbeCounts { down_after, up_after } = ProbeCounts::default();
        Self { interval: None, timeout: Self::default_timeout(), down_after, up_after }
    }
}

impl Default for ProbeCounts {
    fn default() -> Self {
        Self { down_after: 2, up_after: 1 }
    }
}
