//! How much failure a deployment, and a request, is allowed: the checked settings of passive
//! ejection, slow start and the retry budget.

use std::time::Duration;

/// When a deployment that fails its requests is taken out, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row that eject. None: any number is allowed. Default 5.
    pub consecutive: Option<u32>,
    /// Percent of the last `window` attempts whose failure ejects. None: any share is allowed.
    /// Default 85.
    pub percent: Option<u32>,
    /// Attempts that `percent` is taken of: at least 1. Default 20.
    pub window: u32,
    /// Of the first ejection; the second lasts twice as long, and so on. Default 30 s.
    pub base: Duration,
    /// Of any ejection: at least `base`. Default 300 s.
    pub max: Duration,
}

/// How a deployment that comes back gets its traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// Until it has its whole weight. None: it has it at once. Default 10 s.
    pub duration: Option<Duration>,
    /// The share of its weight that it begins with, above 0 and at most 1. Default 0.1.
    pub from: f64,
    /// Requests a second of the model below which it gets its whole weight at once. Default 10.
    pub min_rate: f64,
}

/// How many extra attempts requests may make, over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Extra attempts, in percent of the requests. Default 20.
    pub percent: u32,
    /// Extra attempts a second beside those. Default 10.
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
