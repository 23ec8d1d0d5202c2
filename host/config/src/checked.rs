//! The running configuration: what the rest of the gateway takes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use contract::Side;

use super::{
    Concurrency, Document, Ejection, Endpoint, Limits, RequestFacts, RetryBudget, Secret,
    SlowStart, StrategyConfig, Timeouts, TotalTime,
};

/// Everything both files say, checked. The default has no models, and everything else as it is without
/// a `routing.yaml`.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The models in the order of `models.yaml`; ids and aliases are unique over all of them.
    pub models: Vec<Model>,
    /// The strategies and their parameters; the first is that of all models that have none of their own.
    /// None without a `routing.yaml`: weights are then those of `models.yaml`.
    pub strategies: Vec<StrategyConfig>,
    /// Time limits of an attempt where neither the model nor the deployment has its own.
    pub timeouts: Timeouts,
    /// Of a whole request where the model has no limit of its own.
    pub total: TotalTime,
    /// How long a client is waited for.
    pub client_timeouts: ClientTimeouts,
    /// Proxies whose word is taken for where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// What happens after a failed attempt.
    pub fallback: Fallback,
    /// How health is probed.
    pub probing: Probing,
    /// When a deployment that fails its requests is taken out.
    pub ejection: Ejection,
    /// How a deployment that comes back gets its traffic.
    pub slow_start: SlowStart,
    /// What a strategy may use.
    pub sandbox: Sandbox,
    /// What strategies are told of a request's headers.
    pub request: RequestFacts,
    /// What is let in at one time.
    pub limits: Limits,
    /// How the process stops.
    pub shutdown: Shutdown,
    /// Where the access log goes. None: nowhere.
    pub access_log: Option<LogOutput>,
    /// The text of `routing.yaml`, so that what is found later (a strategy that refuses its
    /// parameters) can still be shown at its line.
    pub routing_file: Option<Arc<Document>>,
}

/// One model that clients can name.
#[derive(Debug, Clone)]
pub struct Model {
    /// Canonical name.
    pub id: String,
    /// Other names clients may use; they share everything of this model.
    pub aliases: Vec<String>,
    /// What `/v1/models` says of it.
    pub card: ModelCard,
    /// Of a whole request, its own or that of `routing.yaml`.
    pub total: TotalTime,
    /// Its strategy: an index of [`Config::strategies`], where there are any.
    pub strategy: usize,
    /// Where it runs: at least one, names unique, weights summing to 1.
    pub deployments: Vec<DeploymentConfig>,
}

/// The descriptive fields of a model, as `/v1/models` shows them.
#[derive(Debug, Clone)]
pub struct ModelCard {
    /// Human-readable name.
    pub name: String,
    /// Shown as `owned_by`.
    pub provider: String,
    /// Tokens of prompt and answer together.
    pub context_length: u64,
    /// Tokens of the answer.
    pub max_output_length: u64,
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

/// Dollars per token (per image, per request), as decimal text: what the files say, to the letter.
/// Every field parses as a finite number that is at least 0.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pricing {
    /// Of a prompt token.
    pub prompt: String,
    /// Of a completion token.
    pub completion: String,
    /// Of an image.
    pub image: String,
    /// Of a request.
    pub request: String,
    /// Of a prompt token read from the cache.
    pub input_cache_reads: String,
    /// Of a prompt token written to the cache.
    pub input_cache_writes: String,
}

/// One place a model runs, as configured.
#[derive(Debug, Clone)]
pub struct DeploymentConfig {
    /// Unique within the model; `local-1`, `remote-1`, ... unless given.
    pub name: String,
    /// Which of the strategy's lists it is in.
    pub side: Side,
    /// Kind of the upstream: `vllm`, `openai`, ...
    pub kind: String,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Sent as `Authorization: Bearer ...`.
    pub api_key: Option<Secret>,
    /// The model's name there.
    pub provider_model_id: String,
    /// Its configured share, normalised over the model: 0 to 1, all of a model's sum to 1.
    pub weight: f64,
    /// Who decides its weight.
    pub share: Share,
    /// What it costs.
    pub pricing: Pricing,
    /// What to ask to see whether it is healthy. None: never probed, taken as healthy.
    pub probe: Option<ProbeTarget>,
    /// How many attempts are made at it at a time.
    pub concurrency: Concurrency,
    /// Time limits of an attempt: its own, the model's, or those of `routing.yaml`.
    pub timeouts: Timeouts,
}

/// Who decides a deployment's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// The strategy: `routing.yaml` lists the deployment for this model.
    Assigned,
    /// `models.yaml`: the deployment keeps its configured `weight`, because `routing.yaml` is absent,
    /// does not mention the model, or lists the model without this route.
    Kept,
}

/// The question of one health probe; the answer 200 means healthy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProbeTarget {
    /// Absolute path at the deployment's origin: `/health`.
    pub path: String,
    /// How it is asked.
    pub method: ProbeMethod,
}

/// The method of a health probe: those that change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeMethod {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
}

/// How long a client is waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClientTimeouts {
    /// From a request's first byte, or the connection's start, to the end of its head. Default 10 s.
    pub headers: Duration,
    /// Between two pieces of a request's body. Default 30 s.
    pub idle: Duration,
    /// Between two requests of a connection. Default 75 s.
    pub keep_alive: Duration,
}

/// What happens after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// Deployments tried for one request, the first included: at least 1. Default 3.
    pub attempts: u32,
    /// What deployments of weight 0 are for.
    pub standby: Standby,
    /// What happens to a request that was sent and not answered.
    pub ambiguous: Ambiguous,
    /// Extra attempts that requests may make, over all of them.
    pub budget: RetryBudget,
}

/// What happens to a request that was sent without a byte coming back, so that nobody knows whether it
/// was answered. Requests to `/v1/responses` are never sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ambiguous {
    /// It is sent to one more deployment.
    Once,
    /// It fails.
    Never,
}

/// What deployments of weight 0 are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standby {
    /// Tried after every deployment of positive weight has failed.
    Last,
    /// Never tried.
    Never,
}

/// How health is probed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probing {
    /// Between two probes of a deployment. None: no probing.
    pub interval: Option<Duration>,
    /// What one probe may take. Default 2 s.
    pub timeout: Duration,
    /// Failures in a row that make a healthy deployment unhealthy. Default 2.
    pub down_after: u32,
    /// Successes in a row that make an unhealthy deployment healthy. Default 1.
    pub up_after: u32,
}

/// What a strategy may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sandbox {
    /// Linear memory of one instance in bytes. Default 64 MiB.
    pub memory: usize,
    /// Stack of one call in bytes. Default 512 KiB.
    pub stack: usize,
    /// Size of a component in bytes. Default 4 MiB.
    pub component: u64,
    /// Time of one call off the request path. Default 100 ms.
    pub call: Duration,
    /// Time of one call on the request path. Default 5 ms.
    pub request: Duration,
    /// CPU time to compile the component, rounded up to whole seconds. Default 10 s.
    pub compile: Duration,
    /// Memory to compile the component, in bytes. Default 2 GiB.
    pub compile_memory: u64,
}

/// How the process stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// From the signal to the end of accepting, an hour at most. Default 5 s.
    pub accept: Duration,
    /// From then on, for what is in flight; an hour at most. Default 30 s.
    pub grace: Duration,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogOutput {
    /// `stdout` or `-`.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
        }
    }
}

impl Default for Fallback {
    fn default() -> Self {
        Self {
            attempts: 3,
            standby: Standby::Last,
            ambiguous: Ambiguous::Once,
            budget: RetryBudget::default(),
        }
    }
}

impl Default for Probing {
    fn default() -> Self {
        Self { interval: None, timeout: Duration::from_secs(2), down_after: 2, up_after: 1 }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            stack: 512 << 10,
            component: 4 << 20,
            call: Duration::from_millis(100),
            request: Duration::from_millis(5),
            compile: Duration::from_secs(10),
            compile_memory: 2 << 30,
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { accept: Duration::from_secs(5), grace: Duration::from_secs(30) }
    }
}
