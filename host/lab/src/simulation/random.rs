//! Random numbers that are the same in every run with the same seed.
//!
//! Each random event draws from its own stream, which the seed and a number that names the event
//! determine. So the number of draws in one event does not affect another, and a request has the
//! same luck under every strategy. Differences between strategies come from their decisions alone.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

/// A named generator, because the library may replace its standard ones.
pub(super) type Stream = Xoshiro256PlusPlus;

/// Mixes a number into a seed.
pub(super) fn mix(seed: u64, number: u64) -> u64 {
    // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The stream of the event that these numbers name.
pub(super) fn stream(seed: u64, name: &[u64]) -> Stream {
    Stream::seed_from_u64(name.iter().fold(seed, |seed, number| mix(seed, *number)))
}

/// A distribution of numbers. Every value drawn is finite and at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Always the same value.
    Constant(f64),
    /// Uniform between the first and the second value.
    Uniform(f64, f64),
    /// The logarithm is normal: many small values and a few large ones, like lengths of prompts.
    LogNormal {
        /// Half of the values are smaller.
        median: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// Larger values become this one.
        max: f64,
    },
    /// Like the times between independent events.
    Exponential {
        /// Mean of the values.
        mean: f64,
    },
}

impl Distribution {
    pub(super) fn draw(self, rng: &mut impl Rng) -> f64 {
        match self {
            Self::Constant(value) => value,
            Self::Uniform(from, to) => from + (to - from) * rng.random::<f64>(),
            Self::LogNormal { median, sigma, max } => {
                (median * (sigma * normal(rng)).exp()).min(max)
            }
            Self::Exponential { mean } => exponential(mean, rng),
        }
    }

    /// Draws an integer: rounded, and at least `least`.
    pub(super) fn count(self, least: u32, rng: &mut impl Rng) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 0, and a cast saturates"
        )]
        let count = self.draw(rng).round() as u32;
        count.max(least)
    }

    pub(super) fn seconds(self, rng: &mut impl Rng) -> Duration {
        seconds(self.draw(rng))
    }
}

/// Converts seconds to a duration, limited to the range from 0 to about 30 years.
pub(super) fn seconds(seconds: f64) -> Duration {
    const LONGEST: f64 = 1e9;
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST))
}

/// A random number above 0 and at most 1, so that its logarithm is finite.
fn positive(rng: &mut impl Rng) -> f64 {
    1.0 - rng.random::<f64>()
}

pub(super) fn exponential(mean: f64, rng: &mut impl Rng) -> f64 {
    -mean * positive(rng).ln()
}

/// Normal with mean 0 and deviation 1, by the Box-Muller method. Its second value is not used.
pub(super) fn normal(rng: &mut impl Rng) -> f64 {
    let (radius, angle) = ((-2.0 * positive(rng).ln()).sqrt(), rng.random::<f64>());
    radius * (std::f64::consts::TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(distribution: Distribution) -> f64 {
        let mut rng = stream(1, &[2]);
        (0..100_000).map(|_| distribution.draw(&mut rng)).sum::<f64>() / 1e5
    }

    #[test]
    fn means_are_those_of_the_books() {
        let near = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 0.01, "{got} {want}");
        near(mean(Distribution::Constant(3.0)), 3.0);
        near(mean(Distribution::Uniform(2.0, 6.0)), 4.0);
        near(mean(Distribution::Exponential { mean: 5.0 }), 5.0);
        let lognormal = Distribution::LogNormal { median: 10.0, sigma: 0.5, max: f64::INFINITY };
        near(mean(lognormal), 10.0 * 0.125_f64.exp());
    }

    #[test]
    fn streams_are_told_apart_by_their_names_and_the_seed() {
        let first = |seed, name: &[u64]| stream(seed, name).random::<u64>();
        assert_eq!(first(1, &[2, 3]), first(1, &[2, 3]));
        assert_ne!(first(1, &[2, 3]), first(1, &[3, 2]));
        assert_ne!(first(1, &[2, 3]), first(2, &[2, 3]));
    }
}
