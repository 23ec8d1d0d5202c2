//! Quantiles of the times of the last minutes, in bounded memory.
//!
//! A time falls into one of [`BUCKETS`] buckets, each a tenth wider than the one before, so that a
//! quantile is wrong by at most 5 %. Each of [`WINDOWS`] sub-windows has its own buckets, and the
//! oldest is emptied for the next. A sketch takes 3.4 KiB. Recording is two atomic additions and
//! waits for nobody.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Sub-windows that a quantile is computed from, the current one included.
const WINDOWS: usize = 10;
/// Upper bound of the first bucket. Shorter times count as this long.
const SHORTEST: Duration = Duration::from_micros(100);
/// Each bucket ends at this multiple of its beginning.
const GROWTH: f64 = 1.1;
/// The last bucket begins at about 620 s. Longer times count as this long.
const BUCKETS: usize = 166;
/// A sub-window counts only so many times, which keeps its 16-bit counts from wrapping. Those of
/// the longest sub-window suffice for 700 answers a second.
const MOST: u32 = 65_000;
/// Quantiles are computed anew after this time.
const FRESH: Duration = Duration::from_millis(500);

/// The quantiles that are kept.
pub(super) const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// A histogram of the times of the last ten sub-windows.
#[derive(Debug)]
pub(super) struct Sketch {
    /// When the first sub-window began.
    start: Instant,
    /// Length of a sub-window.
    length: Duration,
    windows: [Window; WINDOWS],
    /// Number of the period of [`FRESH`] in which `quantiles` were computed.
    computed: AtomicU64,
    /// In milliseconds, as the bits of an `f64`.
    quantiles: [AtomicU64; QUANTILES.len()],
}

#[derive(Debug)]
struct Window {
    /// Number of the sub-window whose times it holds, plus 1. 0: none.
    number: AtomicU32,
    total: AtomicU32,
    counts: [AtomicU16; BUCKETS],
}

impl Default for Window {
    fn default() -> Self {
        let counts = [const { AtomicU16::new(0) }; BUCKETS];
        Self { number: AtomicU32::new(0), total: AtomicU32::new(0), counts }
    }
}

impl Sketch {
    /// A sketch of the time of ten sub-windows, the first of which begins at `start`.
    pub(super) fn new(length: Duration, start: Instant) -> Self {
        let quantiles = [const { AtomicU64::new(f64::NAN.to_bits()) }; QUANTILES.len()];
        let (windows, computed) = Default::default();
        Self { start, length, windows, computed, quantiles }
    }

    /// Records a time that was measured at `now`.
    pub(super) fn record(&self, time: Duration, now: Instant) {
        let number = self.number(now);
        let window = &self.windows[number as usize % WINDOWS];
        let held = window.number.load(Ordering::Acquire);
        // One core empties the window. Times that others record meanwhile may be lost.
        if held < number
            && window
                .number
                .compare_exchange(held, number, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        {
            window.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
            window.total.store(0, Ordering::Relaxed);
        }
        if window.total.load(Ordering::Relaxed) < MOST {
            window.total.fetch_add(1, Ordering::Relaxed);
            window.counts[bucket(time)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The quantile at this position of [`QUANTILES`], in milliseconds. NaN if nothing was recorded
    /// in the time of the sketch.
    pub(super) fn quantile(&self, at: usize, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.start);
        let period = u64::try_from(passed.as_millis() / FRESH.as_millis()).unwrap_or(0) + 1;
        let computed = self.computed.load(Ordering::Relaxed);
        // Only one core computes. Others take the values before.
        if computed != period
            && self
                .computed
                .compare_exchange(computed, period, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.compute(self.number(now));
        }
        f64::from_bits(self.quantiles[at].load(Ordering::Relaxed))
    }

    fn compute(&self, number: u32) {
        let mut sums = [0u32; BUCKETS];
        let is_live = |window: &&Window| {
            let held = window.number.load(Ordering::Acquire);
            held > 0 && number.saturating_sub(held) < WINDOWS as u32
        };
        for window in self.windows.iter().filter(is_live) {
            for (sum, count) in sums.iter_mut().zip(&window.counts) {
                *sum += u32::from(count.load(Ordering::Relaxed));
            }
        }
        let total: u32 = sums.iter().sum();
        for (cell, quantile) in self.quantiles.iter().zip(QUANTILES) {
            let rank = (quantile * f64::from(total)).ceil().max(1.0);
            let mut seen = 0.0;
            let found = sums.iter().position(|count| {
                seen += f64::from(*count);
                seen >= rank
            });
            let value = found.map_or(f64::NAN, middle);
            cell.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    /// Number of the sub-window at `now`, plus 1.
    fn number(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.start);
        let number = passed.as_millis() / self.length.as_millis();
        u32::try_from(number).unwrap_or(u32::MAX - 1) + 1
    }
}

fn bucket(time: Duration) -> usize {
    let steps = time.div_duration_f64(SHORTEST).max(1.0).ln() / GROWTH.ln();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 0, and a cast saturates"
    )]
    let bucket = steps.ceil() as usize;
    bucket.min(BUCKETS - 1)
}

/// The geometric middle of a bucket, in milliseconds.
fn middle(bucket: usize) -> f64 {
    let bucket = i32::try_from(bucket).unwrap_or(i32::MAX);
    let middle = if bucket == 0 { 1.0 } else { GROWTH.powi(bucket) / GROWTH.sqrt() };
    SHORTEST.as_secs_f64() * 1e3 * middle
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(6);

    fn begin() -> (Sketch, Instant) {
        let now = Instant::now();
        (Sketch::new(LENGTH, now), now)
    }

    fn quantiles(sketch: &Sketch, now: Instant) -> [f64; 3] {
        [0, 1, 2].map(|at| sketch.quantile(at, now))
    }

    #[test]
    fn the_size_is_the_one_that_is_documented() {
        assert!(size_of::<Sketch>() <= 3500, "{}", size_of::<Sketch>());
    }

    #[test]
    fn times_leave_with_their_sub_window() {
        let (sketch, start) = begin();
        assert!(quantiles(&sketch, start).iter().all(|value| value.is_nan()));
        for nth in 0..10 {
            let now = start + LENGTH * nth;
            sketch.record(Duration::from_millis(100 * (u64::from(nth) + 1)), now);
        }
        let near = |got: f64, want: f64| (got / want - 1.0).abs() < 0.05;
        let last = start + LENGTH * 9 + FRESH;
        assert!(near(sketch.quantile(0, last), 500.0), "{:?}", quantiles(&sketch, last));
        assert!(near(sketch.quantile(2, last), 1000.0));
        // Five sub-windows later the five shortest times are gone.
        let later = start + LENGTH * 14;
        assert!(near(sketch.quantile(0, later), 800.0), "{:?}", quantiles(&sketch, later));
        assert!(sketch.quantile(0, start + LENGTH * 19).is_nan(), "all are gone");
    }

    #[test]
    fn a_window_that_comes_round_again_begins_empty() {
        let (sketch, start) = begin();
        (0..100).for_each(|_| sketch.record(Duration::from_secs(9), start));
        let round = start + LENGTH * 10;
        sketch.record(Duration::from_millis(1), round);
        assert!(sketch.quantile(2, round) < 2.0);
        // A core with an older clock changes nothing that was begun.
        sketch.record(Duration::from_millis(1), start);
        assert!(sketch.quantile(2, round + FRESH) < 2.0);
    }

    #[test]
    fn counts_never_wrap() {
        let (sketch, start) = begin();
        (0..70_000).for_each(|_| sketch.record(Duration::from_secs(1), start));
        (0..700).for_each(|_| sketch.record(Duration::from_secs(9), start + LENGTH));
        let now = start + LENGTH;
        assert!(sketch.quantile(1, now) < 1100.0 && sketch.quantile(2, now) > 8000.0);
    }

    proptest! {
        #[test]
        fn a_quantile_is_wrong_by_five_percent_at_most(
            micros in prop::collection::vec(100u64..600_000_000, 1..400),
        ) {
            let (sketch, start) = begin();
            for (nth, micros) in micros.iter().enumerate() {
                let within = Duration::from_millis(u64::try_from(nth % 50).unwrap_or(0) * 1000);
                sketch.record(Duration::from_micros(*micros), start + within);
            }
            let mut sorted = micros;
            sorted.sort_unstable();
            for (at, quantile) in QUANTILES.into_iter().enumerate() {
                #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation,
                    clippy::cast_sign_loss, reason = "small")]
                let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let exact = sorted[rank - 1] as f64 / 1e3;
                let got = sketch.quantile(at, start + Duration::from_secs(50));
                prop_assert!((got / exact - 1.0).abs() <= 0.05, "{got} for {exact}");
            }
        }
    }
}
