//! Slow start: the limit of a deployment that comes back.

use std::time::{Duration, Instant};

/// Slow start: the limit rises in a line from `from` to what it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitRamp {
    /// The limit at the start, at least 1.
    pub(crate) from: u32,
    /// The limit at the end.
    pub(crate) to: u32,
    pub(crate) began: Instant,
    pub(crate) lasts: Duration,
}

impl LimitRamp {
    /// The limit at `now`, and when it rises next. None once the ramp is over.
    pub(super) fn limit(&self, now: Instant) -> Option<(u32, Instant)> {
        let passed = now.saturating_duration_since(self.began).div_duration_f64(self.lasts);
        if passed >= 1.0 {
            return None;
        }
        let span = f64::from(self.to.saturating_sub(self.from));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a u32"
        )]
        let risen = (span * passed) as u32;
        let next = self.began + self.lasts.mul_f64((f64::from(risen + 1) / span.max(1.0)).min(1.0));
        Some((self.from + risen, next.max(now + Duration::from_millis(1))))
    }
}
