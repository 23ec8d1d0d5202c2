//! From an order of preference to weights.

use crate::Weights;

/// The factor between the weights of two neighbours in an order.
///
/// The gateway draws in proportion to weights, without replacement. One in a million requests
/// starts at the second of the order. The same holds for each fallback.
pub const STEP: f64 = 1e-6;

/// The least weight in an order. It is above 0, because 0 means standby.
const LEAST: f64 = 1e-300;

/// The weight of a deployment that wins no draw of two.
const LOST: f64 = 1e-9;

/// The most distinct costs with weights of their own: `STEP.powi(50)` is [`LEAST`].
const TIERS: usize = 51;

/// The weights of an order, by tier.
const WEIGHTS: [f64; TIERS] = {
    let mut weights = [1.0; TIERS];
    let mut tier = 1;
    while tier < TIERS {
        weights[tier] = weights[tier - 1] * STEP;
        tier += 1;
    }
    weights[TIERS - 1] = LEAST;
    weights
};

/// Turns costs into weights. An instance keeps one, to reuse its memory.
#[derive(Debug, Clone, Default)]
pub struct Order {
    sorted: Vec<f64>,
}

impl Order {
    /// Replaces each cost by a steeply falling weight: 1 for the lowest, [`STEP`] for the next, its
    /// square for the one after that, and so on. Equal costs get equal weights. No weight is 0.
    ///
    /// Any costs are allowed. Infinity comes after all numbers, and NaN counts as infinity.
    #[must_use]
    pub fn steep(&mut self, mut costs: Weights) -> Weights {
        self.find_tiers(&mut costs);
        for cost in costs.iter_mut() {
            let tier = self.sorted.partition_point(|other| other < cost);
            *cost = WEIGHTS.get(tier).copied().unwrap_or(LEAST);
        }
        costs
    }

    /// Leaves at least the lowest [`TIERS`] distinct costs in `sorted`, or all of them where there are
    /// fewer. Sorting all costs of a large model would take most of the time of a call, for tiers that
    /// all get [`LEAST`].
    fn find_tiers(&mut self, costs: &mut Weights) {
        self.sorted.clear();
        // No cost from here on can be among the lowest. Infinity needs no entry: nothing follows it.
        let mut bound = f64::INFINITY;
        for cost in costs.iter_mut() {
            *cost = comparable(*cost);
            if *cost >= bound {
                continue;
            }
            self.sorted.push(*cost);
            if self.sorted.len() < 2 * TIERS {
                continue;
            }
            // At least half of the entries go, so that few costs cause a sort.
            self.sort_distinct();
            if let Some(last) = self.sorted.get(TIERS - 1) {
                bound = *last;
                self.sorted.truncate(TIERS);
            }
        }
        self.sort_distinct();
    }

    fn sort_distinct(&mut self) {
        self.sorted.sort_unstable_by(f64::total_cmp);
        self.sorted.dedup();
    }

    /// Replaces each cost by the exact probability that it wins when two are drawn and the lower
    /// cost wins. The gateway draws by these weights, so a strategy needs no random numbers for
    /// "the power of two choices".
    ///
    /// Deployments of infinite cost are drawn only where there is no other. Neither they nor the
    /// highest cost win. They get a very small weight, because 0 would mean standby.
    #[must_use]
    pub fn best_of_two(&mut self, mut costs: Weights) -> Weights {
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
        let share = |wins: f64, of: usize| match of {
            1 => 1.0,
            _ => 2.0 * wins / (of as f64 * (of - 1) as f64),
        };
        self.sort(&mut costs);
        let all = match self.sorted.partition_point(|cost| *cost < f64::INFINITY) {
            0 => self.sorted.len(),
            finite => finite,
        };
        for cost in costs.iter_mut() {
            let better = self.sorted.partition_point(|other| other < cost);
            let not_worse = self.sorted.partition_point(|other| other <= cost);
            if not_worse > all {
                *cost = LOST;
                continue;
            }
            #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
            let wins = (all - not_worse) as f64 + (not_worse - better - 1) as f64 / 2.0;
            *cost = share(wins, all).max(LOST);
        }
        costs
    }

    fn sort(&mut self, costs: &mut Weights) {
        self.sorted.clear();
        for cost in costs.iter_mut() {
            *cost = comparable(*cost);
            self.sorted.push(*cost);
        }
        self.sorted.sort_unstable_by(f64::total_cmp);
    }
}

/// A cost in a total order: -0 becomes 0, and NaN becomes infinity, which comes last.
fn comparable(cost: f64) -> f64 {
    if cost.is_nan() { f64::INFINITY } else { cost + 0.0 }
}

/// Maps a number of at least 0 to one from 0 to 1 in the same order. A cost can then be a whole
/// number, its rank, plus a value within the rank.
#[must_use]
pub fn squash(number: f64) -> f64 {
    // 1 - 1/(1+x) would lose digits of small numbers, and x/(1+x) alone is NaN at infinity.
    if number < 1e15 { number / (1.0 + number) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(local: &[f64], remote: &[f64]) -> Weights {
        Weights { local: local.to_vec(), remote: remote.to_vec() }
    }

    #[test]
    fn an_order_falls_steeply() {
        let weights =
            Order::default().steep(costs(&[3.0, 1.0], &[3.0, f64::NAN, f64::INFINITY, -0.0]));
        assert_eq!(weights.local, [STEP.powi(2), STEP]);
        assert_eq!(weights.remote, [STEP.powi(2), STEP.powi(3), STEP.powi(3), 1.0]);
    }

    #[test]
    fn no_weight_in_an_order_is_zero() {
        let long: Vec<f64> = (0..1_000).map(f64::from).collect();
        let weights = Order::default().steep(costs(&long, &[]));
        assert!(weights.iter().all(|weight| weight > 0.0));
        assert!(weights.local.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_long_order_keeps_its_first_tiers() {
        // Three rounds of the same costs, and the lowest last.
        for places in [306, 600, 6_000] {
            let cost = |number: u32| f64::from(number / 2 % (places / 6));
            let all: Vec<f64> = (0..places).rev().map(cost).collect();
            let weights = Order::default().steep(costs(&all[..9], &all[9..]));
            for (cost, weight) in all.iter().zip(weights.iter()) {
                #[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
                let want = STEP.powi(*cost as i32).max(1e-300);
                assert!((weight / want - 1.0).abs() < 1e-12, "{cost} of {places}: {weight}");
            }
        }
    }

    #[test]
    fn a_long_order_is_not_sorted_whole() {
        let mut order = Order::default();
        let falling: Vec<f64> = (0..40_000).rev().map(f64::from).collect();
        let _ = order.steep(costs(&falling, &[]));
        assert!(order.sorted.capacity() <= 4 * TIERS, "{}", order.sorted.capacity());
    }

    #[test]
    fn the_best_of_two_is_exact() {
        let wins = |list: &[f64]| Order::default().best_of_two(costs(list, &[])).local;
        assert_eq!(wins(&[7.0]), [1.0]);
        assert_eq!(wins(&[1.0, 2.0]), [1.0, 1e-9]);
        assert_eq!(wins(&[2.0, 2.0]), [0.5, 0.5]);
        // The best one wins two of the three pairs, the middle one wins one.
        assert_eq!(wins(&[3.0, 1.0, 2.0]), [1e-9, 2.0 / 3.0, 1.0 / 3.0]);
        assert_eq!(wins(&[f64::NAN; 4]), [0.25; 4]);
        // Two are left to draw from, or one.
        let never = f64::INFINITY;
        assert_eq!(wins(&[never, 1.0, never, 1.0]), [1e-9, 0.5, 1e-9, 0.5]);
        assert_eq!(wins(&[never, 1.0, never]), [1e-9, 1.0, 1e-9]);
    }

    #[test]
    fn squashing_keeps_the_order() {
        let numbers = [0.0, 1e-12, 1e-6, 1.0, 1e6, 1e14, f64::INFINITY];
        assert!(numbers.is_sorted_by(|a, b| squash(*a) < squash(*b)));
        assert_eq!((squash(0.0), squash(f64::INFINITY)), (0.0, 1.0));
    }
}
