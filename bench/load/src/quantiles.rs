//! Quantiles of durations.

use std::time::Duration;

use serde_json::{Value, json};

/// Quantiles of `durations` in milliseconds, by nearest rank. `null` without any.
pub(crate) fn of(mut durations: Vec<Duration>) -> Value {
    durations.sort_unstable();
    let rank = |share: f64| {
        let rank = (durations.len() as f64 * share).ceil() as usize;
        durations.get(rank.max(1) - 1).map(|duration| duration.as_secs_f64() * 1e3)
    };
    json!({"p50_ms": rank(0.5), "p90_ms": rank(0.9), "p99_ms": rank(0.99), "max_ms": rank(1.0)})
}
