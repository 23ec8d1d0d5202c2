//! What attempts took and cost, as one row of numbers that can be added up, kept and read again.

use std::sync::atomic::{AtomicU64, Ordering};

use contract::Picodollars;

/// Kinds of tokens that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Of the prompt, with those from a cache.
    Prompt,
    /// Of the prompt, from a cache.
    Cached,
    /// Of the answer, with those of its reasoning.
    Completion,
    /// Of the answer's reasoning.
    Reasoning,
}

impl TokenKind {
    /// Every kind, in the order of the discriminants.
    pub const ALL: [Self; 4] = [Self::Prompt, Self::Cached, Self::Completion, Self::Reasoning];

    /// Its label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Cached => "cached",
            Self::Completion => "completion",
            Self::Reasoning => "reasoning",
        }
    }
}

/// What money was spent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spending {
    /// A whole answer.
    Answered,
    /// An attempt whose answer nobody got, or not to its end.
    Wasted,
    /// An attempt beside another one that was faster.
    Hedged,
}

impl Spending {
    /// Every kind, in the order of the discriminants.
    pub const ALL: [Self; 3] = [Self::Answered, Self::Wasted, Self::Hedged];

    /// Its label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Wasted => "wasted",
            Self::Hedged => "hedged",
        }
    }
}

/// What one attempt took and cost.
#[derive(Debug, Clone, Copy)]
pub struct Charge {
    /// What its cost was spent for.
    pub spending: Spending,
    /// Whether the upstream reported no usage, so that the tokens are an estimate.
    pub is_estimated: bool,
    /// In the order of [`TokenKind`].
    pub tokens: [u64; TokenKind::ALL.len()],
    /// By the prices of its deployment.
    pub cost: Picodollars,
    /// What its answer would have cost more at the cheapest remote deployment of the model.
    pub saved: Picodollars,
}

/// Numbers of the reported half, and of the estimated half.
const HALF: usize = TokenKind::ALL.len() + 2 * Spending::ALL.len();
/// First number of attempts in a half.
const ATTEMPTS: usize = TokenKind::ALL.len();
/// First cost in a half.
const COSTS: usize = ATTEMPTS + Spending::ALL.len();
const SAVED: usize = 2 * HALF;
/// Numbers that attempts add to.
const OF_ATTEMPTS: usize = SAVED + 1;
const MACHINE_TIME: usize = OF_ATTEMPTS;
const MACHINE_COST: usize = MACHINE_TIME + 1;
/// All numbers of a row. Their order is that of the file: new ones come at the end.
const NUMBERS: usize = MACHINE_COST + 1;

fn half(is_estimated: bool) -> usize {
    if is_estimated { HALF } else { 0 }
}

/// Sums of attempts. They stay at the largest number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally([u64; NUMBERS]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; NUMBERS])
    }
}

impl Tally {
    /// Tokens that were reported, or estimated.
    #[must_use]
    pub fn tokens(&self, kind: TokenKind, is_estimated: bool) -> u64 {
        self.0[half(is_estimated) + kind as usize]
    }

    /// The cost of reported and estimated tokens.
    #[must_use]
    pub fn cost(&self, spending: Spending) -> Picodollars {
        let of = |is_estimated| self.0[half(is_estimated) + COSTS + spending as usize];
        Picodollars::new(of(false)).saturating_add(Picodollars::new(of(true)))
    }

    /// What a machine cost in this time.
    pub(super) fn machine(milliseconds: u64, cost: Picodollars) -> Self {
        let mut tally = Self::default();
        (tally.0[MACHINE_TIME], tally.0[MACHINE_COST]) = (milliseconds, cost.get());
        tally
    }

    /// Whether it is of attempts, and not of a machine alone.
    pub(super) fn has_attempts(&self) -> bool {
        self.0[..OF_ATTEMPTS].iter().any(|number| *number != 0)
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|number| *number == 0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        let pairs = self.0.iter_mut().zip(&other.0);
        pairs.for_each(|(sum, number)| *sum = sum.saturating_add(*number));
    }

    /// The row as it is kept: each number in eight bytes, the lowest first. Zeros at the end are left
    /// out.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let kept = self.0.iter().rposition(|number| *number != 0).map_or(0, |last| last + 1);
        self.0[..kept].iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// Reads a row. Numbers that it does not have are 0. Those that a newer gateway added are ignored.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut tally = Self::default();
        let (numbers, _) = bytes.as_chunks::<8>();
        for (number, kept) in tally.0.iter_mut().zip(numbers) {
            *number = u64::from_le_bytes(*kept);
        }
        tally
    }
}

/// Sums of any number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums([u128; NUMBERS]);

impl Default for Sums {
    fn default() -> Self {
        Self([0; NUMBERS])
    }
}

impl Sums {
    pub(super) fn add(&mut self, tally: &Tally) {
        let pairs = self.0.iter_mut().zip(tally.0);
        pairs.for_each(|(sum, number)| *sum = sum.saturating_add(u128::from(number)));
    }

    fn both(&self, at: usize) -> u128 {
        self.0[at].saturating_add(self.0[HALF + at])
    }

    /// Tokens, those of estimates included.
    #[must_use]
    pub fn tokens(&self, kind: TokenKind) -> u128 {
        self.both(kind as usize)
    }

    /// Attempts, estimates included.
    #[must_use]
    pub fn attempts(&self, spending: Spending) -> u128 {
        self.both(ATTEMPTS + spending as usize)
    }

    /// The cost in picodollars, estimates included.
    #[must_use]
    pub fn cost(&self, spending: Spending) -> u128 {
        self.both(COSTS + spending as usize)
    }

    /// The cost of all attempts in picodollars.
    #[must_use]
    pub fn total(&self) -> u128 {
        Spending::ALL.iter().fold(0, |sum, kind| sum.saturating_add(self.cost(*kind)))
    }

    /// Tokens of estimates alone.
    #[must_use]
    pub fn estimated_tokens(&self, kind: TokenKind) -> u128 {
        self.0[HALF + kind as usize]
    }

    /// Attempts whose tokens are an estimate.
    #[must_use]
    pub fn estimated_attempts(&self) -> u128 {
        self.0[HALF + ATTEMPTS..HALF + COSTS].iter().sum()
    }

    /// The cost of estimates alone, in picodollars.
    #[must_use]
    pub fn estimated_cost(&self) -> u128 {
        self.0[HALF + COSTS..2 * HALF].iter().sum()
    }

    /// What answers of local deployments would have cost more elsewhere, in picodollars.
    #[must_use]
    pub fn saved(&self) -> u128 {
        self.0[SAVED]
    }

    /// Time for which machines with a price were in use, in milliseconds, and what it cost, in
    /// picodollars.
    #[must_use]
    pub fn machine(&self) -> (u128, u128) {
        (self.0[MACHINE_TIME], self.0[MACHINE_COST])
    }
}

/// Sums that requests on all cores add to.
#[derive(Debug)]
pub(super) struct Cell {
    numbers: [AtomicU64; OF_ATTEMPTS],
    /// The part that the history has already.
    folded: [AtomicU64; OF_ATTEMPTS],
}

impl Default for Cell {
    fn default() -> Self {
        let [numbers, folded] = [(); 2].map(|()| std::array::from_fn(|_| AtomicU64::new(0)));
        Self { numbers, folded }
    }
}

impl Cell {
    pub(super) fn add(&self, charge: &Charge) {
        let half = half(charge.is_estimated);
        for (at, tokens) in charge.tokens.into_iter().enumerate().filter(|(_, tokens)| *tokens > 0)
        {
            self.numbers[half + at].fetch_add(tokens, Ordering::Relaxed);
        }
        let kind = half + charge.spending as usize;
        self.numbers[ATTEMPTS + kind].fetch_add(1, Ordering::Relaxed);
        self.pay(COSTS + kind, charge.cost);
        self.pay(SAVED, charge.saved);
    }

    /// Adds money, which stays at the largest amount.
    fn pay(&self, at: usize, amount: Picodollars) {
        if amount.is_zero() {
            return;
        }
        let sum = |so_far: u64| Some(so_far.saturating_add(amount.get()));
        // The function always gives a sum.
        let _ = self.numbers[at].fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// The sums so far.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let pairs = tally.0.iter_mut().zip(&self.numbers);
        pairs.for_each(|(sum, number)| *sum = number.load(Ordering::Relaxed));
        tally
    }

    /// What was added since the last call. One thread at a time may call it.
    pub(super) fn fold(&self) -> Tally {
        let mut new = self.tally();
        for (number, folded) in new.0.iter_mut().zip(&self.folded) {
            *number -= folded.swap(*number, Ordering::Relaxed);
        }
        new
    }

    /// Whether nothing was added since the last fold.
    pub(super) fn is_folded(&self) -> bool {
        let mut pairs = self.numbers.iter().zip(&self.folded);
        pairs.all(|(number, folded)| {
            number.load(Ordering::Relaxed) == folded.load(Ordering::Relaxed)
        })
    }

    /// Adds the sums of a cell that is given up. This one must never be folded.
    pub(super) fn absorb(&self, other: &Tally) {
        for (number, more) in self.numbers.iter().zip(other.0) {
            let sum = |so_far: u64| Some(so_far.saturating_add(more));
            // The function always gives a sum.
            let _ = number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(spending: Spending, is_estimated: bool, cost: u64) -> Charge {
        let tokens = [100, 0, 7, 3];
        let [cost, saved] = [cost, cost.saturating_mul(2)].map(Picodollars::new);
        Charge { spending, is_estimated, tokens, cost, saved }
    }

    #[test]
    fn a_cell_counts_each_kind_and_is_folded_once() {
        let cell = Cell::default();
        cell.add(&charge(Spending::Answered, false, 5));
        cell.add(&charge(Spending::Hedged, true, 6));
        let first = cell.fold();
        assert_eq!(first, cell.tally());
        assert!(cell.fold().is_zero());
        let mut sums = Sums::default();
        sums.add(&first);
        sums.add(&first);
        assert_eq!(TokenKind::ALL.map(|kind| sums.tokens(kind)), [400, 0, 28, 12]);
        assert_eq!(TokenKind::ALL.map(|kind| sums.estimated_tokens(kind)), [200, 0, 14, 6]);
        assert_eq!(Spending::ALL.map(|kind| sums.attempts(kind)), [2, 0, 2]);
        assert_eq!(Spending::ALL.map(|kind| sums.cost(kind)), [10, 0, 12]);
        assert_eq!((sums.total(), sums.estimated_cost(), sums.estimated_attempts()), (22, 12, 2));
        assert_eq!(sums.saved(), 44);
        assert_eq!(first.cost(Spending::Hedged).get(), 6);
    }

    #[test]
    fn money_stays_at_the_largest_amount() {
        let cell = Cell::default();
        cell.add(&charge(Spending::Answered, false, u64::MAX / 2));
        cell.fold();
        cell.add(&charge(Spending::Answered, false, u64::MAX));
        assert_eq!(cell.tally().cost(Spending::Answered), Picodollars::MAX);
        assert_eq!(cell.fold().cost(Spending::Answered).get(), u64::MAX - u64::MAX / 2);
    }

    #[test]
    fn rows_of_older_and_newer_gateways_are_read() {
        let cell = Cell::default();
        cell.add(&charge(Spending::Wasted, true, 5));
        let mut tally = cell.tally();
        tally.add(&Tally::machine(3, Picodollars::new(4)));
        let bytes = tally.to_bytes();
        assert_eq!(Tally::from_bytes(&bytes), tally);
        assert_eq!(Tally::from_bytes(&[&bytes[..], &[1; 24]].concat()), tally);
        let mut older = tally;
        older.0[MACHINE_COST] = 0;
        assert_eq!(Tally::from_bytes(&bytes[..bytes.len() - 8]), older);
        assert!(Tally::default().to_bytes().is_empty());
    }
}
