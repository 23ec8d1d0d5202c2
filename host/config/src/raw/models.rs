//! `models.yaml` as written.

use schemars::JsonSchema;
use serde::Deserialize;

use contract::Side;

use crate::Cancel;
use crate::given::Given;
use crate::limits::own_concurrency;
use crate::quotas::RawQuotas;
use crate::timeouts;

use super::{RawHealth, RawSignals};

/// The models that clients can name, and where they run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "models.yaml")]
pub(crate) struct ModelsFile {
    /// In the order in which /v1/models lists them.
    #[schemars(length(min = 1))]
    pub(crate) models: Vec<RawModel>,
}

/// One model.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawModel {
    /// The name clients use. Unique.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) id: String,
    /// Human-readable name. Default: the id.
    pub(crate) name: Option<String>,
    /// Kind of the upstream: vllm, sglang, llama, openai, openai_compat, ollama, openrouter, deepseek, ...
    #[serde(default = "provider")]
    pub(crate) provider: String,
    /// Where it runs, with or without a final /v1. Also the default of its routes.
    pub(crate) base_url: Option<String>,
    /// The part of the URL before /chat/completions. Default: the known path of the host, the path
    /// of `base_url` if it ends in a version or openai, else that path and /v1.
    pub(crate) path: Option<String>,
    /// The key for `base_url`. A route to the same host uses it if it has no key of its own.
    pub(crate) api_key: Option<String>,
    /// The model's name upstream. Default: the id.
    pub(crate) provider_model_id: Option<String>,
    /// Other names clients may use. Unique.
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    /// Sides that its requests may go to. `[local]` keeps them in the house, and nothing overrides
    /// it. Default: both.
    #[serde(default = "both_sides")]
    #[schemars(length(min = 1))]
    pub(crate) sides: Vec<Side>,
    /// Tokens of prompt and answer together.
    #[serde(default = "context_length")]
    #[schemars(range(min = 1))]
    pub(crate) context_length: u64,
    /// Tokens of the answer.
    #[serde(default = "max_output_length")]
    #[schemars(range(min = 1))]
    pub(crate) max_output_length: u64,
    /// Number format of the weights.
    #[serde(default = "quantization")]
    pub(crate) quantization: String,
    /// What a prompt may hold: text, image, ...
    #[serde(default = "text_only")]
    pub(crate) input_modalities: Vec<String>,
    /// What an answer may hold: text, image, ...
    #[serde(default = "text_only")]
    pub(crate) output_modalities: Vec<String>,
    /// Whether tool calls are answered.
    #[serde(default)]
    pub(crate) supports_tools: bool,
    /// Whether a `response_format` with a schema is honoured.
    #[serde(default)]
    pub(crate) supports_structured_output: bool,
    /// Sampling parameters that are honoured.
    #[serde(default = "supported_params")]
    pub(crate) supported_params: Vec<String>,
    /// Its prices.
    #[serde(default)]
    pub(crate) pricing: RawPricing,
    /// Whether streams are asked for their usage, by `stream_options`. Clients that did not ask do
    /// not see it.
    #[serde(default = "yes")]
    pub(crate) stream_usage: bool,
    /// What the provider bills of an answer that is cancelled: a stream up to there (stops), or all of
    /// it (continues). Default: not known.
    pub(crate) cancel: Option<Cancel>,
    /// Its own time limits. Default, key by key: those of routing.yaml.
    #[serde(default)]
    #[schemars(schema_with = "timeouts::of_model")]
    pub(crate) timeouts: Given,
    /// Where it runs. Default: one route from the values above.
    #[schemars(length(min = 1))]
    pub(crate) route: Option<Vec<RawRoute>>,
}

/// One place a model runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRoute {
    /// Kind of the upstream. Default: the model's `provider`.
    pub(crate) kind: Option<String>,
    /// Share of the model's traffic, relative to its other routes. 0: standby. Default: 1, or no
    /// traffic if routing.yaml lists the model without this route.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub(crate) weight: Option<f64>,
    /// Default: the model's.
    pub(crate) base_url: Option<String>,
    /// The part of the URL before /chat/completions. Default: found from `base_url` as for the
    /// model. A route without its own `base_url` has the model's.
    pub(crate) path: Option<String>,
    /// Default: the model's, if the host is the same.
    pub(crate) api_key: Option<String>,
    /// Default: the model's.
    pub(crate) provider_model_id: Option<String>,
    /// Default, price by price: the model's.
    #[serde(default)]
    pub(crate) pricing: RawPricing,
    /// Its name everywhere. Default: local-1, remote-1, ...
    #[schemars(length(min = 1, max = 128))]
    pub(crate) name: Option<String>,
    /// Default: local if the host is in a private network. The lists of routing.yaml override it.
    pub(crate) side: Option<Side>,
    /// The health probe. Default: GET /health if it is local, none if it is remote.
    pub(crate) health: Option<RawHealth>,
    /// Where the engine tells its load. Default: as its kind does if it is local, nowhere if it is
    /// remote.
    pub(crate) signals: Option<RawSignals>,
    /// Tokens of prompt and answer together that this place takes. Default: the model's.
    #[schemars(range(min = 1))]
    pub(crate) context_length: Option<u64>,
    /// What a prompt may hold here: text, image, ... Default: the model's.
    pub(crate) input_modalities: Option<Vec<String>>,
    /// What an answer may hold here: text, image, ... Default: the model's.
    pub(crate) output_modalities: Option<Vec<String>>,
    /// Whether tool calls are answered here. Default: the model's.
    pub(crate) supports_tools: Option<bool>,
    /// Whether streams are asked for their usage here. Default: the model's.
    pub(crate) stream_usage: Option<bool>,
    /// What the provider here bills of an answer that is cancelled. Default: the model's.
    pub(crate) cancel: Option<Cancel>,
    /// Words that strategies read: h100, eu-west, cheap.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub(crate) tags: Vec<String>,
    /// How many attempts run at a time. Default, key by key: that of routing.yaml.
    #[serde(default)]
    #[schemars(schema_with = "own_concurrency")]
    pub(crate) concurrency: Given,
    /// Requests or tokens that it may have in a window of time: one quota or several. Default: none.
    pub(crate) quota: Option<RawQuotas>,
    /// Its own time limits. Default, key by key: the model's, else those of routing.yaml.
    #[serde(default)]
    #[schemars(schema_with = "timeouts::of_place")]
    pub(crate) timeouts: Given,
}

/// Dollars per token (per image, per request, per hour), as text or number: up to 12 decimals.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the text of prices is taken from the document")]
pub(crate) struct RawPricing {
    /// Whether the prices of tokens here are those of a million tokens, as providers list them.
    #[serde(default)]
    pub(crate) per_million: bool,
    /// A prompt token. Default of every price: 0.
    prompt: Option<Amount>,
    /// A token of the answer.
    completion: Option<Amount>,
    /// An image.
    image: Option<Amount>,
    /// A request.
    request: Option<Amount>,
    /// A prompt token read from the cache. Default: the price of any other prompt token.
    cached: Option<Amount>,
    /// Another name of `cached`.
    input_cache_reads: Option<Amount>,
    /// A prompt token written to the cache. Default, also for 0: the price of any other prompt
    /// token.
    input_cache_writes: Option<Amount>,
    /// A prompt token of sound. Default: the price of any other prompt token.
    audio: Option<Amount>,
    /// A token of sound in the answer. Default: the price of any other token of the answer.
    audio_output: Option<Amount>,
    /// What the machine of a deployment costs in an hour, whether it is used or not.
    hourly: Option<Amount>,
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

fn yes() -> bool {
    true
}

fn both_sides() -> Vec<Side> {
    vec![Side::Local, Side::Remote]
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
