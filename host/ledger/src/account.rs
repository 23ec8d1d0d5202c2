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
    /// The age of the rule that it is of.
    age: u64,
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
    /// It was told in this window that it begins in the future.
    is_told_ahead: bool,
    /// Its last entry is written, and nothing may be reserved any more.
    closed: bool,
    /// The store's last words of it, before the first use.
    kept: Option<Entry>,
}

/// An account as the store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The start of its window, in seconds since 1970.
    pub(crate) start: i64,
    /// The end of its window, likewise.
    pub(crate) end: i64,
    /// What is possibly spent in the window.
    pub(crate) lease: Picodollars,
}

impl Entry {
    fn of(window: Window, lease: Picodollars) -> Self {
        Self { start: window.start.as_second(), end: window.end.as_second(), lease }
    }
}

/// The answer to a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is made. True: the next lease should be asked for.
    Reserved { low: bool },
    /// The lease is too small. A larger one must be asked for first.
    Unleased,
    /// The store is closed.
    Closed,
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
        if state.closed {
            return Answer::Closed;
        }
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
            // Others wait beside it: a lease for all of them is written at once.
            state.wanted = state.wanted.max(total).saturating_add(amount).min(rule.amount);
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
        state.turn(rule, now);
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

    /// True once in a window that lies ahead: the clock was set back, and no money comes until it has
    /// caught up.
    pub(crate) fn tells_ahead(&self, now: Timestamp) -> bool {
        let mut state = self.lock();
        let is_ahead = state.window.is_some_and(|window| window.is_ahead(now));
        is_ahead && !std::mem::replace(&mut state.is_told_ahead, true)
    }

    /// The start of its window, if that is over and nothing is reserved. None: its money still counts.
    pub(crate) fn over(&self, now: Timestamp) -> Option<i64> {
        let state = self.lock();
        let (start, end) = match (state.window, state.kept) {
            (Some(window), _) => (window.start.as_second(), window.end.as_second()),
            (None, Some(kept)) => (kept.start, kept.end),
            (None, None) => (i64::MIN, i64::MIN),
        };
        (state.reserved.is_zero() && end <= now.as_second()).then_some(start)
    }

    /// What the store should write. None: it has all that is wanted.
    pub(crate) fn wanted(&self) -> Option<Entry> {
        let state = self.lock();
        let window = state.window.filter(|_| state.wanted > state.lease)?;
        Some(Entry::of(window, state.wanted))
    }

    /// What a new store should have. None: nothing of it counts.
    pub(crate) fn entry(&self) -> Option<Entry> {
        let state = self.lock();
        match state.window {
            Some(window) => Some(Entry::of(window, state.lease.max(state.wanted))),
            None => state.kept,
        }
    }

    /// Ends all reservations to come: a lease that is granted later would not be in the store's last
    /// words.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.leased.notify_waiters();
    }

    /// What the store should have when the process ends: nothing is leased any more, but what is
    /// reserved still may be spent.
    pub(crate) fn last(&self) -> Option<Entry> {
        let state = self.lock();
        let window = state.window?;
        let lease = state.spent.saturating_add(state.reserved);
        Some(Entry::of(window, lease))
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
    /// earlier window, and a request from before a reload not the windows of that time.
    fn turn(&mut self, rule: &Rule, now: Timestamp) -> Window {
        let Some(window) = self.window else { return self.first(rule, now) };
        if rule.age < self.age {
            return window;
        }
        let is_over = now >= window.end;
        if !is_over && self.calendar.as_ref() == Some(&rule.calendar) {
            self.age = rule.age;
            return window;
        }
        // After a reload with another period, what was spent in the window so far stays spent.
        if is_over {
            self.spent = Picodollars::ZERO;
        }
        let new = rule.window(now);
        self.begin(new, rule);
        self.lease = Picodollars::ZERO;
        self.wanted = self.spent.saturating_add(self.reserved);
        new
    }

    /// The first window in this process: what the store has of it counts as spent.
    fn first(&mut self, rule: &Rule, now: Timestamp) -> Window {
        let new = rule.window(now);
        let kept = self.kept.take().filter(|kept| now.as_second() < kept.end);
        // Of a window that begins later: the clock was set back. The later one goes on.
        let later = kept.and_then(|kept| Timestamp::from_second(kept.start).ok());
        let window = later.filter(|start| *start > now).map_or(new, |start| rule.window(start));
        let spent = kept.map_or(Picodollars::ZERO, |kept| kept.lease);
        self.begin(window, rule);
        let is_same = kept.is_some_and(|kept| kept.start == window.start.as_second());
        let lease = if is_same { spent } else { Picodollars::ZERO };
        (self.spent, self.lease, self.wanted) = (spent, lease, spent);
        window
    }

    fn begin(&mut self, window: Window, rule: &Rule) {
        self.window = Some(window);
        self.calendar = Some(rule.calendar.clone());
        self.age = rule.age;
        self.largest = Picodollars::ZERO;
        (self.warned, self.is_told_ahead) = (false, false);
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
