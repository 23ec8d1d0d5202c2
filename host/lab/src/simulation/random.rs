//! Chance, the same in every run of one seed.
//!
//! Each thing that happens by chance draws from a stream of its own, found from the seed and a number that names
//! the thing. So what one strategy's run draws changes nothing for the next thing, and a request meets the same luck
//! under every strategy: what differs between two strategies is what they decided.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

/// Fixed by name: the standard generators may change with the library.
pub(super) type Stream = Xoshiro256PlusPlus;

/// Mixes a number into a seed.
pub(super) fn mix(seed: u64, number: u64) -> u64 {
    // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The stream of the thing that these numbers name.
pub(super) fn stream(seed: u64, name: &[u64]) -> Stream {
    Stream::seed_from_u64(name.iter().fold(seed, |seed, number| mix(seed, *number)))
}

/// How a number is spread. Every value drawn is finite and at least 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Constant(f64),
    /// Anything from the first to the second, evenly.
    Uniform(f64, f64),
    /// Its logarithm is normal: many small, a few large ones, as lengths of prompts are.
    LogNormal {
        /// Half are smaller.
        median: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// Larger ones are taken for this.
        max: f64,
    },
    /// As the times between things that happen independently of each other.
    Exponential {
        /// The mean.
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

    /// A number of things: rounded, and at least `least`.
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

/// A time that is at least 0; one past what a clock can say is that.
pub(super) fn seconds(seconds: f64) -> Duration {
    const LONGEST: f64 = 1e9;
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST))
}

/// Above 0 and at most 1, so that its logarithm is a number.
fn positive(rng: &mut impl Rng) -> f64 {
    1.0 - rng.random::<f64>()
}

pub(super) fn exponential(mean: f64, rng: &mut impl Rng) -> f64 {
    -mean * positive(rng).ln()
}

/// Mean 0, deviation 1: the method of Box and Muller, of whose two values one is thrown away.
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
