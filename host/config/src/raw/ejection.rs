//! Ejection, slow start and the retry budget as `routing.yaml` writes them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Ejection, RetryBudget, SlowStart};

use super::routing::Seconds;

/// When a deployment that fails its requests is taken out, and for how long.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawEjection {
    /// Failures in a row that take it out. 0: any number is allowed.
    #[schemars(range(min = 0, max = 1000))]
    consecutive: u32,
    /// Percent of the last `window` attempts whose failure takes it out. 0: any share is allowed.
    #[schemars(range(min = 0, max = 100))]
    percent: u32,
    /// Attempts that `percent` is taken of.
    #[schemars(range(min = 1, max = 1000))]
    window: u32,
    /// Seconds of the first ejection; the second lasts twice as long, and so on.
    base: Seconds,
    /// Seconds of the longest ejection.
    max: Seconds,
}

/// How a deployment that comes back gets its traffic.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawSlowStart {
    /// Seconds until it has its whole weight. 0: it has it at once.
    #[schemars(range(min = 0, max = 86_400))]
    duration: f64,
    /// The share of its weight that it begins with.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    from: f64,
    /// Requests a second of the model below which it gets its whole weight at once.
    #[schemars(range(min = 0, max = 1_000_000))]
    min_rate: f64,
}

/// Extra attempts that requests may make, over all of them.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawBudget {
    /// In percent of the requests.
    #[schemars(range(min = 0, max = 10_000))]
    percent: u32,
    /// A second, beside those.
    #[schemars(range(min = 0, max = 100_000))]
    per_second: u32,
}

impl Default for RawEjection {
    fn default() -> Self {
        let Ejection { consecutive, percent, window, base, max } = Ejection::default();
        Self {
            consecutive: consecutive.unwrap_or(0),
            percent: percent.unwrap_or(0),
            window,
            base: base.into(),
            max: max.into(),
        }
    }
}

impl From<RawEjection> for Ejection {
    fn from(raw: RawEjection) -> Self {
        let RawEjection { consecutive, percent, window, base, max } = raw;
        Self {
            consecutive: (consecutive > 0).then_some(consecutive),
            percent: (percent > 0).then_some(percent),
            window,
            base: base.into(),
            max: max.into(),
        }
    }
}

impl Default for RawSlowStart {
    fn default() -> Self {
        let SlowStart { duration, from, min_rate } = SlowStart::default();
        Self { duration: duration.unwrap_or_default().as_secs_f64(), from, min_rate }
    }
}

impl From<RawSlowStart> for SlowStart {
    fn from(raw: RawSlowStart) -> Self {
        let RawSlowStart { duration, from, min_rate } = raw;
        let on = Duration::try_from_secs_f64(duration).ok().filter(|time| !time.is_zero());
        Self { duration: on, from, min_rate }
    }
}

impl Default for RawBudget {
    fn default() -> Self {
        let RetryBudget { percent, per_second } = RetryBudget::default();
        Self { percent, per_second }
    }
}

impl From<RawBudget> for RetryBudget {
    fn from(raw: RawBudget) -> Self {
        Self { percent: raw.percent, per_second: raw.per_second }
    }
}
