//! The objections to one deployment. This module decides how objections begin and end;
//! [`Standing`](super::Standing) decides who is admitted, and has the lock.

use std::time::{Duration, Instant, SystemTime};

use config::SlowStart;

use super::ejection::{Ejected, Ejections};
use super::slow_start::Ramp;
use super::{Change, Condition, State};

/// The objections to a deployment. Several may hold at once.
#[derive(Debug, Default)]
pub(super) struct Objections {
    pub(super) ejections: Ejections,
    pub(super) cooling: Option<Cooling>,
    pub(super) ramp: Option<Ramp>,
    /// When the last objection ended.
    pub(super) cleared: Option<SystemTime>,
}

#[derive(Debug)]
pub(super) struct Cooling {
    reason: String,
    since: SystemTime,
    pub(super) until: Instant,
}

impl Objections {
    pub(super) fn is_open(&self) -> bool {
        self.cooling.is_none() && self.ejections.out().is_none()
    }

    /// Drops a cooling whose time is over.
    pub(super) fn pass(&mut self, now: Instant) {
        if self.cooling.take_if(|cooling| cooling.until <= now).is_some() {
            self.cleared = Some(SystemTime::now());
        }
    }

    pub(super) fn cool(&mut self, cause: String, wait: Duration, now: Instant) -> Change {
        if wait.is_zero() {
            return Change::None;
        }
        let until = now + wait;
        if let Some(cooling) = &mut self.cooling {
            // Nothing to publish: requests that wait for the old end look again then.
            cooling.until = cooling.until.max(until);
            return Change::None;
        }
        let reason = format!("{cause}: left alone for {} s", wait.as_secs_f64());
        let since = SystemTime::now();
        self.cooling = Some(Cooling { reason: reason.clone(), since, until });
        Change::Cooling { reason }
    }

    pub(super) fn restore(&mut self, now: Instant, ramp: Option<Ramp>) -> Change {
        if !self.ejections.restore(now) {
            return Change::None;
        }
        self.ramp = ramp;
        self.cleared = Some(SystemTime::now());
        Change::Restored
    }

    /// The state that these objections give at `now`, and the share of its weight that the
    /// deployment gets.
    pub(super) fn state(&mut self, now: Instant, settings: &SlowStart) -> State {
        let of = |condition, reason: &str, since| State {
            condition,
            reason: Some(reason.to_owned()),
            since,
            factor: 1.0,
        };
        if let Some(Cooling { reason, since, .. }) = &self.cooling {
            return of(Condition::Cooling, reason, *since);
        }
        if let Some(out) = self.ejections.out() {
            return out.absence.state(Condition::Ejected, now);
        }
        if let Some(ramp) = self.ramp {
            if let Some(factor) = ramp.factor(now, settings) {
                let reason = "comes back: its weight rises to its share";
                return State { factor, ..of(Condition::SlowStart, reason, ramp.since) };
            }
            self.ramp = None;
            self.cleared = Some(SystemTime::now());
        }
        let since = self.cleared.unwrap_or(SystemTime::UNIX_EPOCH);
        State { condition: Condition::Healthy, reason: None, since, factor: 1.0 }
    }

    /// The [`Change`] for an ejection that has just begun.
    pub(super) fn ejected(&self) -> Change {
        match self.ejections.out() {
            Some(Ejected { absence, .. }) => {
                Change::Ejected { reason: absence.reason.clone(), lasts: absence.lasts() }
            }
            None => Change::None,
        }
    }
}
