//! The effective cost of a request: what it costs, or for prepaid requests what it is worth.

use gateway_strategy::Price;

/// The greatest share of a quota that its price is asked for.
const MOST_USED: f64 = 0.9999;

/// Dollars of a request with so many tokens of the prompt, of them cached, and of the answer.
#[must_use]
pub fn on_demand(price: Price, prompt: f64, cached: f64, output: f64) -> f64 {
    let cached = cached.clamp(0.0, prompt);
    price.prompt * (prompt - cached) + price.cached * cached + price.completion * output
}

/// The price of a prepaid request, of which the share `used` is gone: it rises from `low` to `high`.
///
/// Between them, each further percent of the quota costs the same percentage more. So a quota with
/// much left serves also cheap requests, and one that is nearly spent serves only dear ones.
#[must_use]
pub fn prepaid(used: f64, [low, high]: [f64; 2]) -> f64 {
    match 0.0 < low && low < high {
        true => low * (high / low).powf(used.clamp(0.0, MOST_USED)),
        false => low.max(0.0),
    }
}

/// The value below which this share of the sorted values is. Between two values it is in proportion.
#[must_use]
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let at = last as f64 * share;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to last")]
    let below = at as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    Some(low + (high - low) * at.fract())
}
