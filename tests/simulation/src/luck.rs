//! Chance that is the same in every run of a seed.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// A named generator, because the library may replace its standard ones.
pub(crate) type Luck = Xoshiro256PlusPlus;

/// The luck of what these numbers name, so that the draws of one part of the world do not move those
/// of another.
pub(crate) fn luck(seed: u64, names: &[u64]) -> Luck {
    // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    let mix = |seed: u64, number: &u64| {
        let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    Luck::seed_from_u64(names.iter().fold(seed, mix))
}

/// Draws that scenes are made of.
pub(crate) trait Draw {
    /// True with this probability.
    fn chance(&mut self, probability: f64) -> bool;
    /// One of them.
    fn pick<T: Copy>(&mut self, of: &[T]) -> T;
    /// A whole number of milliseconds.
    fn time(&mut self, millis: Range<u64>) -> Duration;
}

impl Draw for Luck {
    fn chance(&mut self, probability: f64) -> bool {
        self.random::<f64>() < probability
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random_range(0..of.len())]
    }

    fn time(&mut self, millis: Range<u64>) -> Duration {
        Duration::from_millis(self.random_range(millis))
    }
}

thread_local! {
    static JITTER: Cell<u64> = const { Cell::new(1) };
}

/// Begins the jitter of a scene that runs on this thread.
pub(crate) fn begin_jitter(seed: u64) {
    JITTER.set(luck(seed, &[u64::MAX]).random::<u64>() | 1);
}

/// The jitter of the fleet, from -1 to 1.
pub(crate) fn jitter() -> f64 {
    // Xorshift (Marsaglia, 2003).
    let mut x = JITTER.get();
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    JITTER.set(x);
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    let part = (x >> 11) as f64 / (1u64 << 53) as f64;
    part * 2.0 - 1.0
}
