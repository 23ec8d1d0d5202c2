//! The circuit breaker of a strategy, as in Nygard's "Release It!": faults in a row take the
//! strategy out of use for a time, then one call tries it again. The caller passes `now`. There is
//! no clock and no lock.

use std::time::{Duration, Instant};

/// Counts faults in a row, and decides if a strategy is asked.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    faults: u32,
    /// When the strategy may be tried again. None while it is in use.
    until: Option<Instant>,
    /// True while the trial call is under way.
    on_trial: bool,
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
    /// Faults in a row that take a strategy out of use. One that takes its whole deadline each time
    /// would delay the others.
    pub const FAULTS: u32 = 5;
    /// Time out of use before the strategy is tried again.
    pub const REST: Duration = Duration::from_secs(30);

    /// Admits a call at `now`. None while the strategy is out of use.
    #[must_use]
    pub fn admit(&mut self, now: Instant) -> Option<Call> {
        match self.until {
            None => Some(Call::Regular),
            Some(until) if until <= now && !self.on_trial => {
                self.on_trial = true;
                Some(Call::Trial)
            }
            Some(_) => None,
        }
    }

    /// True while the strategy is out of use, its trial included.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.until.is_some()
    }

    /// The end of its rest, if it rests at `now`.
    #[must_use]
    pub fn rests(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// True if it has no recent fault. A good answer then changes nothing.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.faults == 0 && self.until.is_none()
    }

    /// Records a good answer. That of a trial puts the strategy back in use.
    pub fn answered(&mut self, call: Call) {
        self.faults = 0;
        if call == Call::Trial {
            self.until = None;
        }
        self.give_back(call);
    }

    /// Records a fault. Returns true if it took the strategy out of use.
    pub fn failed(&mut self, call: Call, now: Instant) -> bool {
        self.faults = self.faults.saturating_add(1);
        let opens = call == Call::Regular && !self.is_off() && self.faults >= Self::FAULTS;
        if opens || call == Call::Trial {
            self.until = Some(now + Self::REST);
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
mod tests {
    use super::*;

    /// A breaker that has just gone out of use, and when it did.
    fn off() -> (Breaker, Instant) {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let fail = |breaker: &mut Breaker| {
            let call = breaker.admit(now).expect("in use");
            breaker.failed(call, now)
        };
        let opened: Vec<bool> = (0..Breaker::FAULTS).map(|_| fail(&mut breaker)).collect();
        assert_eq!(opened, [false, false, false, false, true]);
        (breaker, now)
    }

    #[test]
    fn faults_in_a_row_take_it_out_for_a_time() {
        let (mut breaker, now) = off();
        assert!(breaker.is_off() && !breaker.is_calm());
        assert_eq!(breaker.rests(now), Some(now + Breaker::REST));
        assert_eq!(breaker.rests(now + Breaker::REST), None);
        assert_eq!(breaker.admit(now + Breaker::REST - Duration::from_nanos(1)), None);
        assert_eq!(breaker.admit(now + Breaker::REST), Some(Call::Trial));
    }

    #[test]
    fn a_good_answer_between_forgives() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..Breaker::FAULTS {
            assert!(breaker.is_calm());
            assert!(!breaker.failed(Call::Regular, now));
            assert!(!breaker.is_calm() && !breaker.is_off());
            breaker.answered(Call::Regular);
        }
        assert_eq!(breaker.admit(now), Some(Call::Regular));
    }

    #[test]
    fn one_trial_at_a_time_decides() {
        let (mut breaker, mut now) = off();
        now += Breaker::REST;
        let trial = breaker.admit(now).expect("a trial");
        assert_eq!(breaker.admit(now), None, "one at a time");
        assert!(!breaker.failed(trial, now), "it was out already");
        assert_eq!(breaker.admit(now), None, "it rests again");
        now += Breaker::REST;
        let trial = breaker.admit(now).expect("a trial");
        breaker.give_back(trial);
        let trial = breaker.admit(now).expect("a trial that was given back frees the next one");
        breaker.answered(trial);
        assert!(breaker.is_calm());
        assert_eq!(breaker.admit(now), Some(Call::Regular));
    }

    #[test]
    fn calls_of_before_it_went_out_do_not_bring_it_back() {
        let (mut breaker, now) = off();
        breaker.answered(Call::Regular);
        assert!(breaker.is_off());
        assert!(!breaker.failed(Call::Regular, now + Breaker::REST));
        let at = now + Breaker::REST;
        assert_eq!(breaker.admit(at), Some(Call::Trial), "an old fault does not extend the rest");
        breaker.give_back(Call::Regular);
        assert_eq!(breaker.admit(at), None, "an old call does not end a trial");
    }
}
