//! One quota of a deployment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use config::{Period, Quota, QuotaSource, QuotaUnit};

use super::counted::{Counted, Full};
use super::told::{Mark, Tale, Told};
use super::{QuotaNeeds, ToldQuota, Wall};

const HOUR: u32 = 3600;
const DAY: u32 = 24 * HOUR;

/// One quota, and its count. Reloads that change the amount keep the count.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) quota: Quota,
    /// `500 requests per minute`.
    pub(super) name: Arc<str>,
    state: Arc<Mutex<State>>,
    wall: Wall,
}

#[derive(Debug)]
struct State {
    count: Count,
    /// Since when it is used up, as far as it was looked at.
    closed: Option<SystemTime>,
}

#[derive(Debug)]
enum Count {
    Counted(Counted),
    Told(Told),
}

/// What an attempt took of one quota.
#[derive(Debug, Clone, Copy)]
pub(super) enum Taken {
    /// Used in the window of this number.
    Used(u64, u64),
    /// Reserved.
    Reserved(u64),
    /// Sent, and expected to take this.
    Sent(Mark, u64),
}

/// How much of a quota is used now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    /// Used, and reserved by attempts under way.
    pub(super) used: u64,
    pub(super) limit: u64,
    /// When the window turns.
    pub(super) ends: Instant,
}

impl Level {
    /// The used share, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    pub(super) fn share(self) -> f64 {
        if self.limit == 0 { 1.0 } else { (self.used as f64 / self.limit as f64).min(1.0) }
    }
}

/// What changed since a quota was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    /// It is used up until then.
    Closed(Instant),
    /// Something is left again.
    Opened,
}

impl Line {
    /// The quota with the count of `old`, if that is of the same kind.
    pub(super) fn of(quota: &Quota, old: Option<&Self>, wall: Wall) -> Self {
        let count = match quota.source {
            QuotaSource::Counted => Count::Counted(Counted::default()),
            QuotaSource::Headers => Count::Told(Told::default()),
        };
        let new = || Arc::new(Mutex::new(State { count, closed: None }));
        Self {
            quota: quota.clone(),
            name: quota.to_string().into(),
            state: old.map_or_else(new, |old| Arc::clone(&old.state)),
            wall,
        }
    }

    /// Whether both count the same in the same windows.
    pub(super) fn is_like(&self, quota: &Quota) -> bool {
        let own = &self.quota;
        (own.unit, own.per, own.source) == (quota.unit, quota.per, quota.source)
            && own.time_zone == quota.time_zone
    }

    /// What a request needs of it: `counted` as an upper bound, `told` as is probable.
    fn need(&self, needs: QuotaNeeds) -> u64 {
        match (self.quota.unit, self.quota.source) {
            (QuotaUnit::Requests, _) => 1,
            (QuotaUnit::Tokens, QuotaSource::Counted) => needs.most,
            (QuotaUnit::Tokens, QuotaSource::Headers) => needs.expected,
        }
    }

    /// Whether a request fits.
    pub(super) fn fits(&self, needs: QuotaNeeds, now: Instant) -> Result<(), Full> {
        let (mut state, need) = (self.lock(), self.need(needs));
        self.room(&mut state.count, need, now).map(|_| ())
    }

    /// Takes what an attempt needs, if it fits.
    pub(super) fn take(&self, needs: QuotaNeeds, now: Instant) -> Result<Taken, Full> {
        let (mut state, need) = (self.lock(), self.need(needs));
        let number = self.room(&mut state.count, need, now)?;
        Ok(match (&mut state.count, self.quota.unit) {
            (Count::Counted(counted), QuotaUnit::Requests) => {
                counted.spend(need);
                Taken::Used(need, number)
            }
            (Count::Counted(counted), QuotaUnit::Tokens) => {
                counted.reserve(need);
                Taken::Reserved(need)
            }
            (Count::Told(told), _) => Taken::Sent(told.send(need), need),
        })
    }

    /// Goes on to the window of now. Returns its number if `need` fits.
    fn room(&self, count: &mut Count, need: u64, now: Instant) -> Result<u64, Full> {
        match count {
            Count::Counted(counted) => {
                let (number, ends) = counted.turn(&self.quota, || self.wall.at(now), now);
                counted.fits(&self.quota, need, ends).map(|()| number)
            }
            Count::Told(told) => {
                told.turn(self.period(), self.quota.amount, now);
                match told.left() {
                    // What a request takes is an estimate: the last of a window may be tried.
                    Some((left, ends, limit)) if left < need.min(limit.unwrap_or(u64::MAX)) => {
                        Err(Full::Used(ends))
                    }
                    _ => Ok(0),
                }
            }
        }
    }

    /// Takes back what an attempt took that was not sent.
    pub(super) fn give_back(&self, taken: Taken) {
        let mut state = self.lock();
        match (&mut state.count, taken) {
            (Count::Counted(counted), Taken::Used(amount, window)) => {
                counted.give_back(amount, window);
            }
            (Count::Counted(counted), Taken::Reserved(amount)) => counted.settle(amount, 0),
            (Count::Told(told), Taken::Sent(mark, amount)) => told.give_back(mark, amount),
            _ => {}
        }
    }

    /// Ends an attempt that used `tokens`, or at least so many if `is_open`: then all that it
    /// reserved counts as used.
    pub(super) fn settle(&self, taken: Taken, tokens: u64, is_open: bool, now: Instant) {
        let mut state = self.lock();
        if let (Count::Counted(counted), Taken::Reserved(amount)) = (&mut state.count, taken) {
            let used = if is_open { tokens.max(amount) } else { tokens };
            // What an earlier window has used must not be added to.
            counted.turn(&self.quota, || self.wall.at(now), now);
            counted.settle(amount, used);
        }
    }

    /// Records what an answer tells of it.
    pub(super) fn tell(&self, told: &ToldQuota, taken: Taken, sent: Instant, now: Instant) {
        let mut state = self.lock();
        if let (Count::Told(count), Taken::Sent(mark, _)) = (&mut state.count, taken) {
            count.turn(self.period(), self.quota.amount, now);
            let reset = told.reset.unwrap_or(self.period()).min(self.period());
            let tale = Tale { limit: told.limit, remaining: told.remaining, reset };
            count.tell(tale, mark, sent, now);
        }
    }

    /// How much is used. None: the deployment has not told.
    pub(super) fn level(&self, now: Instant) -> Option<Level> {
        self.level_of(&mut self.lock().count, now)
    }

    fn level_of(&self, count: &mut Count, now: Instant) -> Option<Level> {
        match count {
            Count::Counted(counted) => {
                let (_, ends) = counted.turn(&self.quota, || self.wall.at(now), now);
                let used = counted.used().saturating_add(counted.reserved());
                Some(Level { used, limit: self.quota.amount, ends })
            }
            Count::Told(told) => {
                told.turn(self.period(), self.quota.amount, now);
                let (left, ends, limit) = told.left()?;
                let limit = limit.unwrap_or(self.quota.amount);
                Some(Level { used: limit.saturating_sub(left), limit, ends })
            }
        }
    }

    /// When the window turns, if nothing is left of it whatever attempts under way give back.
    pub(super) fn closed(&self, now: Instant) -> Option<Instant> {
        self.closed_of(&mut self.lock().count, now)
    }

    /// What changed since the last call.
    pub(super) fn turned(&self, now: Instant) -> Option<Turned> {
        let mut state = self.lock();
        let until = self.closed_of(&mut state.count, now);
        match (state.closed.is_some(), until) {
            (false, Some(ends)) => {
                state.closed = Some(SystemTime::now());
                Some(Turned::Closed(ends))
            }
            (true, None) => {
                state.closed = None;
                Some(Turned::Opened)
            }
            _ => None,
        }
    }

    /// Since when it is used up.
    pub(super) fn closed_since(&self) -> Option<SystemTime> {
        self.lock().closed
    }

    fn closed_of(&self, count: &mut Count, now: Instant) -> Option<Instant> {
        let level = self.level_of(count, now)?;
        let is_closed = match count {
            Count::Counted(counted) => counted.used() >= self.quota.amount,
            Count::Told(told) => told.left().is_some_and(|(left, ..)| left == 0),
        };
        is_closed.then_some(level.ends)
    }

    /// The length of a window, at most.
    fn period(&self) -> Duration {
        let seconds = match self.quota.per {
            Period::Seconds(seconds) => seconds,
            Period::Hour => HOUR,
            Period::Day => DAY,
            Period::Week => 7 * DAY,
            Period::Month => 31 * DAY,
        };
        Duration::from_secs(seconds.into())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves consistent state, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
