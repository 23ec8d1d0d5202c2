//! A strategy's share of CPU time. The caller measures and passes `now`: there is no clock here.

use std::time::{Duration, Instant};

/// The CPU time that a strategy may use: a token bucket that holds the time of one second.
///
/// Idle seconds are not saved up, so no second has more than twice the share.
#[derive(Debug, Clone)]
pub struct CpuShare {
    /// CPU time that comes in each second, in seconds.
    rate: f64,
    /// CPU time that is left, in seconds. Below 0 after a call that took more.
    left: f64,
    /// When `left` was computed. None before the first call.
    at: Option<Instant>,
}

impl CpuShare {
    /// A `share` (above 0, up to 1) of the time of so many `cores`.
    #[must_use]
    pub fn new(share: f64, cores: usize) -> Self {
        let rate = share * cores as f64;
        Self { rate, left: rate, at: None }
    }

    /// CPU time that may be used each second.
    #[must_use]
    pub fn each_second(&self) -> Duration {
        Duration::from_secs_f64(self.rate)
    }

    /// Takes the `time` of a call that ended at `now`. Returns true if that was more than is left.
    #[must_use]
    pub fn spend(&mut self, time: Duration, now: Instant) -> bool {
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        // Cores may report out of order.
        self.at = self.at.max(Some(now));
        self.left = (self.left + self.rate * since.as_secs_f64()).min(self.rate);
        self.left -= time.as_secs_f64();
        let is_over = self.left < 0.0;
        if is_over {
            // The rest that follows settles the debt.
            self.left = self.rate;
        }
        is_over
    }
}

/// Moving average of the time of a strategy's calls: each call has a weight of 1/64.
#[derive(Debug, Clone, Copy)]
pub struct MeanTime {
    nanoseconds: f64,
    /// True after a call that seemed long.
    is_doubted: bool,
}

impl MeanTime {
    /// Calls that take less on average are never charged. They are the intended use.
    pub const FREE: Duration = Duration::from_micros(20);
    const WEIGHT: f64 = 1.0 / 64.0;

    /// Adds a call.
    pub fn add(&mut self, time: Duration) {
        self.nanoseconds += Self::WEIGHT * (time.as_nanos() as f64 - self.nanoseconds);
        self.is_doubted = false;
    }

    /// Adds a call that took at most `time`: its thread may have been preempted meanwhile. A long
    /// one changes the mean only if the next call, which is then to be measured exactly, is long.
    pub fn add_at_most(&mut self, time: Duration) {
        match time < Self::FREE {
            true => self.add(time),
            false => self.is_doubted = true,
        }
    }

    /// True if calls take less than [`FREE`](Self::FREE).
    #[must_use]
    pub fn is_free(self) -> bool {
        self.nanoseconds < Self::FREE.as_nanos() as f64
    }

    /// True if calls take less than half of [`FREE`](Self::FREE), also the last one. How much less
    /// then matters little.
    #[must_use]
    pub fn is_far_from_charged(self) -> bool {
        !self.is_doubted && 2.0 * self.nanoseconds < Self::FREE.as_nanos() as f64
    }
}

impl Default for MeanTime {
    /// Before the first call nothing is known, so the calls are measured and charged.
    fn default() -> Self {
        Self { nanoseconds: Self::FREE.as_nanos() as f64, is_doubted: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The number of calls of `time`, one each `interval`, until they are too many. At most 10,000.
    fn calls(share: &mut CpuShare, time: Duration, interval: Duration) -> Option<u32> {
        let start = Instant::now();
        (1..=10_000).find(|number| share.spend(time, start + interval * *number))
    }

    #[test]
    fn what_stays_below_the_share_goes_on() {
        assert_eq!(calls(&mut CpuShare::new(0.1, 1), 9 * MS, 100 * MS), None);
        assert_eq!(calls(&mut CpuShare::new(0.1, 2), MS, 5 * MS), None);
        // One burst within the time of a second.
        assert_eq!(calls(&mut CpuShare::new(0.1, 1), 99 * MS, 1_000 * MS), None);
    }

    #[test]
    fn what_goes_beyond_is_told_within_a_second() {
        // 500 calls of 4.8 ms a second, on two cores.
        let time = Duration::from_micros(4_800);
        assert_eq!(calls(&mut CpuShare::new(0.1, 2), time, 2 * MS), Some(46));
        // A call of 95 ms each 100 ms.
        assert_eq!(calls(&mut CpuShare::new(0.1, 1), 95 * MS, 100 * MS), Some(2));
        // A tenth more than the share takes longer.
        assert_eq!(calls(&mut CpuShare::new(0.1, 1), 11 * MS, 100 * MS), Some(91));
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let (mut share, now) = (CpuShare::new(0.1, 1), Instant::now());
        assert!(!share.spend(MS, now));
        assert!(share.spend(101 * MS, now + 3_600_000 * MS));
        assert!(!share.spend(99 * MS, now + 3_600_000 * MS), "it begins anew");
        assert!(!share.spend(MS, now), "an older call gives no time back");
        assert!(share.spend(MS, now));
    }

    #[test]
    fn a_share_of_everything_is_no_limit() {
        assert_eq!(calls(&mut CpuShare::new(1.0, 1), 100 * MS, 100 * MS), None);
        assert_eq!(CpuShare::new(0.1, 3).each_second(), 300 * MS);
    }

    #[test]
    fn quick_calls_are_free_and_slow_ones_show_at_once() {
        let mut mean = MeanTime::default();
        assert!(!mean.is_free(), "unknown");
        (0..100).for_each(|_| mean.add(Duration::from_micros(2)));
        assert!(mean.is_free() && mean.is_far_from_charged());
        mean.add(5 * MS);
        assert!(!mean.is_free());
        (0..200).for_each(|_| mean.add(Duration::from_micros(15)));
        assert!(mean.is_free() && !mean.is_far_from_charged());
    }

    #[test]
    fn a_call_that_was_preempted_makes_the_next_one_measured_and_no_more() {
        let mut mean = MeanTime::default();
        (0..100).for_each(|_| mean.add(Duration::from_micros(2)));
        mean.add_at_most(5 * MS);
        assert!(mean.is_free() && !mean.is_far_from_charged());
        mean.add(Duration::from_micros(2));
        assert!(mean.is_far_from_charged());
        mean.add_at_most(5 * MS);
        mean.add(5 * MS);
        assert!(!mean.is_free(), "it was long indeed");
    }
}
