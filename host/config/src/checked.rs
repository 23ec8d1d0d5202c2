//! The checked configuration, which the rest of the gateway runs on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;

use contract::{Picodollars, Side};

use super::probing::ProbeCounts;
use super::timeouts::TimeLimits;
use super::{
    Budget, Cancel, Capability, ClientTimeouts, Concurrency, Cors, Diagnostic, Document, Ejection,
    Endpoint, EngineMetrics, Fallback, HeaderRules, Hedging, LedgerConfig, Limits, ProbeTarget,
    Probing, Quota, RequestFacts, Sandbox, Scraping, Secret, Shutdown, Sides, SlowStart,
    StrategyConfig, TimeZone, Timeouts, TotalTime,
};

/// Everything that both files say, checked. The default has no models, and the settings that hold
/// without a `routing.yaml`.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The models in the order of `models.yaml`. Ids and aliases are unique over all of them.
    pub models: Vec<Model>,
    /// The strategies and their parameters. The first is that of all models without one of their
    /// own. Empty without a `routing.yaml`: weights are then those of `models.yaml`.
    pub strategies: Vec<StrategyConfig>,
    /// Time limits of an attempt, if neither the model nor the deployment has its own.
    pub timeouts: Timeouts,
    /// Time limit of a whole request, if the model has none of its own.
    pub total: TotalTime,
    /// Time limits for clients.
    pub client_timeouts: ClientTimeouts,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What happens after a failed attempt.
    pub fallback: Fallback,
    /// Second attempts beside the first.
    pub hedging: Hedging,
    /// How health is probed.
    pub probing: Probing,
    /// When a failing deployment is ejected.
    pub ejection: Ejection,
    /// How a recovered deployment gets its traffic back.
    pub slow_start: SlowStart,
    /// How often engines are asked for their load.
    pub scraping: Scraping,
    /// The resources that a strategy may use.
    pub sandbox: Sandbox,
    /// The headers that strategies see.
    pub request: RequestFacts,
    /// Which headers pass between clients and deployments.
    pub headers: HeaderRules,
    /// Web pages of other origins that may use the gateway.
    pub cors: Cors,
    /// Names under which clients reach the gateway, in lower case, beside those of this machine.
    /// `*`: any.
    pub hosts: Vec<String>,
    /// Time after which a stream without content gets a comment. None: never.
    pub keep_alive_comments: Option<Duration>,
    /// The zone of the hours that strategies see.
    pub time_zone: TimeZone,
    /// Money that may be spent in windows of time: at most [`MOST_BUDGETS`](super::MOST_BUDGETS), names
    /// unique.
    pub budgets: Vec<Budget>,
    /// Where what they have spent is kept.
    pub ledger: LedgerConfig,
    /// Limits over all clients.
    pub limits: Limits,
    /// How the process stops.
    pub shutdown: Shutdown,
    /// Where the access log goes. None: nowhere.
    pub access_log: Option<LogOutput>,
    /// `routing.yaml` with its positions, so that errors found later (a strategy refuses its
    /// parameters) can be shown at their line.
    pub routing_file: Option<Arc<Document>>,
    /// Likely mistakes that are not errors.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// The settings that hold for all models, by the keys of `routing.yaml` and in its units.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, Value)> {
        let timeouts = TimeLimits::of(self.timeouts, self.total, self.client_timeouts);
        let Probing { interval, timeout, down_after, up_after } = self.probing;
        let interval = interval.unwrap_or_default();
        vec![
            ("timeouts", written(&timeouts)),
            ("fallback", written(&self.fallback)),
            ("hedge", written(&self.hedging)),
            ("health_check", interval.as_secs_f64().into()),
            ("timeout", timeout.as_secs_f64().into()),
            ("health", written(&ProbeCounts { down_after, up_after })),
            ("ejection", written(&self.ejection)),
            ("slow_start", written(&self.slow_start)),
            ("signals", written(&self.scraping)),
            ("ledger", written(&self.ledger)),
            ("limits", written(&self.limits)),
            ("request", written(&self.request)),
            ("headers", written(&self.headers)),
            ("cors", written(&self.cors)),
            ("hosts", written(&self.hosts)),
            (
                "keep_alive_comments",
                self.keep_alive_comments.unwrap_or_default().as_secs_f64().into(),
            ),
            ("time_zone", self.time_zone.name().into()),
            ("sandbox", written(&self.sandbox)),
            ("shutdown", written(&self.shutdown)),
        ]
    }
}

/// Settings as the files write them.
fn written(settings: &impl Serialize) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// One model that clients can name.
#[derive(Debug, Clone)]
pub struct Model {
    /// Canonical name.
    pub id: String,
    /// Other names that clients may use for this model.
    pub aliases: Vec<String>,
    /// Its description in `/v1/models`.
    pub card: ModelCard,
    /// The sides that its requests may go to. Nothing overrides it.
    pub sides: Sides,
    /// Time limit of a whole request: its own, or that of `routing.yaml`.
    pub total: TotalTime,
    /// Index of its strategy in [`Config::strategies`]. Without meaning if that is empty.
    pub strategy: usize,
    /// Where it runs: at least one, names unique, weights summing to 1.
    pub deployments: Vec<DeploymentConfig>,
}

/// The descriptive fields of a model, as `/v1/models` shows them. The default has no name and no
/// context, and is free.
#[derive(Debug, Clone, Default)]
pub struct ModelCard {
    /// Human-readable name.
    pub name: String,
    /// Shown as `owned_by`.
    pub provider: String,
    /// Tokens of prompt and answer together.
    pub context_length: u64,
    /// Tokens of the answer.
    pub max_output_length: u64,
    /// Whether the file gives both of these: else they are defaults.
    pub has_lengths: bool,
    /// Number format of the weights: `bf16`.
    pub quantization: String,
    /// `text`, `image`, ...
    pub input_modalities: Vec<String>,
    /// `text`, `image`, ...
    pub output_modalities: Vec<String>,
    /// Whether tool calls are answered.
    pub supports_tools: bool,
    /// Whether `response_format` with a schema is honoured.
    pub supports_structured_output: bool,
    /// Sampling parameters that are honoured.
    pub supported_params: Vec<String>,
    /// Prices as written.
    pub pricing: Pricing,
}

/// Dollars per token (per image, per request), as decimal text. As in the files, unless these give
/// the price of a million tokens. Every field is exact in [`Picodollars`](contract::Picodollars).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pricing {
    /// Price of a prompt token.
    pub prompt: String,
    /// Price of a completion token.
    pub completion: String,
    /// Price of an image.
    pub image: String,
    /// Price of a request.
    pub request: String,
    /// Price of a prompt token read from the cache. None: not given. Shown as 0 then.
    #[serde(serialize_with = "or_zero")]
    pub input_cache_reads: Option<String>,
    /// Price of a prompt token written to the cache.
    pub input_cache_writes: String,
    /// Price of a prompt token of sound. None: that of any other prompt token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// Price of a completion token of sound. None: that of any other completion token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<String>,
    /// What the machine costs in an hour. None: not given.
    #[serde(skip)]
    pub hourly: Option<String>,
}

impl Pricing {
    /// Price of a prompt token that comes from the provider's cache: that of any other prompt token
    /// unless it is given.
    #[must_use]
    pub fn cached(&self) -> &String {
        self.input_cache_reads.as_ref().unwrap_or(&self.prompt)
    }

    /// Whether a request can cost anything.
    #[must_use]
    pub fn costs(&self) -> bool {
        let prices = [&self.prompt, &self.completion, &self.image, &self.request];
        let all = prices.into_iter().chain([self.cached(), &self.input_cache_writes]);
        let all = all.chain(&self.audio).chain(&self.audio_output);
        all.into_iter().any(|price| {
            Picodollars::from_decimal(price).is_ok_and(|price| price > Picodollars::ZERO)
        })
    }
}

fn or_zero<S: serde::Serializer>(price: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(price.as_deref().unwrap_or("0"))
}

/// One place a model runs, as configured.
#[derive(Debug, Clone)]
pub struct DeploymentConfig {
    /// Unique within the model. Default: `local-1`, `remote-1`, ...
    pub name: String,
    /// Local or remote.
    pub side: Side,
    /// Kind of the upstream: `vllm`, `openai`, ...
    pub kind: String,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Sent as `Authorization: Bearer ...`.
    pub api_key: Option<Secret>,
    /// The model's name at this deployment.
    pub provider_model_id: String,
    /// What it can do.
    pub capability: Capability,
    /// Whether streams are asked for their usage.
    pub stream_usage: bool,
    /// What its provider bills of answers that are cancelled. None: it is not known.
    pub cancel: Option<Cancel>,
    /// Words that strategies read.
    pub tags: Vec<String>,
    /// Its configured share of the model's traffic, 0 to 1. The shares of a model sum to 1.
    pub weight: f64,
    /// Whether the strategy decides its weight.
    pub share: Share,
    /// Prices of this deployment.
    pub pricing: Pricing,
    /// The budgets that cover it, as bits by their position in [`Config::budgets`].
    pub budgets: u64,
    /// What it may have in windows of time.
    pub quotas: Vec<Quota>,
    /// The health probe. None: it is never probed, and counts as healthy.
    pub probe: Option<ProbeTarget>,
    /// Where the engine tells its load. None: it is never asked.
    pub metrics: Option<EngineMetrics>,
    /// The maximum number of attempts at a time, and the limits of their queue.
    pub concurrency: Concurrency,
    /// Time limits of an attempt: its own, the model's, or those of `routing.yaml`.
    pub timeouts: Timeouts,
}

/// The source of a deployment's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// The strategy: `routing.yaml` lists the deployment for this model.
    Assigned,
    /// `models.yaml`: the deployment keeps its configured `weight`, because `routing.yaml` is
    /// absent, does not mention the model, or lists the model without this route, which states a
    /// weight.
    Kept,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogOutput {
    /// `stdout` or `-`.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}
