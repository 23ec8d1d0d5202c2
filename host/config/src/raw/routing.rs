//! `routing.yaml` as written.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Ambiguous, Fallback, Probing, Sandbox, Shutdown, Standby};

use super::Health;
use super::ejection::{RawBudget, RawEjection, RawSlowStart};
use super::limits::{RawConcurrency, RawLimits};
use super::request::RawRequest;
use super::strategy::{RawCandidate, RawStrategy};
use super::timeouts::{RawPlaceTimeouts, RawTimeouts};

/// How the models' traffic is shared between local and remote deployments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "routing.yaml")]
pub(crate) struct RoutingFile {
    /// A built-in strategy, a component of the plugin folder without its .wasm, or a component's path.
    #[serde(default = "fixed")]
    #[schemars(length(min = 1))]
    pub(crate) routing_strategy: String,
    /// Parameters of the strategy.
    #[serde(default)]
    pub(crate) routing_parameter: Option<Map<String, Value>>,
    /// The digest that the strategy's component must have.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    pub(crate) sha256: Option<String>,
    /// A strategy that is tried beside it.
    pub(crate) candidate: Option<RawCandidate>,
    /// Strategies of models that have their own, by the model's id or an alias.
    #[serde(default)]
    pub(crate) strategies: BTreeMap<String, RawStrategy>,
    /// Seconds that one health probe may take.
    #[serde(default = "probe_timeout")]
    pub(crate) timeout: Seconds,
    /// Seconds between two health probes of a deployment. 0: no probing.
    #[serde(default)]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub(crate) health_check: f64,
    /// The access log.
    #[serde(default)]
    pub(crate) logging: RawLogging,
    /// Deployments run by you.
    #[serde(default)]
    pub(crate) local_deployment: Vec<RawEntry>,
    /// Deployments run by others.
    #[serde(default)]
    pub(crate) remote_deployment: Vec<RawEntry>,
    /// Time limits of a request, in seconds.
    #[serde(default)]
    pub(crate) timeouts: RawTimeouts,
    /// What happens after a failed attempt.
    #[serde(default)]
    pub(crate) fallback: RawFallback,
    /// When a deployment counts as down, and as up again.
    #[serde(default)]
    pub(crate) health: RawHealth,
    /// When a deployment that fails its requests is taken out, and for how long.
    #[serde(default)]
    pub(crate) ejection: RawEjection,
    /// How a deployment that comes back gets its traffic.
    #[serde(default)]
    pub(crate) slow_start: RawSlowStart,
    /// What a strategy may use.
    #[serde(default)]
    pub(crate) sandbox: RawSandbox,
    /// What strategies that decide for each request are told of its headers.
    #[serde(default)]
    pub(crate) request: RawRequest,
    /// What is let in at one time, over all clients.
    #[serde(default)]
    pub(crate) limits: RawLimits,
    /// How many attempts are made at one deployment at a time.
    #[serde(default)]
    pub(crate) concurrency: RawConcurrency,
    /// How the process stops when it is told to.
    #[serde(default)]
    pub(crate) shutdown: RawShutdown,
    /// Networks of proxies whose forwarding headers (x-forwarded-for, ...) go upstream: 10.0.0.0/8.
    #[serde(default)]
    pub(crate) trusted_proxies: Vec<String>,
}

/// One place that runs some models.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEntry {
    /// Where it listens, with or without a final /v1.
    pub(crate) endpoint: String,
    /// Ids or aliases of the models of models.yaml that it runs.
    #[schemars(length(min = 1))]
    pub(crate) models: Vec<String>,
    /// How logs, /routing and strategies call it. Default: that of the route, else local-1, remote-1, ...
    #[schemars(length(min = 1, max = 128))]
    pub(crate) name: Option<String>,
    /// Default: the key that models.yaml has for this host.
    pub(crate) api_key: Option<String>,
    /// How to ask whether it is healthy. Default: /health where it is local, not at all elsewhere.
    pub(crate) health: Option<Health>,
    /// How many attempts are made at it at a time. Default, key by key: the route's, else the file's.
    #[serde(default)]
    pub(crate) concurrency: RawConcurrency,
    /// Its own time limits, in seconds. Default, key by key: those of the route, the model, `timeouts`.
    #[serde(default)]
    pub(crate) timeouts: RawPlaceTimeouts,
}

/// The access log.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawLogging {
    /// A file, or stdout. Default: no access log.
    pub(crate) output: Option<String>,
}

/// What happens after a failed attempt.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawFallback {
    /// Deployments tried for one request, the first included.
    #[schemars(range(min = 1, max = 100))]
    attempts: u32,
    /// When deployments of weight 0 are tried.
    standby: RawStandby,
    /// How often a request is sent again that was sent and not answered. Never to /v1/responses.
    ambiguous: RawAmbiguous,
    /// Extra attempts that requests may make, over all of them.
    budget: RawBudget,
}

/// How often a request is sent again that may have been answered.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum RawAmbiguous {
    Once,
    Never,
}

/// When deployments of weight 0 are tried: after all others, or never.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum RawStandby {
    Last,
    Never,
}

/// When a deployment counts as down, and as up again.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawHealth {
    /// Failed probes in a row after which it is down.
    #[schemars(range(min = 1, max = 1000))]
    down_after: u32,
    /// Good probes in a row after which it is up.
    #[schemars(range(min = 1, max = 1000))]
    up_after: u32,
}

/// What a strategy may use.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawSandbox {
    /// Linear memory in MiB.
    #[schemars(range(min = 1, max = 4096))]
    memory_mib: u32,
    /// Stack of a call in KiB.
    #[schemars(range(min = 64, max = 65_536))]
    stack_kib: u32,
    /// Size of the component in MiB.
    #[schemars(range(min = 1, max = 1024))]
    component_mib: u32,
    /// Seconds of one call off the request path.
    call_timeout: Seconds,
    /// Seconds of one call on the request path.
    request_timeout: Seconds,
    /// Seconds of CPU time to compile the component, rounded up to whole seconds.
    compile_timeout: Seconds,
    /// Memory to compile the component in MiB.
    #[schemars(range(min = 64, max = 65_536))]
    compile_memory_mib: u32,
}

/// How the process stops when it is told to.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawShutdown {
    /// Seconds in which it still accepts connections, but says that it is not ready.
    #[schemars(range(min = 0, max = 3600))]
    accept: f64,
    /// Seconds that requests in flight have after that.
    #[schemars(range(min = 0, max = 3600))]
    grace: f64,
}

/// A time above 0, in seconds; fractions are accepted.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Seconds(f64);

impl JsonSchema for Seconds {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seconds".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "number", "exclusiveMinimum": 0, "maximum": 31_536_000
        })
    }
}

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs_f64())
    }
}

impl From<Seconds> for Duration {
    /// Rounded up to a millisecond, which is finer than any timer here.
    fn from(Seconds(seconds): Seconds) -> Self {
        let least = Duration::from_millis(1);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).max(least)
    }
}

fn fixed() -> String {
    "fixed".to_owned()
}

fn probe_timeout() -> Seconds {
    Probing::default().timeout.into()
}

impl Default for RawFallback {
    fn default() -> Self {
        Self {
            attempts: Fallback::default().attempts,
            standby: RawStandby::Last,
            ambiguous: RawAmbiguous::Once,
            budget: RawBudget::default(),
        }
    }
}

impl From<RawFallback> for Fallback {
    fn from(raw: RawFallback) -> Self {
        let standby = match raw.standby {
            RawStandby::Last => Standby::Last,
            RawStandby::Never => Standby::Never,
        };
        let ambiguous = match raw.ambiguous {
            RawAmbiguous::Once => Ambiguous::Once,
            RawAmbiguous::Never => Ambiguous::Never,
        };
        Self { attempts: raw.attempts, standby, ambiguous, budget: raw.budget.into() }
    }
}

impl Default for RawHealth {
    fn default() -> Self {
        let Probing { down_after, up_after, .. } = Probing::default();
        Self { down_after, up_after }
    }
}

impl RoutingFile {
    /// How health is probed: three keys of the file.
    pub(crate) fn probing(&self) -> Probing {
        let on = self.health_check > 0.0;
        Probing {
            interval: on.then(|| Seconds(self.health_check).into()),
            timeout: self.timeout.into(),
            down_after: self.health.down_after,
            up_after: self.health.up_after,
        }
    }
}

impl Default for RawSandbox {
    fn default() -> Self {
        let Sandbox { call, request, compile, .. } = Sandbox::default();
        Self {
            memory_mib: 64,
            stack_kib: 512,
            component_mib: 4,
            call_timeout: call.into(),
            request_timeout: request.into(),
            compile_timeout: compile.into(),
            compile_memory_mib: 2048,
        }
    }
}

impl From<RawSandbox> for Sandbox {
    fn from(raw: RawSandbox) -> Self {
        Self {
            memory: (raw.memory_mib as usize) << 20,
            stack: (raw.stack_kib as usize) << 10,
            component: u64::from(raw.component_mib) << 20,
            call: raw.call_timeout.into(),
            request: raw.request_timeout.into(),
            compile: raw.compile_timeout.into(),
            compile_memory: u64::from(raw.compile_memory_mib) << 20,
        }
    }
}

impl Default for RawShutdown {
    fn default() -> Self {
        let Shutdown { accept, grace } = Shutdown::default();
        Self { accept: accept.as_secs_f64(), grace: grace.as_secs_f64() }
    }
}

impl From<RawShutdown> for Shutdown {
    fn from(RawShutdown { accept, grace }: RawShutdown) -> Self {
        // The schema has seen that they are times.
        let time = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Self { accept: time(accept), grace: time(grace) }
    }
}
