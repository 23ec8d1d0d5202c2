//! `routing_parameter` of `score`. [`rules`](crate::rules) checks what the schema cannot.

use gateway_strategy::parameters::Positive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Each gives every deployment a score from 0 to 1. The score of a deployment is their weighted
    /// average.
    #[schemars(length(min = 1, max = 32))]
    pub scorers: Vec<Scorer>,
    /// Deployments that do not pass all of them are standbys. A filter that none would pass is left
    /// out.
    #[schemars(length(max = 16))]
    pub filters: Vec<Filter>,
    /// How a deployment is picked by score. best: the highest. weighted: at random, in proportion.
    /// best-of-two: the higher one of two random ones.
    pub picker: Picker,
}

/// What makes a deployment a good choice: one of signal, tag and side.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scorer {
    /// A number of each deployment: a signal such as engine.kv, or a field such as load.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"engine.kv", example = &"load", example = &"session")]
    pub signal: Option<String>,
    /// Deployments with this tag score 1, others 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"h100")]
    pub tag: Option<String>,
    /// Deployments of this side score 1, others 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// The weight beside the other scorers.
    pub weight: Weight,
    /// Which values are better. Default: what the signal is known for, else lower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
    /// The value that scores 1, as better ones do. Default: the end of a signal from 0 to 1, else the
    /// best value among the deployments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 500)]
    pub best: Option<f64>,
    /// The value that scores 0, as worse ones do. Default: the end of a signal from 0 to 1, else the
    /// worst value among the deployments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 5000)]
    pub worst: Option<f64>,
}

/// Which deployments may be picked: one of signal, tag and side.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// A number of each deployment, as in scorers. It needs above, below, or both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"engine.kv")]
    pub signal: Option<String>,
    /// Values above this pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Values below this pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.9)]
    pub below: Option<f64>,
    /// Deployments with this tag pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"eu")]
    pub tag: Option<String>,
    /// Deployments of this side pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
}

/// The weight of a scorer. Default: 1.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Weight(pub Positive);

impl Default for Weight {
    fn default() -> Self {
        Self(Positive::thousandths(1_000))
    }
}

/// Who runs a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Side {
    Local,
    Remote,
}

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Better {
    Lower,
    Higher,
}

/// How a deployment is picked by score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the parameter says what each is")]
pub enum Picker {
    #[default]
    Best,
    Weighted,
    BestOfTwo,
}

impl Default for Parameters {
    /// The scorers that llm-d begins with, but equal weights. It gives prefixes 3, against 2 and 2 for
    /// load and cache. Where the cache is unknown, 3 against 2 fills the deployment that had a common
    /// beginning first, beside idle ones.
    fn default() -> Self {
        let scorer = |signal: &str, weight| Scorer {
            signal: Some(signal.to_owned()),
            weight: Weight(Positive::thousandths(weight)),
            ..Scorer::default()
        };
        let scorers =
            vec![scorer("load", 2_000), scorer("engine.kv", 2_000), scorer("prefix.tokens", 2_000)];
        Self { scorers, filters: Vec::new(), picker: Picker::default() }
    }
}
