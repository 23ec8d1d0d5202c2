//! `models.yaml` as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Health;
use super::limits::RawConcurrency;
use super::timeouts::{RawModelTimeouts, RawPlaceTimeouts};
use crate::config::Side;

/// The models that clients can name, and where they run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "models.yaml")]
pub(in crate::config) struct ModelsFile {
    /// In the order in which /v1/models lists them.
    #[schemars(length(min = 1))]
    pub(in crate::config) models: Vec<RawModel>,
}

/// One model.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RawModel {
    /// The name clients use. Unique.
    #[schemars(length(min = 1, max = 256))]
    pub(in crate::config) id: String,
    /// Human-readable name. Default: the id.
    pub(in crate::config) name: Option<String>,
    /// Kind of the upstream: vllm, sglang, llama, openai, openai_compat, ollama, openrouter, deepseek, ...
    #[serde(default = "provider")]
    pub(in crate::config) provider: String,
    /// Where it runs, with or without a final /v1. Used by a route that gives none.
    pub(in crate::config) base_url: Option<String>,
    /// Sent to `base_url`, and by routes without a key of their own to the same host.
    pub(in crate::config) api_key: Option<String>,
    /// The model's name upstream. Default: the id.
    pub(in crate::config) provider_model_id: Option<String>,
    /// Other names clients may use. Unique.
    #[serde(default)]
    pub(in crate::config) aliases: Vec<String>,
    /// Tokens of prompt and answer together.
    #[serde(default = "context_length")]
    #[schemars(range(min = 1))]
    pub(in crate::config) context_length: u64,
    /// Tokens of the answer.
    #[serde(default = "max_output_length")]
    #[schemars(range(min = 1))]
    pub(in crate::config) max_output_length: u64,
    /// Number format of the weights.
    #[serde(default = "quantization")]
    pub(in crate::config) quantization: String,
    /// What a prompt may hold: text, image, ...
    #[serde(default = "text_only")]
    pub(in crate::config) input_modalities: Vec<String>,
    /// What an answer may hold: text, image, ...
    #[serde(default = "text_only")]
    pub(in crate::config) output_modalities: Vec<String>,
    /// Whether tool calls are answered.
    #[serde(default)]
    pub(in crate::config) supports_tools: bool,
    /// Whether a `response_format` with a schema is honoured.
    #[serde(default)]
    pub(in crate::config) supports_structured_output: bool,
    /// Sampling parameters that are honoured.
    #[serde(default = "supported_params")]
    pub(in crate::config) supported_params: Vec<String>,
    /// What it costs.
    #[serde(default)]
    #[expect(dead_code, reason = "the text of prices is taken from the document")]
    pub(in crate::config) pricing: RawPricing,
    /// Its own time limits, in seconds. Default, key by key: those of routing.yaml.
    #[serde(default)]
    pub(in crate::config) timeouts: RawModelTimeouts,
    /// Where it runs. Default: one route from the values above.
    #[schemars(length(min = 1))]
    pub(in crate::config) route: Option<Vec<RawRoute>>,
}

/// One place a model runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RawRoute {
    /// Kind of the upstream. Default: the model's `provider`.
    pub(in crate::config) kind: Option<String>,
    /// Share of the model's traffic, relative to its other routes. 0: standby. Default: 1.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub(in crate::config) weight: Option<f64>,
    /// Default: the model's.
    pub(in crate::config) base_url: Option<String>,
    /// Default: the model's, where the host is the one that key is for.
    pub(in crate::config) api_key: Option<String>,
    /// Default: the model's.
    pub(in crate::config) provider_model_id: Option<String>,
    /// Default, price by price: the model's.
    #[serde(default)]
    #[expect(dead_code, reason = "the text of prices is taken from the document")]
    pub(in crate::config) pricing: RawPricing,
    /// How logs, /routing and strategies call it. Default: local-1, remote-1, ...
    #[schemars(length(min = 1, max = 128))]
    pub(in crate::config) name: Option<String>,
    /// Default: local where the host is in a private network. The lists of routing.yaml come first.
    pub(in crate::config) side: Option<Side>,
    /// How to ask whether it is healthy. Default: /health where it is local, not at all elsewhere.
    pub(in crate::config) health: Option<Health>,
    /// How many attempts are made at it at a time. Default, key by key: that of routing.yaml.
    #[serde(default)]
    pub(in crate::config) concurrency: RawConcurrency,
    /// Its own time limits, in seconds. Default, key by key: the model's, else those of routing.yaml.
    #[serde(default)]
    pub(in crate::config) timeouts: RawPlaceTimeouts,
}

/// Dollars per token (per image, per request), as text or number.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the text of prices is taken from the document")]
pub(in crate::config) struct RawPricing {
    /// A prompt token. Default: 0, as of all others.
    prompt: Option<Amount>,
    /// A token of the answer.
    completion: Option<Amount>,
    /// An image.
    image: Option<Amount>,
    /// A request.
    request: Option<Amount>,
    /// A prompt token read from the cache.
    input_cache_reads: Option<Amount>,
    /// A prompt token written to the cache.
    input_cache_writes: Option<Amount>,
}

/// A decimal number. Its text is taken from the document: a float in between would change it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(from = "serde::de::IgnoredAny")]
struct Amount;

impl From<serde::de::IgnoredAny> for Amount {
    fn from(_: serde::de::IgnoredAny) -> Self {
        Self
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number"] })
    }
}

fn provider() -> String {
    "openai_compat".to_owned()
}

fn context_length() -> u64 {
    8192
}

fn max_output_length() -> u64 {
    4096
}

fn quantization() -> String {
    "bf16".to_owned()
}

fn text_only() -> Vec<String> {
    vec!["text".to_owned()]
}

fn supported_params() -> Vec<String> {
    ["temperature", "top_p", "max_tokens"].map(str::to_owned).to_vec()
}
