//! The draw: weighted random without replacement. The first is the choice, the rest the order of
//! fallback; standby (weight 0) comes last, in random order.

use rand::{Rng, RngExt};

use crate::config::{Fallback, Standby};

/// The indices of `weights` in the order they are to be tried, at most `fallback.attempts` of them.
/// `usable` says which may be tried at all.
///
/// Each step draws an index with probability proportional to its weight among those left.
#[must_use]
pub fn draw(
    weights: &[f64],
    usable: impl Fn(usize) -> bool,
    fallback: Fallback,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let attempts = fallback.attempts as usize;
    let mut order = Vec::with_capacity(attempts.min(weights.len()));
    let mut left: Vec<usize> =
        (0..weights.len()).filter(|i| usable(*i) && weights[*i] > 0.0).collect();
    while !left.is_empty() && order.len() < attempts {
        let sum: f64 = left.iter().map(|i| weights[*i]).sum();
        let mut point = rng.random::<f64>() * sum;
        // Rounding may leave the point past the end: the last one is then meant.
        let at = left.iter().position(|i| {
            point -= weights[*i];
            point < 0.0
        });
        order.push(left.swap_remove(at.unwrap_or(left.len() - 1)));
    }
    if fallback.standby == Standby::Last {
        let mut standby: Vec<usize> =
            (0..weights.len()).filter(|i| usable(*i) && weights[*i] == 0.0).collect();
        while !standby.is_empty() && order.len() < attempts {
            order.push(standby.swap_remove(rng.random_range(0..standby.len())));
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::config::{Ambiguous, RetryBudget};

    const FALLBACK: Fallback = Fallback {
        attempts: 9,
        standby: Standby::Last,
        ambiguous: Ambiguous::Once,
        budget: RetryBudget { percent: 20, per_second: 10 },
    };

    #[test]
    fn first_choices_follow_the_weights() {
        let mut rng = StdRng::seed_from_u64(1);
        let weights = [0.3, 0.3, 0.4, 0.0];
        let mut first = [0u32; 4];
        for _ in 0..10_000 {
            first[draw(&weights, |_| true, FALLBACK, &mut rng)[0]] += 1;
        }
        for (count, want) in first.iter().zip(weights) {
            assert!((f64::from(*count) / 1e4 - want).abs() < 0.015, "{first:?}");
        }
    }

    #[test]
    fn everyone_comes_once_and_standby_last() {
        let mut rng = StdRng::seed_from_u64(2);
        for _ in 0..100 {
            let order = draw(&[0.0, 0.5, 0.0, 0.5], |_| true, FALLBACK, &mut rng);
            let (mut head, mut tail) = (order[..2].to_vec(), order[2..].to_vec());
            head.sort_unstable();
            tail.sort_unstable();
            assert_eq!((head, tail), (vec![1, 3], vec![0, 2]));
        }
    }

    #[test]
    fn never_means_never_and_attempts_bound_the_order() {
        let mut rng = StdRng::seed_from_u64(3);
        let never = Fallback { standby: Standby::Never, ..FALLBACK };
        assert_eq!(draw(&[0.0, 1.0], |_| true, never, &mut rng), [1]);
        let one = Fallback { attempts: 1, ..FALLBACK };
        assert_eq!(draw(&[0.5, 0.5], |_| true, one, &mut rng).len(), 1);
        assert_eq!(draw(&[0.5, 0.5], |i| i == 0, FALLBACK, &mut rng), [0]);
    }
}
