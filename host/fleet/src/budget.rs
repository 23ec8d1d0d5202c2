//! The retry budget, which keeps fallback from multiplying the load when everything fails.
//!
//! All models and cores share one budget, because an overload affects them all. It outlives
//! reloads.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use config::RetryBudget;

use super::Rate;

/// Requests count for this long after they arrive. If only those in flight counted, fast requests
/// would give no budget, although a lost deployment fails all of its requests at once.
const MEMORY: Duration = Duration::from_secs(10);

/// Limits extra attempts to a percentage of the active requests or of those of the last ten
/// seconds, whichever are more, plus a fixed number per second.
#[derive(Debug)]
pub struct Budget {
    start: Instant,
    active: AtomicU32,
    arrived: Rate,
    extra: Rate,
    /// The fixed rate is used up to this time, in nanoseconds after `start`.
    paid: AtomicI64,
    denied: AtomicU64,
}

/// A request that may still need an extra attempt, counted until dropped.
#[derive(Debug)]
pub struct Active<'a>(&'a Budget);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Budget {
    /// Starts without requests, and with one second of the fixed rate saved up.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            active: AtomicU32::new(0),
            arrived: Rate::new(MEMORY, now),
            extra: Rate::new(MEMORY, now),
            paid: AtomicI64::new(i64::MIN / 2),
            denied: AtomicU64::new(0),
        }
    }

    /// Counts a request in until the guard is dropped.
    #[must_use]
    pub fn enter(&self, now: Instant) -> Active<'_> {
        self.begin(now);
        Active(self)
    }

    /// Counts a request in. The caller must call [`end`](Self::end) once.
    pub fn begin(&self, now: Instant) {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.arrived.note(now);
    }

    /// Counts a request out.
    pub fn end(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes one extra attempt. False if the budget is used up.
    #[must_use]
    pub fn withdraw(&self, limit: RetryBudget, now: Instant) -> bool {
        let active = f64::from(self.active.load(Ordering::Relaxed)).max(self.arrived.count(now));
        let share = active * f64::from(limit.percent) / 100.0;
        self.extra.note_below(share, now) || self.withdraw_fixed(limit.per_second, now)
    }

    /// Counts a request that got no extra attempt.
    pub fn deny(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that got no extra attempt.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// Takes from the fixed rate, by the generic cell rate algorithm. At most one second of the
    /// rate is saved up.
    fn withdraw_fixed(&self, per_second: u32, now: Instant) -> bool {
        const SECOND: i64 = 1_000_000_000;
        if per_second == 0 {
            return false;
        }
        let now = now.saturating_duration_since(self.start).as_nanos();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let step = |paid: i64| {
            let paid = paid.max(now - SECOND) + SECOND / i64::from(per_second);
            (paid <= now).then_some(paid)
        };
        self.paid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: RetryBudget = RetryBudget { percent: 20, per_second: 10 };

    fn new() -> (Budget, Instant) {
        let now = Instant::now();
        (Budget::new(now), now)
    }

    #[test]
    fn a_fresh_gateway_has_a_seconds_worth() {
        let (budget, now) = new();
        let taken = (0..100).filter(|_| budget.withdraw(LIMIT, now)).count();
        assert_eq!(taken, 10);
        assert!(!budget.withdraw(LIMIT, now + Duration::from_millis(99)));
        assert!(budget.withdraw(LIMIT, now + Duration::from_millis(100)));
        let later = now + Duration::from_secs(60);
        assert_eq!((0..100).filter(|_| budget.withdraw(LIMIT, later)).count(), 10, "and no more");
    }

    #[test]
    fn requests_under_way_bring_their_share_however_old_they_are() {
        let (budget, now) = new();
        let only = RetryBudget { percent: 20, per_second: 0 };
        let active: Vec<Active<'_>> = (0..50).map(|_| budget.enter(now)).collect();
        let later = now + Duration::from_secs(60);
        assert_eq!((0..50).filter(|_| budget.withdraw(only, later)).count(), 10);
        drop(active);
        assert!(!budget.withdraw(only, later + Duration::from_secs(30)));
    }

    #[test]
    fn requests_that_ended_bring_their_share_for_ten_seconds() {
        let (budget, now) = new();
        let only = RetryBudget { percent: 20, per_second: 0 };
        for _ in 0..100 {
            drop(budget.enter(now));
        }
        assert_eq!((0..100).filter(|_| budget.withdraw(only, now)).count(), 20);
        assert!(!budget.withdraw(only, now + Duration::from_secs(21)));
    }

    #[test]
    fn nothing_allowed_is_nothing_given() {
        let (budget, now) = new();
        let none = RetryBudget { percent: 0, per_second: 0 };
        let _active: Vec<Active<'_>> = (0..50).map(|_| budget.enter(now)).collect();
        assert!(!budget.withdraw(none, now));
    }

    #[test]
    fn refused_requests_are_counted() {
        let (budget, _) = new();
        assert_eq!(budget.denied(), 0);
        (0..3).for_each(|_| budget.deny());
        assert_eq!(budget.denied(), 3);
    }

    #[test]
    fn the_fixed_rate_is_spread_over_the_second() {
        let (budget, now) = new();
        let limit = RetryBudget { percent: 0, per_second: 4 };
        let taken = |at: Instant| (0..10).filter(|_| budget.withdraw(limit, at)).count();
        let ms = Duration::from_millis;
        let steps =
            [(0, 4), (249, 0), (250, 1), (499, 0), (1000, 3), (1999, 3), (2000, 1), (9000, 4)];
        for (at, count) in steps {
            assert_eq!(taken(now + ms(at)), count, "after {at} ms");
        }
    }

    proptest! {
        /// In any order and over any time, extra attempts are at most a fifth of the requests, plus
        /// ten per second, plus the ten saved up.
        #[test]
        fn extra_attempts_stay_within_the_budget(
            steps in prop::collection::vec((0u64..3000, 0usize..60, 0usize..60), 1..200),
        ) {
            let (budget, start) = new();
            let (mut now, mut requests, mut extra) = (start, 0usize, 0usize);
            for (millis, arriving, failing) in steps {
                now += Duration::from_millis(millis);
                for _ in 0..arriving {
                    drop(budget.enter(now));
                }
                requests += arriving;
                extra += (0..failing).filter(|_| budget.withdraw(LIMIT, now)).count();
                let seconds = (now - start).as_secs_f64();
                let most = 0.2 * requests as f64 + 10.0 * (seconds + 1.0);
                prop_assert!(extra as f64 <= most + 1e-6, "{extra} extra attempts, at most {most}");
            }
        }
    }
}
