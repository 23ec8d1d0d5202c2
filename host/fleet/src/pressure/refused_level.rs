//! The level that a deployment refused last, and when it is tried again.

use std::time::{Duration, Instant};

use contract::Side;

/// Time until a refused level is tried again. It doubles up to [`LONGEST`] with each refusal.
const AGAIN: Duration = Duration::from_secs(1);
/// The same for a level that was too slow: trying it costs a request its time.
const AGAIN_SLOW: Duration = Duration::from_secs(4);
const LONGEST: Duration = Duration::from_secs(30);
/// A level that a local deployment refused is tried again sooner, after this many requests. A refusal
/// by one's own engine costs a round trip, and an engine that grew must not stay half used. A stall
/// costs a request its time.
pub(super) const REQUESTS: u32 = 24;
/// Time until a refused level of a shared deployment is tried again, for each place that the
/// gateway has there: a gateway with fewer places tries more often.
const SHARED_AGAIN: Duration = Duration::from_millis(150);
/// Most places that count for [`SHARED_AGAIN`].
const SHARED_PLACES: u32 = 8;

/// The level that was refused last.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusedLevel {
    /// The number of requests that were out.
    pub(super) level: u32,
    /// True if the level was too slow. False: the deployment refused a request.
    pub(super) by_stall: bool,
    step: Duration,
    until: Instant,
    /// Requests since the refusal.
    requests: u32,
}

impl RefusedLevel {
    /// A level that is tried again at `until`, `step` from now but for jitter.
    pub(super) fn new(level: u32, by_stall: bool, step: Duration, until: Instant) -> Self {
        Self { level, by_stall, step, until, requests: 0 }
    }

    /// The time until `level` is tried again. `before`: its last refusal.
    pub(super) fn step(
        before: Option<Self>,
        level: u32,
        by_stall: bool,
        is_shared: bool,
    ) -> Duration {
        match before {
            // The number of places that others leave changes all the time.
            _ if is_shared => SHARED_AGAIN * (level - 1).clamp(1, SHARED_PLACES),
            Some(before) => (before.step * 2).min(LONGEST),
            None if by_stall => AGAIN_SLOW,
            None => AGAIN,
        }
    }

    /// Counts a request.
    pub(super) fn count(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// True if a limit may rise to `level`.
    pub(super) fn allows(&self, level: u32, side: Side, now: Instant) -> bool {
        level < self.level
            || now >= self.until
            || (side == Side::Local && !self.by_stall && self.requests >= REQUESTS)
    }
}
