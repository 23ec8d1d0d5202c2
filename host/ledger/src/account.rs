//! The account of a budget: what is spent and what is reserved in the window of now.
//!
//! Money leaves in two steps. A request *reserves* the most that it can cost, and *settles* what it
//! has cost. What is spent and reserved together never passes the amount, nor the *lease*: the sum
//! that the store on disk has as possibly spent. After a crash the whole lease counts as spent, so
//! nothing that was reserved can be spent a second time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use contract::Picodollars;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::rule::{Calendar, Rule};
use crate::window::Window;

/// Money of one budget, or of one tenant under it.
#[derive(Debug, Default)]
pub(crate) struct Account {
    state: Mutex<State>,
    /// Told when the lease grows, and when the store fails.
    pub(crate) leased: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// None before its first use in this process.
    window: Option<Window>,
    /// The period whose window it is.
    calendar: Option<Calendar>,
    spent: Picodollars,
    reserved: Picodollars,
    /// What the store has as possibly spent in this window.
    lease: Picodollars,
    /// The lease that the store is asked for.
    wanted: Picodollars,
    /// The largest reservation so far.
    largest: Picodollars,
    /// It was told in this window that most is spent.
    warned: bool,
    /// The store's last words of it, before the first use.
    kept: Option<Entry>,
}

/// An account as the store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The start of its window, in seconds since 1970.
    pub(crate) start: i64,
    /// What is possibly spent in the window.
    pub(crate) lease: Picodollars,
}

/// The answer to a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is made. True: the next lease should be asked for.
    Reserved { low: bool },
    /// The lease is too small. A larger one must be asked for first.
    Unleased,
    /// So much is spent that it does not fit before the window ends.
    Spent { until: Timestamp },
    /// It does not fit beside the reservations of requests under way.
    Taken,
}

/// What an account has at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) spent: Picodollars,
    pub(crate) reserved: Picodollars,
    pub(crate) window: Window,
}

impl Account {
    /// An account that the store knows.
    pub(crate) fn kept(entry: Entry) -> Self {
        let account = Self::default();
        account.lock().kept = Some(entry);
        account
    }

    /// Reserves an amount. `unleased`: without the store, which has failed.
    pub(crate) fn reserve(
        &self,
        rule: &Rule,
        amount: Picodollars,
        unleased: bool,
        now: Timestamp,
    ) -> Answer {
        let mut state = self.lock();
        let window = state.turn(rule, now);
        let total = state.spent.checked_add(state.reserved);
        let total = total.and_then(|total| total.checked_add(amount));
        let Some(total) = total.filter(|total| *total <= rule.amount) else {
            let alone = state.spent.checked_add(amount);
            return match alone.is_some_and(|alone| alone <= rule.amount) {
                true => Answer::Taken,
                false => Answer::Spent { until: window.end },
            };
        };
        state.largest = state.largest.max(amount);
        let step = rule.step(state.largest);
        let is_low = |lease: Picodollars| {
            lease < rule.amount && lease.saturating_sub(total).get() < step.get() / 2
        };
        if is_low(state.wanted) {
            state.wanted = total.saturating_add(step).min(rule.amount);
        }
        if total > state.lease && !unleased {
            return Answer::Unleased;
        }
        state.reserved = state.reserved.saturating_add(amount);
        Answer::Reserved { low: state.wanted > state.lease }
    }

    /// Takes a reservation back and spends what the request has cost. Returns true, once in a
    /// window, if most is spent now.
    pub(crate) fn settle(
        &self,
        rule: &Rule,
        reserved: Picodollars,
        cost: Picodollars,
        now: Timestamp,
    ) -> bool {
        let mut state = self.lock();
        // A request from before a reload must not bring back the windows of that time.
        if state.calendar.as_ref() == Some(&rule.calendar) {
            state.turn(rule, now);
        }
        state.reserved = state.reserved.saturating_sub(reserved);
        state.spent = state.spent.saturating_add(cost);
        let total = state.spent.saturating_add(state.reserved);
        // More than was reserved: the store must know of it.
        state.wanted = state.wanted.max(total);
        let warns = !state.warned && rule.is_warned_of(state.spent);
        state.warned |= warns;
        warns
    }

    pub(crate) fn balance(&self, rule: &Rule, now: Timestamp) -> Balance {
        let mut state = self.lock();
        let window = state.turn(rule, now);
        Balance { spent: state.spent, reserved: state.reserved, window }
    }

    /// What the store should write. None: it has all that is wanted.
    pub(crate) fn wanted(&self) -> Option<Entry> {
        let state = self.lock();
        let window = state.window.filter(|_| state.wanted > state.lease)?;
        Some(Entry { start: window.start.as_second(), lease: state.wanted })
    }

    /// What the store should have when the process ends: nothing is leased any more, but what is
    /// reserved still may be spent.
    pub(crate) fn last(&self) -> Option<Entry> {
        let state = self.lock();
        let window = state.window?;
        let lease = state.spent.saturating_add(state.reserved);
        Some(Entry { start: window.start.as_second(), lease })
    }

    /// The store has written this entry.
    pub(crate) fn written(&self, entry: Entry) {
        let mut state = self.lock();
        if state.window.is_some_and(|window| window.start.as_second() == entry.start) {
            state.lease = state.lease.max(entry.lease);
        }
        drop(state);
        self.leased.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Goes on to the window of `now`. A clock that was set back does not bring back the money of an
    /// earlier window.
    fn turn(&mut self, rule: &Rule, now: Timestamp) -> Window {
        match self.window {
            Some(window) if now < window.end && self.calendar.as_ref() == Some(&rule.calendar) => {
                window
            }
            Some(window) if now < window.end => {
                // A reload has changed the period. What was spent in the old window stays spent.
                let new = rule.window(now);
                self.begin(new, rule);
                self.lease = Picodollars::ZERO;
                self.wanted = self.spent.saturating_add(self.reserved);
                new
            }
            Some(_) => {
                let new = rule.window(now);
                self.spent = Picodollars::ZERO;
                self.lease = Picodollars::ZERO;
                self.wanted = self.reserved;
                self.begin(new, rule);
                new
            }
            None => {
                let new = rule.window(now);
                let kept = self.kept.take().and_then(|kept| {
                    let start = Timestamp::from_second(kept.start).ok()?;
                    (start >= new.start).then(|| (kept.lease, rule.window(start)))
                });
                // Of a window that begins later: the clock was set back. The later one goes on.
                let (lease, window) = kept.unwrap_or((Picodollars::ZERO, new));
                (self.spent, self.lease, self.wanted) = (lease, lease, lease);
                self.begin(window, rule);
                window
            }
        }
    }

    fn begin(&mut self, window: Window, rule: &Rule) {
        self.window = Some(window);
        self.calendar = Some(rule.calendar.clone());
        self.warned = false;
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
