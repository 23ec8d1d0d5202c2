//! How much failure is tolerated: ejection of deployments, slow start, and the retry budget.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::document::steps;
use super::models::Check;
use super::seconds::{self, Time, TimeOrZero};

/// When a failing deployment is ejected, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ejection {
    /// Failures in a row that eject it. 0: off.
    #[serde(with = "zero_is_none")]
    #[schemars(with = "u32", range(min = 0, max = 1000))]
    pub consecutive: Option<u32>,
    /// Percent of the last `window` attempts whose failure ejects it. 0: off.
    #[serde(with = "zero_is_none")]
    #[schemars(with = "u32", range(min = 0, max = 100))]
    pub percent: Option<u32>,
    /// The number of last attempts that `percent` refers to.
    #[schemars(range(min = 1, max = 1000))]
    pub window: u32,
    /// Time of the first ejection. The second takes twice as long, the third three times, ...
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    pub base: Duration,
    /// Duration of the first ejection if only connections failed: refused, reset, no such name. It
    /// doubles with each further ejection.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    pub connect_base: Duration,
    /// The longest time of an ejection. At least `base`.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    pub max: Duration,
}

/// How a recovered deployment gets its traffic back.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SlowStart {
    /// Time until it has its whole weight. 0: at once.
    #[serde(with = "seconds::zero_is_none")]
    #[schemars(with = "TimeOrZero", extend("maximum" = 86_400))]
    pub duration: Option<Duration>,
    /// The share of its weight that it begins with.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub from: f64,
    /// If the model has fewer requests per second, the deployment gets its whole weight at once.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_rate: f64,
}

/// Most extra attempts, over all requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudget {
    /// Extra attempts in percent of the requests.
    #[schemars(range(min = 0, max = 10_000))]
    pub percent: u32,
    /// Extra attempts per second, in addition to `percent`.
    #[schemars(range(min = 0, max = 100_000))]
    pub per_second: u32,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive: Some(5),
            percent: Some(85),
            window: 20,
            base: Duration::from_secs(30),
            connect_base: Duration::from_secs(1),
            max: Duration::from_secs(300),
        }
    }
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { duration: Some(Duration::from_secs(10)), from: 0.1, min_rate: 10.0 }
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, per_second: 10 }
    }
}

impl Check<'_> {
    pub(super) fn ejection(&mut self, ejection: Ejection) -> Ejection {
        if ejection.max < ejection.base {
            let message = "the longest ejection is shorter than the first";
            let help = "make `max` at least `base`: `ejection: {base: 30, max: 300}`";
            self.errors.push(self.document.error(&steps!["ejection"], message, help));
        }
        ejection
    }
}

/// A number for which 0 means none.
mod zero_is_none {
    use super::*;

    pub(super) fn serialize<S: Serializer>(number: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(number.unwrap_or(0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
        u32::deserialize(from).map(|number| (number > 0).then_some(number))
    }
}
