//! How much failure a deployment, and a request, is allowed: passive ejection, slow start and the
//! retry budget.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::document::steps;
use super::models::Check;
use super::seconds::{self, Time, TimeOrZero};

/// When a deployment that fails its requests is taken out, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ejection {
    /// Failures in a row that take it out. 0: any number is allowed.
    #[serde(with = "zero_is_none")]
    #[schemars(with = "u32", range(min = 0, max = 1000))]
    pub consecutive: Option<u32>,
    /// Percent of the last `window` attempts whose failure takes it out. 0: any share is allowed.
    #[serde(with = "zero_is_none")]
    #[schemars(with = "u32", range(min = 0, max = 100))]
    pub percent: Option<u32>,
    /// Attempts that `percent` is taken of.
    #[schemars(range(min = 1, max = 1000))]
    pub window: u32,
    /// The first ejection lasts so long; the second lasts twice as long, and so on.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    pub base: Duration,
    /// The longest ejection lasts so long: at least `base`.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    pub max: Duration,
}

/// How a deployment that comes back gets its traffic.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SlowStart {
    /// Time until it has its whole weight. 0: it has it at once.
    #[serde(with = "seconds::zero_is_none")]
    #[schemars(with = "TimeOrZero", extend("maximum" = 86_400))]
    pub duration: Option<Duration>,
    /// The share of its weight that it begins with.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub from: f64,
    /// Requests a second of the model below which it gets its whole weight at once.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_rate: f64,
}

/// Extra attempts that requests may make, over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudget {
    /// In percent of the requests.
    #[schemars(range(min = 0, max = 10_000))]
    pub percent: u32,
    /// A second, beside those.
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

/// A number that means none if it is 0.
mod zero_is_none {
    use super::*;

    pub(super) fn serialize<S: Serializer>(number: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(number.unwrap_or(0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
        u32::deserialize(from).map(|number| (number > 0).then_some(number))
    }
}
