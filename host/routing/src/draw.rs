//! The draw: a weighted random order without replacement. The first deployment is the choice, the
//! others are the order of fallback. Standby (weight 0) comes last, in random order.
//!
//! The draw is lazy. Most requests need only the first deployment, which takes one pass over the
//! weights and no allocation.
//!
//! With tiers, the draw is among the deployments of the lowest tier that is left.

use std::borrow::Cow;
use std::time::Duration;

use rand::{Rng, RngExt};

#[cfg(any(test, fuzzing))]
use config::Fallback;
use config::Standby;
use contract::WhenFull;

/// How one request is shared among the deployments of its model.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestWeights<'a> {
    /// One weight per deployment, each at least 0. 0 is standby.
    pub weights: Cow<'a, [f64]>,
    /// One tier per deployment: those of a lower one are tried first. None: all are in one.
    pub tiers: Option<Vec<u8>>,
    /// What happens while the deployment that was drawn first is full.
    pub when_full: WhenFull,
    /// A second attempt, if the first takes long. Boxed: few requests have one, and the others stay
    /// small.
    pub hedge: Option<Box<HedgePlan>>,
}

/// A second attempt beside the first.
#[derive(Debug, Clone, PartialEq)]
pub struct HedgePlan {
    /// Time after the first attempt began.
    pub after: Duration,
    /// One weight per deployment. One of weight 0 gets no second attempt.
    pub weights: Vec<f64>,
    /// The most that it may cost, in US dollars.
    pub max_cost: Option<f64>,
}

impl<'a, W: Into<Cow<'a, [f64]>>> From<W> for RequestWeights<'a> {
    fn from(weights: W) -> Self {
        Self {
            weights: weights.into(),
            tiers: None,
            when_full: WhenFull::AsConfigured,
            hedge: None,
        }
    }
}

/// A lazy draw over some weights.
#[derive(Debug)]
pub(crate) struct Draw<'a> {
    weights: Cow<'a, [f64]>,
    tiers: Option<Vec<u8>>,
    standby: Standby,
    next: Next,
}

/// The deployments that are left to draw from.
#[derive(Debug)]
enum Next {
    /// All of them.
    First,
    /// All but the one that was drawn first.
    Second(usize),
    /// Explicit lists. Boxed because few requests get here, and the others stay small.
    Rest(Box<Rest>),
}

/// Deployments with a weight, which are drawn first, and standby.
#[derive(Debug)]
struct Rest {
    weighted: Vec<usize>,
    standby: Vec<usize>,
}

impl<'a> Draw<'a> {
    /// A draw over deployments with these weights, each at least 0. `tiers` has one number for each.
    pub(crate) fn new(
        weights: impl Into<Cow<'a, [f64]>>,
        tiers: Option<Vec<u8>>,
        standby: Standby,
    ) -> Self {
        Self { weights: weights.into(), tiers, standby, next: Next::First }
    }

    /// Starts again, as if nothing had been drawn.
    pub(crate) fn restart(&mut self) {
        self.next = Next::First;
    }

    /// The number of deployments.
    pub(crate) fn len(&self) -> usize {
        self.weights.len()
    }

    /// True if the deployment is standby: tried only when the others do not answer.
    pub(crate) fn is_standby(&self, at: usize) -> bool {
        self.weights.get(at).is_none_or(|weight| *weight <= 0.0)
    }

    /// True if it is standby, and standby is never tried.
    pub(crate) fn is_never_tried(&self, at: usize) -> bool {
        self.standby == Standby::Never && self.is_standby(at)
    }

    /// The probability with which a deployment is drawn before all that are not `gone`.
    pub(crate) fn probability(&self, at: usize, gone: impl Fn(usize) -> bool) -> f64 {
        let tier = |at: usize| self.tiers.as_ref().and_then(|tiers| tiers.get(at)).copied();
        let weight = |at: usize| self.weights.get(at).copied().unwrap_or_default();
        let is_standby = self.is_standby(at);
        let rivals = (0..self.weights.len()).filter(|rival| {
            *rival == at
                || (!gone(*rival)
                    && self.is_standby(*rival) == is_standby
                    && (is_standby || tier(*rival) == tier(at)))
        });
        if is_standby {
            #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
            return 1.0 / rivals.count() as f64;
        }
        weight(at) / rivals.map(weight).sum::<f64>()
    }

    /// The next index to try, drawn in proportion to the weights of the deployments that are left.
    /// Only `usable` ones are drawn. None if none is left.
    pub(crate) fn next(
        &mut self,
        usable: impl Fn(usize) -> bool,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        let weights = &*self.weights;
        let drawn = match self.next {
            Next::First if self.tiers.is_none() => {
                // If the drawn one is not usable, the draw is repeated among the usable ones, which
                // gives each of them its share.
                let first = pick(weights, 0..weights.len(), rng).filter(|i| usable(*i));
                if let Some(first) = first {
                    self.next = Next::Second(first);
                    return Some(first);
                }
                None
            }
            Next::Second(first) => Some(first),
            Next::First | Next::Rest(_) => None,
        };
        if !matches!(self.next, Next::Rest(_)) {
            let left = (0..weights.len()).filter(|i| Some(*i) != drawn && usable(*i));
            let (weighted, idle): (Vec<usize>, Vec<usize>) = left.partition(|i| weights[*i] > 0.0);
            let standby = if self.standby == Standby::Last { idle } else { Vec::new() };
            self.next = Next::Rest(Box::new(Rest { weighted, standby }));
        }
        let Next::Rest(rest) = &mut self.next else { return None };
        let Rest { weighted, standby } = &mut **rest;
        let tier = |at: usize| self.tiers.as_ref().and_then(|tiers| tiers.get(at)).copied();
        let lowest = weighted.iter().map(|at| tier(*at)).min();
        let first = weighted.iter().enumerate().filter(|(_, at)| lowest == Some(tier(**at)));
        if let Some(nth) = pick(weights, first.clone().map(|(_, at)| *at), rng)
            && let Some((position, _)) = first.clone().nth(nth)
        {
            return Some(weighted.swap_remove(position));
        }
        let at = (!standby.is_empty()).then(|| rng.random_range(0..standby.len()))?;
        Some(standby.swap_remove(at))
    }
}

/// Draws one of `indices` by weight, and returns its position among them. None if no weight is
/// above 0.
fn pick(
    weights: &[f64],
    indices: impl Iterator<Item = usize> + Clone,
    rng: &mut impl Rng,
) -> Option<usize> {
    let sum: f64 = indices.clone().map(|i| weights[i]).sum();
    if sum <= 0.0 {
        return None;
    }
    let mut point = rng.random::<f64>() * sum;
    let mut last = None;
    for (at, i) in indices.enumerate().filter(|(_, i)| weights[*i] > 0.0) {
        point -= weights[i];
        last = Some(at);
        if point < 0.0 {
            break;
        }
    }
    // Rounding may leave the point past the end, which means the last one.
    last
}

/// The `usable` indices in the order in which they are tried, at most `fallback.attempts` of them.
#[cfg(any(test, fuzzing))]
#[must_use]
pub(crate) fn draw(
    weights: &[f64],
    usable: impl Fn(usize) -> bool,
    fallback: Fallback,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let mut draw = Draw::new(weights, None, fallback.standby);
    std::iter::from_fn(|| draw.next(&usable, rng)).take(fallback.attempts as usize).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use config::{Ambiguous, RetryBudget};

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
    fn those_that_are_not_usable_leave_their_share_to_the_others() {
        let mut rng = StdRng::seed_from_u64(4);
        let weights = [0.2, 0.5, 0.3];
        let mut first = [0u32; 3];
        for _ in 0..10_000 {
            first[draw(&weights, |i| i != 1, FALLBACK, &mut rng)[0]] += 1;
        }
        for (count, want) in first.iter().zip([0.4, 0.0, 0.6]) {
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
    fn a_lower_tier_comes_first_and_shares_by_weight() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut first = [0u32; 2];
        for _ in 0..10_000 {
            let tiers = Some(vec![1, 0, 1, 0, 0]);
            let mut draw = Draw::new(&[0.7, 0.1, 0.1, 0.1, 0.0][..], tiers, Standby::Last);
            let order: Vec<usize> =
                std::iter::from_fn(|| draw.next(|at| at != 3, &mut rng)).collect();
            assert_eq!((order[0], order[3]), (1, 4), "the standby is last, whatever its tier");
            first[order[1] / 2] += 1;
        }
        assert!((f64::from(first[0]) / 1e4 - 0.875).abs() < 0.015, "{first:?}");
    }

    #[test]
    fn a_probability_is_among_those_that_are_left() {
        let draw = Draw::new(&[0.5, 0.25, 0.25, 0.0, 0.0][..], None, Standby::Last);
        let all = [0, 1, 3].map(|at| draw.probability(at, |_| false));
        assert_eq!(all, [0.5, 0.25, 0.5]);
        assert_eq!([1, 3].map(|at| draw.probability(at, |gone| gone == 0)), [0.5, 0.5]);
        let tiers = Some(vec![0, 1, 1, 0, 0]);
        let draw = Draw::new(&[0.5, 0.25, 0.25, 0.0, 0.0][..], tiers, Standby::Last);
        assert_eq!([0, 1].map(|at| draw.probability(at, |_| false)), [1.0, 0.5]);
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
