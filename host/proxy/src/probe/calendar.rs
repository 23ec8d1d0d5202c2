//! When a place is probed. Probes are spread over the interval, so that a large fleet is not probed
//! in one instant.

use std::hash::{BuildHasher, Hash};
use std::time::{Duration, Instant};

/// Most time over which the first probes of a large fleet are spread: a place that is down must be
/// known soon.
const FIRST: Duration = Duration::from_secs(1);
/// With at least this many new places, their first probes are spread over all of [`FIRST`]. With
/// fewer, each is sent a hundredth of it after the one before.
const MANY: u32 = 100;
/// Most that a probe is earlier or later than its turn, as a part of the interval.
const JITTER: f64 = 0.1;
/// Least time between the end of a probe and the turn of the next one, as a part of the interval.
const LEAST: f64 = 0.25;

/// The turns of all places. Each place has one turn in every interval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calendar {
    began: Instant,
    interval: Duration,
}

impl Calendar {
    pub(crate) fn new(began: Instant, interval: Duration) -> Self {
        Self { began, interval }
    }

    /// When the first probe of the `nth` of `of` new places is sent.
    pub(crate) fn first(&self, nth: usize, of: usize, now: Instant) -> Instant {
        let [nth, of] = [nth, of].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let part = f64::from(nth) / f64::from(of.max(MANY));
        now + self.interval.min(FIRST).mul_f64(part)
    }

    /// The next probe of a place whose last probe ended at `now`. `phase` is its share of the
    /// interval, 0 to 1, and `jitter` is drawn from -1 to 1.
    pub(crate) fn next(&self, phase: f64, jitter: f64, now: Instant) -> Instant {
        let passed = now.saturating_duration_since(self.began).div_duration_f64(self.interval);
        let turn = (passed + LEAST - phase).ceil().max(0.0) + phase;
        self.began + self.interval.mul_f64(turn + jitter * JITTER)
    }
}

/// The phase of a place. It stays the same while the process runs.
pub(crate) fn phase(place: &impl Hash) -> f64 {
    let hash = foldhash::fast::FixedState::default().hash_one(place);
    // Half of the bits are enough, and fit into a float.
    f64::from((hash >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn first_probes_come_soon_and_one_by_one() {
        let now = Instant::now();
        let calendar = Calendar::new(now, 10 * SECOND);
        let after = |nth, of| calendar.first(nth, of, now) - now;
        assert_eq!([after(0, 2), after(1, 2)], [Duration::ZERO, SECOND / 100]);
        assert_eq!([after(0, 1000), after(500, 1000)], [Duration::ZERO, SECOND / 2]);
        let short = Calendar::new(now, SECOND / 10);
        assert_eq!(short.first(50, 100, now) - now, SECOND / 20);
    }

    #[test]
    fn a_place_has_one_turn_in_each_interval() {
        let began = Instant::now();
        let calendar = Calendar::new(began, 10 * SECOND);
        for phase in [0.0, 0.3, 0.999] {
            let mut now = began;
            let mut turns = Vec::new();
            for jitter in [-1.0, 1.0, 0.0, 1.0, -1.0, -1.0, 1.0] {
                now = calendar.next(phase, jitter, now);
                turns.push((now - began).as_secs_f64() / 10.0 - phase - jitter * JITTER);
                now += SECOND / 100;
            }
            let whole = turns.windows(2).all(|pair| (pair[1] - pair[0] - 1.0).abs() < 1e-9);
            assert!(whole && turns[0] < 1.0 + 1e-9, "{phase}: {turns:?}");
        }
    }

    #[test]
    fn a_long_probe_does_not_meet_the_next_one() {
        let began = Instant::now();
        let calendar = Calendar::new(began, 10 * SECOND);
        let next = calendar.next(0.5, -1.0, began + 4 * SECOND);
        assert_eq!(next - began, 14 * SECOND, "the turn at 5 s is too near");
        assert_eq!(calendar.next(0.5, 0.0, began + 2 * SECOND) - began, 5 * SECOND);
    }

    #[test]
    fn phases_are_spread_evenly() {
        let mut tenths = [0; 10];
        for port in 0..10_000 {
            let phase = phase(&format!("http://10.0.0.1:{port}/health"));
            tenths[(phase * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (900..1100).contains(count)), "{tenths:?}");
    }
}
