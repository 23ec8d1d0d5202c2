//! Counts the events of the last seconds, in one atomic that all cores share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bits of each of the two counts. The other 24 bits are the number of the window.
const BITS: u32 = 20;
/// Counts saturate here.
const FULL: u64 = (1 << BITS) - 1;

/// A sliding count: the events of the current window, plus the share of the window before it that
/// is less than one window old.
///
/// Events of the window before are assumed to be evenly spread. This is exact enough for a rate,
/// and needs only one word.
#[derive(Debug)]
pub struct Rate {
    start: Instant,
    window: Duration,
    /// From the high bits down: number of the window, count of the window before, count so far.
    word: AtomicU64,
}

#[derive(Clone, Copy)]
struct Counts {
    window: u64,
    before: u64,
    so_far: u64,
}

impl Rate {
    /// Starts at `now` without events.
    #[must_use]
    pub fn new(window: Duration, now: Instant) -> Self {
        Self { start: now, window, word: AtomicU64::new(0) }
    }

    /// Counts one event.
    pub fn note(&self, now: Instant) {
        self.note_below(f64::INFINITY, now);
    }

    /// Counts one event, unless the count would exceed `limit`. Returns true if it was counted.
    pub fn note_below(&self, limit: f64, now: Instant) -> bool {
        let step = |word| {
            let (mut counts, part) = self.at(word, now);
            if sum(counts, part) + 1.0 > limit {
                return None;
            }
            counts.so_far = (counts.so_far + 1).min(FULL);
            Some(counts.window << (2 * BITS) | counts.before << BITS | counts.so_far)
        };
        self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok()
    }

    /// Estimated number of events in the window's length before `now`.
    #[must_use]
    pub fn count(&self, now: Instant) -> f64 {
        let (counts, part) = self.at(self.word.load(Ordering::Relaxed), now);
        sum(counts, part)
    }

    /// Average number of events per second over the window.
    #[must_use]
    pub fn per_second(&self, now: Instant) -> f64 {
        self.count(now) / self.window.as_secs_f64()
    }

    /// The counts moved on to `now`, and the part of the current window that has passed, 0 to 1.
    fn at(&self, word: u64, now: Instant) -> (Counts, f64) {
        let old =
            Counts { window: word >> (2 * BITS), before: word >> BITS & FULL, so_far: word & FULL };
        let windows = now.saturating_duration_since(self.start).div_duration_f64(self.window);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 0, and 2^24 windows are years"
        )]
        let window = windows as u64;
        match window.checked_sub(old.window) {
            // Another core has read a later time and moved the window on.
            None => (old, 0.0),
            Some(0) => (old, windows.fract()),
            Some(1) => (Counts { window, before: old.so_far, so_far: 0 }, windows.fract()),
            Some(_) => (Counts { window, before: 0, so_far: 0 }, windows.fract()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts have 20 bits")]
fn sum(counts: Counts, part: f64) -> f64 {
    counts.before as f64 * (1.0 - part) + counts.so_far as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate_and_silence_has_none() {
        let start = Instant::now();
        let rate = Rate::new(Duration::from_secs(5), start);
        let mut now = start;
        for _ in 0..1000 {
            now += Duration::from_millis(50);
            rate.note(now);
        }
        assert!((rate.per_second(now) - 20.0).abs() < 0.5, "{}", rate.per_second(now));
        assert!(rate.per_second(now + Duration::from_secs(5)) <= 20.0);
        assert!(rate.per_second(now + Duration::from_secs(10)) < 1e-9);
    }

    #[test]
    fn a_limit_is_kept_and_an_early_clock_changes_nothing() {
        let start = Instant::now();
        let rate = Rate::new(Duration::from_secs(1), start);
        let later = start + Duration::from_millis(2500);
        assert!(rate.note_below(2.0, later));
        assert!(rate.note_below(2.0, start), "of the same window, as far as is known");
        assert!(!rate.note_below(2.0, later));
        assert_eq!(rate.count(later), 2.0);
    }

    #[test]
    fn events_leave_evenly_over_the_next_window() {
        let start = Instant::now();
        let rate = Rate::new(Duration::from_secs(4), start);
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        (0..8).for_each(|_| rate.note(at(1.0)));
        (0..2).for_each(|_| rate.note(at(5.0)));
        for (seconds, count) in
            [(5.0, 8.0), (6.0, 6.0), (7.0, 4.0), (7.5, 3.0), (8.0, 2.0), (10.0, 1.0), (12.0, 0.0)]
        {
            assert!((rate.count(at(seconds)) - count).abs() < 1e-9, "after {seconds} s");
            assert!((rate.per_second(at(seconds)) - count / 4.0).abs() < 1e-9);
        }
        assert!(rate.note_below(1.0, at(12.0)), "exactly the limit");
        assert!(!rate.note_below(1.5, at(12.0)));
        assert!(rate.note_below(2.0, at(12.0)));
    }

    #[test]
    fn a_count_that_is_full_stays_full() {
        let start = Instant::now();
        let rate = Rate::new(Duration::from_secs(1), start);
        rate.word.store(3 << (2 * BITS) | 5 << BITS | (FULL - 1), Ordering::Relaxed);
        let now = start + Duration::from_secs(3);
        for _ in 0..3 {
            rate.note(now);
            assert_eq!(rate.word.load(Ordering::Relaxed), 3 << (2 * BITS) | 5 << BITS | FULL);
        }
    }
}
