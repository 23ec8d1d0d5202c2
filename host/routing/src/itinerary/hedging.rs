//! The second attempt of a request, beside one that takes long.

use std::time::Instant;

use rand::Rng;

use config::Standby;

use crate::draw::{Draw, HedgePlan};

use super::{Deployments, Itinerary};

/// Maximum deployments at which a place is sought, so that the cost of a request does not grow with
/// the fleet.
const LOOKED_AT: usize = 4;

/// A second attempt that is about to be made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hedged<T> {
    /// The deployment.
    pub at: usize,
    /// The probability with which it was drawn.
    pub probability: f64,
    /// What was taken there.
    pub taken: T,
}

impl Itinerary<'_> {
    /// When a second attempt is to be made beside the one under way. None: never.
    #[must_use]
    pub fn hedges_at(&self) -> Option<Instant> {
        let hedge = self.hedge.as_ref().filter(|_| self.may_hedge())?;
        Some(self.began? + hedge.after)
    }

    /// Draws a deployment for the second attempt, and takes a place there by `take`, which must not
    /// wait. None: no place could be taken. `price` is the cost of the attempt in dollars, NaN if
    /// unknown. A request has one chance of a second attempt: later calls return None.
    pub fn hedge<T>(
        &mut self,
        deployments: &impl Deployments,
        price: impl Fn(usize) -> f64,
        mut take: impl FnMut(usize) -> Option<T>,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Option<Hedged<T>> {
        let HedgePlan { weights, max_cost, .. } =
            *self.hedge.take().filter(|_| self.may_hedge())?;
        let usable = |at: usize| {
            at != self.at
                && self.failures.iter().all(|(failed, _)| *failed != at)
                && deployments.is_eligible(at)
                && deployments.is_open(at, now)
                && self.may_try(deployments, at)
                // False for NaN.
                && max_cost.is_none_or(|most| price(at) <= most)
        };
        let mut order = Draw::new(weights, None, Standby::Never);
        let mut full: Vec<usize> = Vec::new();
        while full.len() < LOOKED_AT {
            let at = order.next(usable, rng)?;
            if let Some(taken) = take(at) {
                let probability = order.probability(at, |it| !usable(it) || full.contains(&it));
                self.beside = Some((at, now));
                self.hedged = Some(at);
                self.full.retain(|full| full.at != at);
                self.left -= 1;
                return Some(Hedged { at, probability, taken });
            }
            full.push(at);
        }
        None
    }

    /// True if the request may have a second attempt: it may be sent twice, attempts are left, and
    /// the model was not in panic mode.
    fn may_hedge(&self) -> bool {
        self.terms.is_repeatable() && self.left > 0 && !self.panic
    }

    /// Swaps the two attempts under way: later calls are about the other one.
    pub fn swap(&mut self) {
        if let Some((at, began)) = self.beside.take() {
            self.beside = self.began.map(|began| (self.at, began));
            (self.at, self.began) = (at, Some(began));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use config::{Ambiguous, Fallback};

    use super::super::scene::*;
    use super::super::*;
    use super::*;

    const AFTER: Duration = Duration::from_secs(2);

    /// A request whose first attempt is under way at deployment 0 of four.
    fn scene(max_cost: Option<f64>, change: impl FnOnce(&mut Fallback)) -> Scene {
        let weights = vec![1.0, 0.0, 0.0, 0.0];
        let hedge = HedgePlan { after: AFTER, weights: vec![4.0, 1.0, 1.0, 0.0], max_cost };
        let weights =
            RequestWeights { hedge: Some(Box::new(hedge)), ..RequestWeights::from(weights) };
        let mut scene = Scene::planned(weights, vec![WELL; 4], |terms| change(&mut terms.fallback));
        assert_eq!(scene.step(Event::Ready), Step::Enter(0));
        assert_eq!(scene.step(Event::Entered), Step::Attempt(0));
        scene.itinerary.began(scene.now);
        scene
    }

    impl Scene {
        fn hedge(&mut self, price: f64, take: impl Fn(usize) -> bool) -> Option<(usize, f64)> {
            let (all, rng, now) = (&self.deployments, &mut self.rng, self.now);
            let take = |at| take(at).then_some(());
            let hedged = self.itinerary.hedge(all, |_| price, take, rng, now);
            hedged.map(|hedged| (hedged.at, hedged.probability))
        }
    }

    #[test]
    fn it_goes_once_to_another_one_of_a_weight() {
        let mut scene = scene(None, |_| {});
        assert_eq!(scene.itinerary.hedges_at(), Some(scene.now + AFTER));
        let drawn = scene.hedge(f64::NAN, |at| at != 1);
        assert!(matches!(drawn, Some((2, p)) if p == 0.5 || p == 1.0), "{drawn:?}");
        assert_eq!(scene.itinerary.hedges_at(), None);
        assert_eq!(scene.hedge(0.0, |_| true), None, "once");
    }

    #[test]
    fn it_goes_nowhere_that_is_dear_full_out_failed_or_forbidden() {
        type Spoil = fn(&mut Scene);
        let spoils: [Spoil; 5] = [
            |scene| scene.deployments[2].eligible = false,
            |scene| scene.deployments[2].open = false,
            |scene| scene.deployments[2].forbidden = true,
            |scene| scene.itinerary.failures.push((2, Cause::Connect.into())),
            |_| {},
        ];
        for (n, spoil) in spoils.into_iter().enumerate() {
            let mut scene = scene(None, |_| {});
            scene.deployments[1].eligible = false;
            spoil(&mut scene);
            assert_eq!(scene.hedge(0.0, |_| true).is_some(), n == 4, "{n}");
        }
        for (price, goes) in [(0.5, true), (0.6, false), (f64::NAN, false)] {
            assert_eq!(scene(Some(0.5), |_| {}).hedge(price, |_| true).is_some(), goes);
        }
        assert_eq!(scene(None, |_| {}).hedge(0.0, |_| false), None, "all are full");
    }

    #[test]
    fn it_counts_as_an_attempt_and_is_none_of_what_must_not_be_sent_twice() {
        for (change, goes) in [
            ((|_| {}) as fn(&mut Fallback), true),
            (|fallback| fallback.attempts = 1, false),
            (|fallback| fallback.ambiguous = Ambiguous::Never, false),
        ] {
            let mut scene = scene(None, change);
            assert_eq!(scene.itinerary.hedges_at().is_some(), goes);
            assert_eq!(scene.hedge(0.0, |_| true).is_some(), goes);
        }
        let mut scene = scene(None, |fallback| fallback.attempts = 2);
        assert!(scene.hedge(0.0, |_| true).is_some());
        scene.itinerary.failed(Cause::Connect.into());
        scene.itinerary.failed(Cause::Connect.into());
        assert_eq!(scene.step(Event::Ready), Step::GiveUp);
    }

    #[test]
    fn its_deployment_is_not_tried_again_while_others_are_left() {
        let mut scene = scene(None, |fallback| fallback.attempts = 10);
        let (second, _) = scene.hedge(0.0, |_| true).expect("a second attempt");
        let mut tried = vec![0, second];
        scene.itinerary.failed(Cause::Connect.into());
        scene.itinerary.failed(Cause::Connect.into());
        for _ in 0..2 {
            let Step::Enter(at) = scene.step(Event::Ready) else { panic!("two are left") };
            assert_eq!(scene.step(Event::Entered), Step::Attempt(at));
            scene.itinerary.began(scene.now);
            scene.itinerary.failed(Cause::Connect.into());
            tried.push(at);
        }
        tried.sort_unstable();
        assert_eq!(tried, [0, 1, 2, 3]);
        assert_eq!(scene.step(Event::Ready), Step::GiveUp);
    }

    #[test]
    fn a_failure_is_that_of_the_attempt_that_failed() {
        for swapped in [false, true] {
            let mut scene = scene(None, |_| {});
            let (second, _) = scene.hedge(0.0, |_| true).expect("a second attempt");
            if swapped {
                scene.itinerary.swap();
            }
            scene.itinerary.failed(Cause::Connect.into());
            let failed = scene.itinerary.failures[0].0;
            let (fails, stays) = if swapped { (second, 0) } else { (0, second) };
            assert_eq!((failed, scene.itinerary.at), (fails, stays));
        }
    }
}
