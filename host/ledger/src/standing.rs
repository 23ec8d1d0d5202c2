//! How budgets stand at a moment, in exact amounts and in the numbers of strategies.

use std::sync::Arc;
use std::time::Duration;

use contract::{Picodollars, Signal};
use jiff::Timestamp;

use crate::Books;

/// How a budget stands at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: Arc<str>,
    /// What it allows in its window.
    pub amount: Picodollars,
    /// What is spent.
    pub spent: Picodollars,
    /// What is reserved for requests under way.
    pub reserved: Picodollars,
    /// When the window began.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// How far ahead the window begins, because the clock was set back. 0: it has begun.
    pub ahead: Duration,
}

/// Who asks how a budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer<'a> {
    /// Nobody in particular: there is no request.
    Anybody,
    /// A request of this tenant, as far as its word counts for money.
    Tenant(Option<&'a str>),
}

impl Standing {
    /// Dollars that are neither spent nor reserved.
    #[must_use]
    pub fn left(&self) -> f64 {
        let gone = self.spent.saturating_add(self.reserved);
        self.amount.saturating_sub(gone).as_dollars()
    }

    /// The share of the window that is over at `now`, from 0 to 1. A window that begins later, because
    /// the clock was set back, has not begun.
    #[must_use]
    pub fn elapsed(&self, now: Timestamp) -> f64 {
        let since = now.duration_since(self.start).as_secs_f64();
        let length = self.end.duration_since(self.start).as_secs_f64();
        (since / length).clamp(0.0, 1.0)
    }

    /// The share of the amount that is spent, divided by the share of the window that is over. 1: at
    /// this rate, the money lasts just as long as the window. The first millisecond counts as over, so
    /// that the pace is finite.
    #[must_use]
    pub fn pace(&self, now: Timestamp) -> f64 {
        let length = self.end.duration_since(self.start).as_secs_f64();
        let elapsed = self.elapsed(now).max(1e-3 / length);
        self.spent.as_dollars() / self.amount.as_dollars() / elapsed
    }
}

impl Books {
    /// The value of a signal of budgets. NaN: there is no such budget, or none for this payer.
    #[must_use]
    pub fn signal(&self, signal: Signal, budget: &str, payer: Payer<'_>) -> f64 {
        let Some(standing) = self.standing(budget, payer) else { return f64::NAN };
        match signal {
            Signal::BudgetLeft => standing.left(),
            Signal::BudgetElapsed => standing.elapsed(self.now()),
            Signal::BudgetPace => standing.pace(self.now()),
            _ => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicI64, Ordering};

    use config::{Budget, Coverage, Each, OnceSpent, Period, Reserve, TimeZone};

    use crate::{Clock, Stake};

    use super::*;

    /// A budget of a dollar a minute.
    fn budget(name: &str, each: Option<Each>, tenant: Option<&str>) -> Budget {
        Budget {
            name: name.to_owned(),
            amount: Picodollars::new(1_000_000_000_000),
            per: Period::Seconds(60),
            time_zone: TimeZone::default(),
            of: Coverage { tenant: tenant.map(str::to_owned), ..Coverage::default() },
            each,
            then: OnceSpent::Next,
            reserve: Reserve::Maximum,
            warn_at: 1.0,
        }
    }

    #[test]
    fn signals_are_those_of_the_payer() {
        let time = Arc::new(AtomicI64::new(0));
        let budgets = [
            budget("all", None, None),
            budget("each", Some(Each::Tenant), None),
            budget("one", None, Some("a")),
        ];
        let clock = Clock::Set(Arc::clone(&time));
        let books = Arc::new(Books::simulated(&budgets, [vec![0b111]], clock));
        let stake = Stake { most: Picodollars::new(500_000_000_000), ..Stake::default() };
        let money = books.purse(0, Some("a"), |_| stake).unwrap().reserve_now(0).unwrap().unwrap();
        let [anybody, nobody, a, b] = [
            Payer::Anybody,
            Payer::Tenant(None),
            Payer::Tenant(Some("a")),
            Payer::Tenant(Some("b")),
        ];
        let left = |name, payer| books.signal(Signal::BudgetLeft, name, payer);
        assert_eq!([anybody, nobody, a, b].map(|payer| left("all", payer)), [0.5; 4]);
        assert!(left("each", anybody).is_nan() && left("none", a).is_nan());
        assert_eq!([nobody, a, b].map(|payer| left("each", payer)), [1.0, 0.5, 1.0]);
        assert_eq!([anybody, a].map(|payer| left("one", payer)), [0.5; 2]);
        assert!(left("one", b).is_nan() && left("one", nobody).is_nan(), "it is not theirs");
        money.settle(Picodollars::new(250_000_000_000));
        time.store(15_000_000, Ordering::Relaxed);
        let of = |signal| books.signal(signal, "all", b);
        assert_eq!(of(Signal::BudgetLeft), 0.75);
        assert_eq!((of(Signal::BudgetElapsed), of(Signal::BudgetPace)), (0.25, 1.0));
        time.store(90_000_000, Ordering::Relaxed);
        assert_eq!((of(Signal::BudgetElapsed), of(Signal::BudgetPace)), (0.5, 0.0), "a new window");
        assert!(of(Signal::Limit).is_nan());
    }

    fn standing(spent: u64, reserved: u64) -> Standing {
        Standing {
            name: "a".into(),
            amount: Picodollars::new(4_000_000_000_000),
            spent: Picodollars::new(spent * 1_000_000_000_000),
            reserved: Picodollars::new(reserved * 1_000_000_000_000),
            start: "2026-11-30T10:00:00Z".parse().unwrap(),
            end: "2026-11-30T11:00:00Z".parse().unwrap(),
            ahead: Duration::ZERO,
        }
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-11-30T{time}Z").parse().unwrap()
    }

    #[test]
    fn what_is_spent_or_reserved_is_not_left() {
        for (spent, reserved, left) in [(0, 0, 4.0), (1, 2, 1.0), (2, 2, 0.0), (3, 4, 0.0)] {
            assert_eq!(standing(spent, reserved).left(), left, "{spent} {reserved}");
        }
    }

    #[test]
    fn a_pace_of_one_lasts_the_window() {
        for (spent, time, elapsed, pace) in [
            (0, "10:00:00", 0.0, 0.0),
            (1, "10:15:00", 0.25, 1.0),
            (1, "10:30:00", 0.5, 0.5),
            (2, "10:15:00", 0.25, 2.0),
            (4, "11:00:00", 1.0, 1.0),
            // A clock that was set back, and one that nobody has looked at since the window ended.
            (0, "09:00:00", 0.0, 0.0),
            (4, "12:00:00", 1.0, 1.0),
        ] {
            let standing = standing(spent, 0);
            assert_eq!(standing.elapsed(at(time)), elapsed, "{time}");
            assert_eq!(standing.pace(at(time)), pace, "{spent} {time}");
        }
    }

    #[test]
    fn the_pace_is_finite_from_the_first_moment_on() {
        let pace = standing(4, 0).pace(at("10:00:00"));
        assert!((pace - 3_600_000.0).abs() < 1e-3, "{pace}");
        assert_eq!(standing(1, 3).pace(at("10:15:00")), 1.0, "what is reserved is not spent");
    }
}
