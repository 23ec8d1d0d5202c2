//! `routing.yaml` as written.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::budgets::{LedgerConfig, RawBudget};
use crate::given::Given;
use crate::limits::{SharedConcurrency, own_concurrency};
use crate::probing::ProbeCounts;
use crate::seconds::{self, Time, TimeOrZero};
use crate::timeouts::{self, TimeLimits};
use crate::{
    Cors, Ejection, Fallback, HeaderRules, Hedging, Limits, Probing, RequestFacts, Sandbox,
    Scraping, Shutdown, SlowStart,
};

use super::strategy::{RawCandidate, RawStrategy};
use super::{RawHealth, RawSignals};

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
    /// A strategy that is tried beside `routing_strategy`.
    pub(crate) candidate: Option<RawCandidate>,
    /// Strategies of models that have their own, by the model's id or an alias.
    #[serde(default)]
    pub(crate) strategies: BTreeMap<String, RawStrategy>,
    /// Time that one health probe may take.
    #[serde(default = "Probing::default_timeout", with = "seconds")]
    #[schemars(with = "Time")]
    pub(crate) timeout: Duration,
    /// Time between two health probes of a deployment. 0: no probing.
    #[serde(default, with = "seconds::zero_is_none")]
    #[schemars(with = "TimeOrZero")]
    pub(crate) health_check: Option<Duration>,
    /// The access log.
    #[serde(default)]
    pub(crate) logging: RawLogging,
    /// Deployments run by you.
    #[serde(default)]
    pub(crate) local_deployment: Vec<RawEntry>,
    /// Deployments run by others.
    #[serde(default)]
    pub(crate) remote_deployment: Vec<RawEntry>,
    /// Time limits of a request.
    #[serde(default)]
    pub(crate) timeouts: TimeLimits,
    /// What happens after a failed attempt.
    #[serde(default)]
    pub(crate) fallback: Fallback,
    /// Second attempts beside a first that takes long, if the strategy asks for them.
    #[serde(default)]
    pub(crate) hedge: Hedging,
    /// When a deployment counts as down, and as up again.
    #[serde(default)]
    pub(crate) health: ProbeCounts,
    /// When a failing deployment is ejected, and for how long.
    #[serde(default)]
    pub(crate) ejection: Ejection,
    /// How a recovered deployment gets its traffic back.
    #[serde(default)]
    pub(crate) slow_start: SlowStart,
    /// How often engines are asked for their load.
    #[serde(default)]
    pub(crate) signals: Scraping,
    /// The resources that a strategy may use.
    #[serde(default)]
    pub(crate) sandbox: Sandbox,
    /// Headers that strategies on the request path see.
    #[serde(default)]
    pub(crate) request: RequestFacts,
    /// Limits over all clients.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// How many attempts run at one deployment at a time.
    #[serde(default)]
    pub(crate) concurrency: SharedConcurrency,
    /// How the process stops when it is told to.
    #[serde(default)]
    pub(crate) shutdown: Shutdown,
    /// Networks of proxies whose forwarding headers (x-forwarded-for, ...) go upstream: 10.0.0.0/8.
    #[serde(default)]
    pub(crate) trusted_proxies: Vec<String>,
    /// Which headers pass between clients and deployments.
    #[serde(default)]
    pub(crate) headers: HeaderRules,
    /// Web pages of other origins that may use the gateway.
    #[serde(default)]
    pub(crate) cors: Cors,
    /// Names under which clients reach the gateway, beside localhost: gateway.example.com. `*`: any.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub(crate) hosts: Vec<String>,
    /// Interval of comments in a stream that has no content yet. The first comment sends the head
    /// with status 200, so a later failure is an error event instead of a status. 0: no comments.
    #[serde(default, with = "seconds::zero_is_none")]
    #[schemars(with = "TimeOrZero")]
    pub(crate) keep_alive_comments: Option<Duration>,
    /// Time zone of the hours that strategies see, and of budgets: Europe/Berlin. Default: UTC.
    #[schemars(length(max = 64))]
    pub(crate) time_zone: Option<String>,
    /// Money that may be spent in windows of time.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub(crate) budgets: Vec<RawBudget>,
    /// The file that says what budgets have spent, after a restart.
    #[serde(default)]
    pub(crate) ledger: LedgerConfig,
}

/// One place that runs some models.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEntry {
    /// Where it listens, with or without a final /v1.
    pub(crate) endpoint: String,
    /// The part of the URL before /chat/completions. Default: that of the route, else found from
    /// `endpoint` as for a base_url.
    pub(crate) path: Option<String>,
    /// Ids or aliases of the models of models.yaml that it runs.
    #[schemars(length(min = 1))]
    pub(crate) models: Vec<String>,
    /// Its name everywhere. Default: that of the route, else local-1, remote-1, ...
    #[schemars(length(min = 1, max = 128))]
    pub(crate) name: Option<String>,
    /// Default: the key that models.yaml has for this host.
    pub(crate) api_key: Option<String>,
    /// The health probe. Default: GET /health if it is local, none if it is remote.
    pub(crate) health: Option<RawHealth>,
    /// Where the engine tells its load. Default: as its kind does if it is local, nowhere if it is
    /// remote.
    pub(crate) signals: Option<RawSignals>,
    /// How many attempts run at a time. Default, key by key: the route's, else the file's.
    #[serde(default)]
    #[schemars(schema_with = "own_concurrency")]
    pub(crate) concurrency: Given,
    /// Its own time limits. Default, key by key: those of the route, the model, `timeouts`.
    #[serde(default)]
    #[schemars(schema_with = "timeouts::of_place")]
    pub(crate) timeouts: Given,
}

/// The access log.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawLogging {
    /// A file, or stdout. Default: no access log.
    pub(crate) output: Option<String>,
}

fn fixed() -> String {
    "fixed".to_owned()
}

impl RoutingFile {
    /// The probing that three keys of the file set.
    pub(crate) fn probing(&self) -> Probing {
        let ProbeCounts { down_after, up_after } = self.health;
        Probing { interval: self.health_check, timeout: self.timeout, down_after, up_after }
    }
}
