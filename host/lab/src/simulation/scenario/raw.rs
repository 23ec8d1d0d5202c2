//! A scenario as written. The check and its errors come from these types.

use schemars::JsonSchema;
use serde::Deserialize;

use config::{Concurrency, Fallback, Timeouts, TotalTime};

/// A fleet and the requests that come to it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioFile {
    /// What it shows, in a line or two.
    #[serde(default)]
    pub(super) description: String,
    /// The same seed, the same run.
    #[serde(default = "one")]
    pub(super) seed: u64,
    /// Seconds in which requests arrive. Default: as long as the recorded ones did.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 604_800))]
    pub(super) duration: Option<f64>,
    /// The id of the model that all requests ask for.
    #[serde(default = "model")]
    #[schemars(length(min = 1))]
    pub(super) model: String,
    /// Where it runs.
    #[schemars(length(min = 1, max = 128))]
    pub(super) deployments: Vec<RawDeployment>,
    /// When requests arrive.
    pub(super) arrivals: RawArrivals,
    /// What arrives.
    #[schemars(length(min = 1, max = 64))]
    pub(super) requests: Vec<RawKind>,
    /// What the gateway does about it.
    #[serde(default)]
    pub(super) gateway: RawGateway,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDeployment {
    /// Unique.
    #[schemars(length(min = 1, max = 64))]
    pub(super) name: String,
    pub(super) side: RawSide,
    /// The configured share, before any strategy, relative to the others. Default: 1.
    #[serde(default = "whole")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(super) weight: f64,
    /// Sequences that the engine runs at a time.
    #[schemars(range(min = 1, max = 4096))]
    pub(super) parallel: u32,
    /// Seconds to get there and back. Default: 0.
    #[serde(default)]
    pub(super) latency: RawDistribution,
    /// Tokens of a prompt that are read a second.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1_000_000_000))]
    pub(super) prefill: f64,
    /// Tokens of an answer that are written a second, where one sequence runs alone.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1_000_000_000))]
    pub(super) decode: f64,
    /// By what share each further sequence makes a step longer. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub(super) slowdown: f64,
    /// How uneven its speed is: the standard deviation of its logarithm. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2))]
    pub(super) jitter: f64,
    /// Tokens of prompts that it keeps, and need not read again. Default: 0.
    #[serde(default)]
    pub(super) cache: u64,
    /// Tokens of prompt and answer together that it takes. Default: 131072.
    #[serde(default = "context_length")]
    #[schemars(range(min = 1))]
    pub(super) context_length: u64,
    /// Dollars a token. Default: none.
    pub(super) price: Option<RawPrice>,
    /// The share of attempts that fail. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub(super) failures: f64,
    /// When it is not well.
    #[serde(default)]
    pub(super) outages: Vec<RawOutage>,
    /// As in routing.yaml: attempts that the gateway makes at it at a time.
    #[serde(default)]
    pub(super) concurrency: Concurrency,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum RawSide {
    Local,
    Remote,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrice {
    /// Dollars a token of the prompt.
    #[schemars(range(min = 0, max = 1000))]
    pub(super) prompt: f64,
    /// Dollars a token of the answer.
    #[schemars(range(min = 0, max = 1000))]
    pub(super) completion: f64,
}

/// A time in which a deployment is not well. Without `failing` and `slow`: it is down.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOutage {
    /// Seconds from the beginning.
    #[schemars(range(min = 0, max = 604_800))]
    pub(super) from: f64,
    /// Seconds from the beginning.
    #[schemars(range(min = 0, max = 604_800))]
    pub(super) to: f64,
    /// The share of attempts that fail.
    #[schemars(range(min = 0, max = 1))]
    pub(super) failing: Option<f64>,
    /// How many times as long everything takes.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) slow: Option<f64>,
}

/// When requests, or sessions of them, arrive: `rate` with or without `bursts`, or `steps`, or `log`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawArrivals {
    /// A second, independently of each other.
    #[schemars(range(min = 0, max = 10_000))]
    pub(super) rate: Option<f64>,
    /// Times of another rate that come again and again.
    pub(super) bursts: Option<RawBursts>,
    /// Rates, each from its time on.
    #[schemars(length(min = 1, max = 10_000))]
    pub(super) steps: Option<Vec<RawStep>>,
    /// An access log of the gateway, relative to this file: requests arrive as they did then.
    pub(super) log: Option<String>,
    /// How many times as fast as they did then. Default: 1.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1000))]
    pub(super) speed: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBursts {
    /// Seconds from the beginning of one to that of the next; the first comes after so long.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 604_800))]
    pub(super) every: f64,
    /// Seconds.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 604_800))]
    pub(super) lasting: f64,
    /// A second, instead of the other.
    #[schemars(range(min = 0, max = 10_000))]
    pub(super) rate: f64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    /// Seconds from the beginning.
    #[schemars(range(min = 0, max = 604_800))]
    pub(super) from: f64,
    /// A second.
    #[schemars(range(min = 0, max = 10_000))]
    pub(super) rate: f64,
}

/// A kind of request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKind {
    /// How many are of this kind, relative to the others. Default: 1.
    #[serde(default = "whole")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(super) share: f64,
    /// Tokens that the user writes.
    pub(super) prompt: RawDistribution,
    /// Tokens of the answer.
    pub(super) output: RawDistribution,
    /// Tokens that come first in all prompts of this kind, and are the same. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub(super) system: u32,
    /// They come as conversations. Default: each is alone.
    pub(super) session: Option<RawSession>,
    /// Who asks. Default: nobody says.
    pub(super) tenant: Option<String>,
    /// Whether answers are streamed. Default: true.
    #[serde(default = "yes")]
    pub(super) stream: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSession {
    /// Requests of one.
    pub(super) turns: RawDistribution,
    /// Seconds from one to the next.
    pub(super) pause: RawDistribution,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawGateway {
    /// Deployments tried for one request.
    #[schemars(range(min = 1, max = 100))]
    pub(super) attempts: u32,
    /// Seconds to the first byte of an answer.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 86_400))]
    pub(super) first_byte: f64,
    /// Seconds of a whole request.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 31_536_000))]
    pub(super) total: f64,
}

impl Default for RawGateway {
    fn default() -> Self {
        let TotalTime(total) = TotalTime::default();
        Self {
            attempts: Fallback::default().attempts,
            first_byte: Timeouts::default().first_byte.as_secs_f64(),
            total: total.as_secs_f64(),
        }
    }
}

/// A number, or how numbers are spread.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RawDistribution {
    Constant(#[schemars(range(min = 0, max = 1_000_000_000))] f64),
    Shape(RawShape),
}

impl Default for RawDistribution {
    fn default() -> Self {
        Self::Constant(0.0)
    }
}

/// How numbers are spread: one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawShape {
    /// From the first to the second, evenly.
    #[schemars(length(min = 2, max = 2), inner(range(min = 0, max = 1_000_000_000)))]
    pub(super) uniform: Option<Vec<f64>>,
    /// Many small, a few large.
    pub(super) lognormal: Option<RawLogNormal>,
    /// As times between things that happen independently of each other: the mean.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub(super) exponential: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogNormal {
    /// Half are smaller.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub(super) median: f64,
    /// Standard deviation of the logarithm: 0.5 is a little, 1 is much.
    #[schemars(range(min = 0, max = 4))]
    pub(super) sigma: f64,
    /// Larger ones are taken for this. Default: none are.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub(super) max: Option<f64>,
}

fn one() -> u64 {
    1
}

fn whole() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

fn model() -> String {
    "model".to_owned()
}

fn context_length() -> u64 {
    131_072
}
