//! A quota that the gateway counts by itself, in windows of the calendar.
//!
//! What is used and what is reserved together never passes the amount. A request is used when it is
//! sent. Tokens are reserved first, as many as an attempt can take, and used when it ends. Tokens
//! that are reserved when a window turns stay reserved in the next one: the deployment may count
//! them there.
//!
//! Windows end by the monotonic clock, so no change of the machine's clock brings a quota back early
//! or keeps it away.

use std::time::{Duration, Instant};

use config::Quota;
use jiff::Timestamp;
use ledger::Window;

/// The count of the window of now.
#[derive(Debug, Default)]
pub(super) struct Counted {
    open: Option<Open>,
    used: u64,
    reserved: u64,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    /// Counts the windows of this quota.
    number: u64,
    ends: Instant,
    /// Its end by the calendar.
    end: Timestamp,
}

/// Why an amount does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// So much is used that it does not fit before the window ends.
    Used(Instant),
    /// It does not fit beside what attempts under way have reserved.
    Reserved,
    /// It is more than a window has.
    Never,
}

impl Counted {
    /// Goes on to the window of now, and returns its number and its end. `wall` is the time of the
    /// machine's clock.
    pub(super) fn turn(
        &mut self,
        quota: &Quota,
        wall: impl FnOnce() -> Timestamp,
        now: Instant,
    ) -> (u64, Instant) {
        if let Some(open) = self.open.filter(|open| now < open.ends) {
            return (open.number, open.ends);
        }
        let wall = wall();
        let of = |at| Window::of(quota.per, &quota.time_zone, at);
        let mut window = of(wall);
        let mut from = wall;
        // The two clocks differ a little, or the machine's was set back: the window just left must
        // not be used again.
        if let Some(last) = self.open.filter(|last| window.end == last.end) {
            (window, from) = (of(last.end), last.end);
        }
        let lasts = Duration::try_from(window.end.duration_since(from)).unwrap_or_default();
        let number = self.open.map_or(1, |last| last.number + 1);
        let ends = now.checked_add(lasts).unwrap_or(now);
        self.open = Some(Open { number, ends, end: window.end });
        self.used = 0;
        (number, ends)
    }

    /// Whether `amount` fits in the window that ends at `ends`.
    pub(super) fn fits(&self, quota: &Quota, amount: u64, ends: Instant) -> Result<(), Full> {
        let with = |taken: u64| taken.saturating_add(amount) <= quota.amount;
        if with(self.used.saturating_add(self.reserved)) {
            Ok(())
        } else if amount > quota.amount {
            Err(Full::Never)
        } else if with(self.used) {
            Err(Full::Reserved)
        } else {
            Err(Full::Used(ends))
        }
    }

    /// Reserves an amount that fits.
    pub(super) fn reserve(&mut self, amount: u64) {
        self.reserved = self.reserved.saturating_add(amount);
    }

    /// Ends a reservation of `reserved`: `used` of it were used.
    pub(super) fn settle(&mut self, reserved: u64, used: u64) {
        self.reserved = self.reserved.saturating_sub(reserved);
        self.used = self.used.saturating_add(used);
    }

    /// Uses an amount at once.
    pub(super) fn spend(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
    }

    /// Gives back what was used in window `number`, unless that is over.
    pub(super) fn give_back(&mut self, amount: u64, number: u64) {
        if self.open.is_some_and(|open| open.number == number) {
            self.used = self.used.saturating_sub(amount);
        }
    }

    /// What is used in this window.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// What attempts under way have reserved.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }
}
