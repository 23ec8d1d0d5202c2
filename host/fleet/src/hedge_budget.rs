//! The budget of second attempts. All models and cores share it, and it outlives reloads.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A second attempt, in the unit of the budget.
const ONE: u32 = 100;
/// Most second attempts that are saved up.
const SAVED: u32 = 10;

/// Limits second attempts to a percentage of the requests whose strategy asks for one. Each such
/// request pays in that many hundredths of a second attempt. Making one takes out a whole. gRPC
/// throttles retries in the same way (proposal A6).
#[derive(Debug, Default)]
pub struct HedgeBudget {
    /// In hundredths of a second attempt.
    saved: AtomicU32,
    denied: AtomicU64,
}

impl HedgeBudget {
    /// Pays in for a request. `percent` is at most 100.
    pub fn pay_in(&self, percent: u32) {
        let step = |saved: u32| (saved < SAVED * ONE).then(|| (saved + percent).min(SAVED * ONE));
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }

    /// Takes one second attempt. False, and counted, if the budget is used up.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        let step = |saved: u32| saved.checked_sub(ONE);
        let taken = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok();
        if !taken {
            self.denied.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Second attempts that the budget did not allow.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fresh_budget_has_nothing_and_saves_up_ten() {
        let budget = HedgeBudget::default();
        assert!(!budget.withdraw());
        (0..50).for_each(|_| budget.pay_in(100));
        assert_eq!((0..50).filter(|_| budget.withdraw()).count(), 10);
        assert_eq!(budget.denied(), 41);
        budget.pay_in(0);
        assert!(!budget.withdraw());
    }

    proptest! {
        /// In any order, second attempts are at most their percentage of the requests before them.
        #[test]
        fn second_attempts_stay_within_the_percentage(
            percent in 0u32..=100,
            wants in prop::collection::vec(any::<bool>(), 1..500),
        ) {
            let budget = HedgeBudget::default();
            let mut taken = 0;
            for (n, wants) in wants.into_iter().enumerate() {
                budget.pay_in(percent);
                taken += usize::from(wants && budget.withdraw());
                prop_assert!(taken * 100 <= (n + 1) * percent as usize);
            }
        }
    }
}
