//! How health is probed: `timeout`, `health_check` and `health` of `routing.yaml`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use contract::Side;

use super::{DeploymentConfig, Secret, providers};

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

/// The target of a health probe, and which answers mean healthy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ProbeTarget {
    /// Absolute path at the deployment's origin: `/health`.
    pub path: String,
    /// Method of the request. A HEAD that is not allowed is asked again as GET.
    pub method: ProbeMethod,
    /// Statuses that mean healthy. Empty: 200 and 204.
    pub status: Vec<u16>,
    /// A text that the body must contain. None: every body is healthy, unless it says that the
    /// engine is loading or sleeping.
    pub body: Option<String>,
    /// The path of the list of models. It is asked if `path` does not exist.
    pub last_resort: Option<String>,
    /// The key of the deployment.
    pub key: Option<Secret>,
}

/// The health probe as a file gives it.
#[derive(Debug, Clone)]
pub(crate) struct GivenProbe {
    /// None: the path of the kind.
    pub(crate) path: Option<String>,
    pub(crate) method: ProbeMethod,
    pub(crate) status: Vec<u16>,
    pub(crate) body: Option<String>,
}

impl ProbeTarget {
    /// The probe of a deployment. None if it is not probed. A remote deployment is probed only if
    /// the file gives it a probe: a public API has no health page, and a probe must not cost money.
    pub(crate) fn of(deployment: &DeploymentConfig, given: Option<&GivenProbe>) -> Option<Self> {
        let DeploymentConfig { side, kind, endpoint, api_key, .. } = deployment;
        if *side == Side::Remote && given.is_none() {
            return None;
        }
        let (path, last_resort) = match given.and_then(|given| given.path.clone()) {
            Some(path) => (path, None),
            None => match providers::of_kind(kind).and_then(|provider| provider.health) {
                Some(path) if endpoint.root().is_empty() => (path.to_owned(), None),
                // A proxy at the origin has a health of its own, and may pass on only the API.
                path => {
                    let path = format!("{}{}", endpoint.root(), path.unwrap_or("/health"));
                    (path, Some(format!("{}/models", endpoint.prefix)))
                }
            },
        };
        Some(Self {
            path,
            method: given.map_or(ProbeMethod::Get, |given| given.method),
            status: given.map_or_else(Vec::new, |given| given.status.clone()),
            body: given.and_then(|given| given.body.clone()),
            last_resort,
            key: api_key.clone(),
        })
    }
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
