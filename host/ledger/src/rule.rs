//! What a budget allows.

use config::{Budget, Period, TimeZone};
use contract::Picodollars;
use jiff::Timestamp;

use crate::window::Window;

/// The part of a budget that its accounts follow. A reload brings new rules to the same accounts.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Counts the configurations of this process. Only the rules of the newest one turn windows.
    pub(crate) age: u64,
    pub(crate) amount: Picodollars,
    pub(crate) calendar: Calendar,
    /// What was spent when it is told.
    warn: Picodollars,
}

/// What the windows of a budget are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Calendar {
    period: Period,
    zone: TimeZone,
}

/// A hundredth of a budget is leased at a time.
const STEP: u64 = 100;

impl Rule {
    pub(crate) fn of(budget: &Budget, age: u64) -> Self {
        Self {
            age,
            amount: budget.amount,
            calendar: Calendar { period: budget.per, zone: budget.time_zone.clone() },
            warn: share(budget.amount, budget.warn_at),
        }
    }

    pub(crate) fn window(&self, at: Timestamp) -> Window {
        Window::of(self.calendar.period, &self.calendar.zone, at)
    }

    /// What is leased at a time: a hundredth of the budget, or four of the largest reservations, so
    /// that few reservations wait for the next lease.
    pub(crate) fn step(&self, largest: Picodollars) -> Picodollars {
        Picodollars::new(self.amount.get() / STEP).max(largest.saturating_mul(4))
    }

    pub(crate) fn is_warned_of(&self, spent: Picodollars) -> bool {
        spent >= self.warn
    }
}

/// A share of an amount, in parts of a million.
fn share(amount: Picodollars, share: f64) -> Picodollars {
    let parts = (share.clamp(0.0, 1.0) * 1e6).round() as u64;
    let part = u128::from(amount.get()) * u128::from(parts) / 1_000_000;
    Picodollars::new(u64::try_from(part).unwrap_or(u64::MAX))
}
