//! The circuit breaker of a strategy, as in Nygard's "Release It!": faults take the strategy out of
//! use for a time, then one call tries it again. The caller passes `now`. There is no clock and no
//! lock.

use std::time::{Duration, Instant};

use super::Fault;

/// Weighs faults against good answers, and decides if a strategy is asked.
///
/// Each fault adds [`FAULT`](Self::FAULT) points, each good answer takes one. So five faults in a
/// row reach [`LIMIT`](Self::LIMIT), and so do faults of more than one call in ten for some time.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    points: u32,
    /// None while the strategy is in use.
    rest: Option<Rest>,
    /// True while the trial call is under way.
    on_trial: bool,
}

/// A time out of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// When the strategy may be tried again.
    pub until: Instant,
    /// Why it is out of use.
    pub cause: RestCause,
}

/// Why a strategy is out of use for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestCause {
    /// It had too many faults.
    Faults,
    /// It used more than its share of CPU time.
    Cpu,
}

impl RestCause {
    /// The cause in one word: `faults`, `cpu`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Faults => "faults",
            Self::Cpu => "cpu",
        }
    }
}

/// Why a call is admitted. Every call must end with one of [`Breaker::answered`],
/// [`Breaker::failed`] and [`Breaker::give_back`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Call {
    /// The strategy is in use.
    Regular,
    /// The one call that tries the strategy again.
    Trial,
}

impl Breaker {
    /// Points of one fault.
    pub const FAULT: u32 = 9;
    /// Points that take a strategy out of use: those of five faults in a row. One that takes its
    /// whole deadline each time would delay the others.
    pub const LIMIT: u32 = 5 * Self::FAULT;
    /// Time out of use before the strategy is tried again.
    pub const REST: Duration = Duration::from_secs(30);

    /// Admits a call at `now`. None while the strategy is out of use.
    #[must_use]
    pub fn admit(&mut self, now: Instant) -> Option<Call> {
        match self.rest {
            None => Some(Call::Regular),
            Some(rest) if rest.until <= now && !self.on_trial => {
                self.on_trial = true;
                Some(Call::Trial)
            }
            Some(_) => None,
        }
    }

    /// The time out of use, its trial included. None while the strategy is in use.
    #[must_use]
    pub fn rest(&self) -> Option<Rest> {
        self.rest
    }

    /// The end of its rest, if it rests at `now`.
    #[must_use]
    pub fn rests(&self, now: Instant) -> Option<Instant> {
        self.rest.map(|rest| rest.until).filter(|until| *until > now)
    }

    /// True if it has no recent fault. A good answer then changes nothing.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.points == 0 && self.rest.is_none()
    }

    /// Records a good answer. That of a trial puts the strategy back in use.
    pub fn answered(&mut self, call: Call) {
        self.points = self.points.saturating_sub(1);
        if call == Call::Trial {
            self.points = 0;
            self.rest = None;
        }
        self.give_back(call);
    }

    /// Records a fault. Returns true if it took the strategy out of use. [`Fault::Busy`] and
    /// [`Fault::Off`] follow from earlier faults, or from load, and count as no result.
    pub fn failed(&mut self, call: Call, fault: &Fault, now: Instant) -> bool {
        let (points, cause) = match fault {
            Fault::Busy | Fault::Off => {
                self.give_back(call);
                return false;
            }
            // Its share is a limit by itself: one more such call would be one too many.
            Fault::Overspent(_) => (Self::LIMIT, RestCause::Cpu),
            _ => (Self::FAULT, RestCause::Faults),
        };
        self.points = (self.points + points).min(Self::LIMIT);
        let opens = call == Call::Regular && self.rest.is_none() && self.points == Self::LIMIT;
        if opens || call == Call::Trial {
            self.rest = Some(Rest { until: now + Self::REST, cause });
        }
        self.give_back(call);
        opens
    }

    /// Ends a call without a result.
    pub fn give_back(&mut self, call: Call) {
        if call == Call::Trial {
            self.on_trial = false;
        }
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
