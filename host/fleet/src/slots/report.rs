//! What is told of the places of a deployment, beside their numbers.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::Slots;

/// The pressure on a deployment, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PressureReport {
    /// The learned limit. None if the configured one holds.
    pub limit: Option<u32>,
    /// Since when no new request gets a first byte. None: it is not stalled.
    pub stalled: Option<SystemTime>,
    /// Refused attempts (429, 503) so far.
    pub refusals: u64,
    /// Attempts so far without a first byte in time, while others were answered.
    pub stalls: u64,
}

impl Slots {
    /// The pressure on the deployment.
    #[must_use]
    pub fn report(&self) -> PressureReport {
        let mut report = PressureReport {
            limit: None,
            stalled: None,
            refusals: self.refusals.load(Ordering::Relaxed),
            stalls: self.stalls.load(Ordering::Relaxed),
        };
        if self.pressed.load(Ordering::Acquire) {
            let limits = self.lock();
            report.limit = limits.pressure.limit(self.max());
            report.stalled = limits.pressure.stalled();
        }
        report
    }

    /// When a place may become free without any event.
    #[must_use]
    pub fn opens(&self, now: Instant) -> Option<Instant> {
        self.places(now).1
    }

    /// The attempts that may be out now, and when there may be more without any event.
    pub(crate) fn places(&self, now: Instant) -> (u32, Option<Instant>) {
        let max = self.max();
        if !self.is_pressed() {
            return (max, None);
        }
        let room = self.lock().room(self.taken(), max, now);
        (room.limit.min(max), room.opens)
    }

    /// The attempts that it takes at a time, as far as is known.
    #[must_use]
    pub fn limit(&self) -> u32 {
        let max = self.max();
        if !self.is_pressed() {
            return max;
        }
        self.lock().pressure.limit(max).unwrap_or(max)
    }

    /// The requests that the deployment's allowance has left. None if no allowance is known.
    pub(crate) fn quota(&self, now: Instant) -> Option<f64> {
        if !self.is_pressed() {
            return None;
        }
        self.lock().pressure.quota(now)
    }

    /// The used share of the allowance, 0 to 1, and the time until its window turns. None if it is
    /// not known.
    pub(crate) fn quota_used(&self, now: Instant) -> Option<(f64, Duration)> {
        if !self.is_pressed() {
            return None;
        }
        let (share, resets) = self.lock().pressure.quota_used(now)?;
        Some((share, resets.saturating_duration_since(now)))
    }
}
