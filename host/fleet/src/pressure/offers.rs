//! Offers places to other gateways: some are given up for a while, so that a gateway without any
//! finds one.
//!
//! A gateway does not see who else uses a full engine. It offers a place, and learns from what
//! happens: a refusal when it wants the place back shows that somebody took it. A taken place makes
//! the next offer cheap, an unwanted one makes it dear. An engine with a single gateway loses at
//! most one answer in [`MOST`].

use super::learned_limit::kept;

/// Good answers that each offered place costs while others want them.
const LEAST: u32 = 4;
/// The same after many offers that nobody wanted. The price doubles up to it.
const MOST: u32 = 64;
/// Part of a limit that is kept. At least one place is offered.
const KEPT: f64 = 0.95;
/// The same while others want them.
const KEPT_SHARED: f64 = 0.8;

/// The offers of a gateway at one deployment.
#[derive(Debug)]
pub(super) struct Offers {
    /// Good answers since the last offer.
    earned: u32,
    /// Good answers that a place costs, from [`LEAST`] to [`MOST`].
    price: u32,
    /// The limit before the open offer.
    open: Option<u32>,
}

impl Default for Offers {
    fn default() -> Self {
        Self { earned: 0, price: LEAST, open: None }
    }
}

impl Offers {
    /// Counts a good answer.
    pub(super) fn earn(&mut self) {
        self.earned = self.earned.saturating_add(1);
    }

    /// Returns the limit after an offer. It stays the same if too few answers were earned for one.
    pub(super) fn left_of(&mut self, limit: u32) -> u32 {
        let part = if self.price == LEAST { KEPT_SHARED } else { KEPT };
        let left = kept(limit, part);
        if left == limit || self.earned < self.price.saturating_mul(limit - left) {
            return limit;
        }
        self.earned = 0;
        self.open = Some(limit);
        left
    }

    /// A level that was good before is refused: others took what was offered.
    pub(super) fn taken(&mut self) {
        if self.open.take().is_some() {
            self.price = LEAST;
        }
    }

    /// This level is good. If it was offered, nobody wanted it.
    pub(super) fn regained(&mut self, level: u32) {
        if self.open.take_if(|offered| *offered <= level).is_some() {
            self.price = (self.price * 2).min(MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earn(offers: &mut Offers, answers: u32) {
        (0..answers).for_each(|_| offers.earn());
    }

    #[test]
    fn unwanted_offers_become_dear_and_taken_ones_cheap() {
        let mut offers = Offers::default();
        for price in [4, 8, 16, 32, 64, 64] {
            earn(&mut offers, price - 1);
            assert_eq!(offers.left_of(4), 4, "{price}");
            offers.earn();
            assert_eq!(offers.left_of(4), 3, "{price}");
            offers.regained(3);
            assert_eq!(offers.open, Some(4), "a lower level says nothing");
            offers.regained(4);
        }
        earn(&mut offers, 64);
        assert_eq!(offers.left_of(4), 3);
        offers.taken();
        earn(&mut offers, 4);
        assert_eq!(offers.left_of(4), 3, "cheap again");
        offers.regained(5);
        offers.taken();
        earn(&mut offers, 4);
        assert_eq!(offers.left_of(4), 4, "a refusal without an offer says nothing of it");
    }

    #[test]
    fn a_large_limit_offers_more_and_pays_for_it() {
        let mut offers = Offers::default();
        earn(&mut offers, 79);
        assert_eq!(offers.left_of(100), 100);
        offers.earn();
        assert_eq!(offers.left_of(100), 80, "a fifth while cheap");
        offers.regained(100);
        earn(&mut offers, 39);
        assert_eq!(offers.left_of(100), 100);
        offers.earn();
        assert_eq!(offers.left_of(100), 95);
        earn(&mut offers, 1000);
        assert_eq!(offers.left_of(1), 1, "the last place is kept");
    }
}
