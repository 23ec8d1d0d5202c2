//! A scenario as written in its file. The schema, and so the errors, come from these types.

use schemars::JsonSchema;
use serde::Deserialize;

use config::{Concurrency, Fallback, Hedging, RawBudget, SlowStart, Timeouts, TotalTime};

/// A fleet and its requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioFile {
    /// What the scenario demonstrates, in a line or two.
    #[serde(default)]
    pub(super) description: String,
    /// Seed of all random numbers. The same seed gives the same run.
    #[serde(default = "one")]
    pub(super) seed: u64,
    /// Seconds in which requests arrive. Default: the duration of the log or trace.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 604_800))]
    pub(super) duration: Option<f64>,
    /// The id of the model of all requests.
    #[serde(default = "model")]
    #[schemars(length(min = 1))]
    pub(super) model: String,
    /// As in models.yaml: the most tokens of an answer. Longer ones end there. Default: no such limit.
    #[schemars(range(min = 1))]
    pub(super) max_output_length: Option<u32>,
    /// The deployments of the model.
    #[schemars(length(min = 1, max = 128))]
    pub(super) deployments: Vec<RawDeployment>,
    /// When requests arrive.
    pub(super) arrivals: RawArrivals,
    /// The kinds of requests.
    #[schemars(length(min = 1, max = 64))]
    pub(super) requests: Vec<RawKind>,
    /// Settings of the gateway.
    #[serde(default)]
    pub(super) gateway: RawGateway,
    /// As in routing.yaml: money for windows of time. Each gateway has its own. The simulation begins on
    /// Monday, 2026-01-05, at midnight, UTC.
    #[serde(default)]
    pub(super) budgets: Vec<RawBudget>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDeployment {
    /// Unique name of the deployment.
    #[schemars(length(min = 1, max = 64))]
    pub(super) name: String,
    pub(super) side: RawSide,
    /// The configured weight relative to the other deployments. Default: 1.
    #[serde(default = "whole")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(super) weight: f64,
    /// Sequences that the engine runs at a time.
    #[schemars(range(min = 1, max = 4096))]
    pub(super) parallel: u32,
    /// Round-trip time of the network in seconds. Default: 0.
    #[serde(default)]
    pub(super) latency: RawDistribution,
    /// Prompt tokens read per second.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1_000_000_000))]
    pub(super) prefill: f64,
    /// Answer tokens written per second by a sequence that runs alone.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1_000_000_000))]
    pub(super) decode: f64,
    /// Relative increase of a step's time for each further sequence. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub(super) slowdown: f64,
    /// Variation of the speed: the standard deviation of its logarithm. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2))]
    pub(super) jitter: f64,
    /// Size of the prefix cache in prompt tokens. Default: 0.
    #[serde(default)]
    pub(super) cache: u64,
    /// Maximum tokens of prompt and answer together. Default: 131072.
    #[serde(default = "context_length")]
    #[schemars(range(min = 1))]
    pub(super) context_length: u64,
    /// Price in US dollars per token. Default: none.
    pub(super) price: Option<RawPrice>,
    /// The share of attempts that fail, inside and outside of outages. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub(super) failures: f64,
    /// The outages of the deployment.
    #[serde(default)]
    pub(super) outages: Vec<RawOutage>,
    /// What the engine does with a request that finds its queue full. Default: its queue has no
    /// end.
    pub(super) refuses: Option<RawRefusal>,
    /// Changes of the engine's speed. Default: none.
    pub(super) drift: Option<RawDrift>,
    /// As in routing.yaml: limits of concurrent attempts and of the line.
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
    /// US dollars per prompt token.
    #[schemars(range(min = 0, max = 1000))]
    pub(super) prompt: f64,
    /// US dollars per answer token.
    #[schemars(range(min = 0, max = 1000))]
    pub(super) completion: f64,
}

/// Refusals of a full engine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRefusal {
    /// Maximum number of requests in the engine's queue. A request that finds so many is refused.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(super) queue: u32,
    /// The status of the refusal: 429, 498, 503 or 529. Default: 503.
    #[serde(default = "unavailable")]
    #[schemars(range(min = 400, max = 599))]
    pub(super) status: u16,
    /// Seconds of `Retry-After`. Default: the refusal has no such header.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 3600))]
    pub(super) retry_after: Option<f64>,
}

/// Speed of an engine over time: a wave (`period` and `amplitude`), or `steps`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDrift {
    /// Seconds of one wave.
    #[schemars(range(min = 10, max = 604_800))]
    pub(super) period: Option<f64>,
    /// The largest deviation of the wave from the configured speed, relative to it.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 0.95))]
    pub(super) amplitude: Option<f64>,
    /// Speeds from given times on.
    #[schemars(length(min = 1, max = 10_000))]
    pub(super) steps: Option<Vec<RawSpeed>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSpeed {
    /// Start of this speed, in seconds of the simulation.
    #[schemars(range(min = 0, max = 604_800))]
    pub(super) from: f64,
    /// The speed from then on, relative to the configured one.
    #[schemars(range(min = 0.001, max = 1000))]
    pub(super) speed: f64,
}

/// A period of trouble. Without `failing`, `slow` and `stall` the deployment is down.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOutage {
    /// Start of the period, in seconds of the simulation.
    #[schemars(range(min = 0, max = 604_800))]
    pub(super) from: f64,
    /// End of the period, in seconds of the simulation.
    #[schemars(range(min = 0, max = 604_800))]
    pub(super) to: f64,
    /// The share of attempts that fail in this period.
    #[schemars(range(min = 0, max = 1))]
    pub(super) failing: Option<f64>,
    /// Factor by which all work takes longer.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) slow: Option<f64>,
    /// True if the engine accepts requests and begins no answer in this period.
    #[serde(default)]
    pub(super) stall: bool,
}

/// Arrivals of requests, or of sessions: `rate`, or `steps`, or `log`, or `trace`. All but `steps` may have
/// `bursts`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawArrivals {
    /// Arrivals per second, independent of each other.
    #[schemars(range(min = 0, max = 10_000))]
    pub(super) rate: Option<f64>,
    /// Recurring periods with another rate, or with another speed of a log or trace.
    pub(super) bursts: Option<RawBursts>,
    /// Rates that change at given times.
    #[schemars(length(min = 1, max = 10_000))]
    pub(super) steps: Option<Vec<RawStep>>,
    /// Path of an access log of the gateway, relative to this file. Requests arrive as recorded.
    pub(super) log: Option<String>,
    /// Path of a trace, relative to this file: CSV like Azure's, or JSON lines like Mooncake's.
    pub(super) trace: Option<String>,
    /// Seconds of the trace before the part that is played. Default: 0.
    #[schemars(range(min = 0, max = 31_536_000))]
    pub(super) from: Option<f64>,
    /// Maximum number of requests of the part. Default: all.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) limit: Option<u32>,
    /// Speed of the replay relative to the log or trace. Default: 1.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1000))]
    pub(super) speed: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBursts {
    /// Seconds from the start of a burst to the start of the next. The first starts after this
    /// time.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 604_800))]
    pub(super) every: f64,
    /// Duration of a burst in seconds.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 604_800))]
    pub(super) lasting: f64,
    /// Arrivals per second during a burst.
    #[schemars(range(min = 0, max = 10_000))]
    pub(super) rate: Option<f64>,
    /// Speed of the replay during a burst, relative to the log or trace.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1000))]
    pub(super) speed: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    /// Start of this rate, in seconds of the simulation.
    #[schemars(range(min = 0, max = 604_800))]
    pub(super) from: f64,
    /// Arrivals per second from then on.
    #[schemars(range(min = 0, max = 10_000))]
    pub(super) rate: f64,
}

/// A kind of request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKind {
    /// The share of this kind, relative to the others. Default: 1.
    #[serde(default = "whole")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(super) share: f64,
    /// Tokens of the user's message.
    pub(super) prompt: RawDistribution,
    /// Tokens of the answer.
    pub(super) output: RawDistribution,
    /// The limit on tokens of the answer that the requests set. Default: they set none.
    #[schemars(range(min = 1))]
    pub(super) max_tokens: Option<u32>,
    /// Tokens of the system prompt, which all requests of this kind share. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub(super) system: u32,
    /// Requests come as conversations. Default: single requests.
    pub(super) session: Option<RawSession>,
    /// The tenant of the requests. Default: none.
    pub(super) tenant: Option<String>,
    /// True if answers are streamed. Default: true.
    #[serde(default = "yes")]
    pub(super) stream: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSession {
    /// Number of requests in a conversation.
    pub(super) turns: RawDistribution,
    /// Seconds from one request to the next.
    pub(super) pause: RawDistribution,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawGateway {
    /// Maximum attempts for one request.
    #[schemars(range(min = 1, max = 100))]
    pub(super) attempts: u32,
    /// Time-out of the first byte of an answer, in seconds.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 86_400))]
    pub(super) first_byte: f64,
    /// Time-out of a whole request, in seconds.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 31_536_000))]
    pub(super) total: f64,
    /// Instances of each strategy, which are asked in turn.
    #[schemars(range(min = 1, max = 64))]
    pub(super) cores: u8,
    /// Gateways in front of the same engines. Each of them gets a random part of the requests.
    #[schemars(range(min = 1, max = 16))]
    pub(super) gateways: u8,
    /// Seconds between two scrapes of an engine by all gateways together, as `signals.interval` of
    /// routing.yaml. 0: strategies see the engines as they are.
    #[schemars(range(min = 0, max = 60))]
    pub(super) scrape: f64,
    /// As in routing.yaml: limit on second attempts.
    pub(super) hedge: Hedging,
    /// As in routing.yaml: how a deployment that comes back gets its share again.
    pub(super) slow_start: SlowStart,
}

impl Default for RawGateway {
    fn default() -> Self {
        let TotalTime(total) = TotalTime::default();
        Self {
            attempts: Fallback::default().attempts,
            first_byte: Timeouts::default().first_byte.as_secs_f64(),
            total: total.as_secs_f64(),
            cores: 1,
            gateways: 1,
            scrape: 0.0,
            hedge: Hedging::default(),
            slow_start: SlowStart::default(),
        }
    }
}

/// A constant number, or a distribution of numbers.
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

/// A distribution: exactly one of the three keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawShape {
    /// Uniform between the first and the second number.
    #[schemars(length(min = 2, max = 2), inner(range(min = 0, max = 1_000_000_000)))]
    pub(super) uniform: Option<Vec<f64>>,
    /// Log-normal: many small values, a few large ones.
    pub(super) lognormal: Option<RawLogNormal>,
    /// Exponential with this mean, like the times between independent events.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub(super) exponential: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogNormal {
    /// Half of the values are smaller.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub(super) median: f64,
    /// Standard deviation of the logarithm: 0.5 is a small spread, 1 a large one.
    #[schemars(range(min = 0, max = 4))]
    pub(super) sigma: f64,
    /// Larger values become this one. Default: no maximum.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub(super) max: Option<f64>,
}

fn one() -> u64 {
    1
}

fn unavailable() -> u16 {
    503
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
