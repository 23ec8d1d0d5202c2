//! Takes a strategy off the request path after consecutive faults. The rule is in
//! [`contract::Breaker`]. Here all cores share it, at the cost of one atomic read while there are
//! no faults.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use contract::{Breaker, Call};

/// A breaker that all cores share.
#[derive(Debug, Default)]
pub(super) struct PathBreaker {
    /// True if the breaker counts faults or is open. While it is false the lock is not taken.
    troubled: AtomicBool,
    breaker: Mutex<Breaker>,
}

/// Permission of one request to ask. A request that is given up drops it without a verdict, which
/// counts neither for nor against the strategy.
#[derive(Debug)]
pub(super) struct Leave<'a> {
    breaker: &'a PathBreaker,
    /// None once a verdict was given.
    call: Option<Call>,
}

impl PathBreaker {
    /// Permission to ask. None while the strategy is off the path.
    pub(super) fn leave(&self) -> Option<Leave<'_>> {
        match self.troubled.load(Ordering::Acquire) {
            true => self.leave_at(Instant::now()),
            false => Some(Leave { breaker: self, call: Some(Call::Regular) }),
        }
    }

    fn leave_at(&self, now: Instant) -> Option<Leave<'_>> {
        let call = self.with(|breaker| breaker.admit(now))?;
        Some(Leave { breaker: self, call: Some(call) })
    }

    pub(super) fn is_off(&self) -> bool {
        self.troubled.load(Ordering::Relaxed) && self.with(|breaker| breaker.is_off())
    }

    /// Runs `act` on the breaker, and updates `troubled` under the same lock.
    fn with<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> T {
        // Every method leaves the breaker consistent, so poisoning can be ignored.
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut breaker);
        self.troubled.store(!breaker.is_calm(), Ordering::Release);
        result
    }
}

impl Leave<'_> {
    /// Reports a good answer, which forgives earlier faults.
    pub(super) fn answered(mut self) {
        if let Some(call) = self.call.take()
            && self.breaker.troubled.load(Ordering::Relaxed)
        {
            self.breaker.with(|breaker| breaker.answered(call));
        }
    }

    /// Reports a fault. True if it took the strategy off the path.
    pub(super) fn failed(mut self) -> bool {
        let now = Instant::now();
        let call = self.call.take();
        call.is_some_and(|call| self.breaker.with(|breaker| breaker.failed(call, now)))
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        // A trial that is dropped without a result goes to the next request.
        if let Some(call @ Call::Trial) = self.call {
            self.breaker.with(|breaker| breaker.give_back(call));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn it_is_asked_again_after_a_rest() {
        let breaker = PathBreaker::default();
        for nth in 1..=Breaker::FAULTS {
            assert_eq!(breaker.leave().unwrap().failed(), nth == Breaker::FAULTS);
        }
        assert!(breaker.is_off() && breaker.leave().is_none());
        let later = Instant::now() + Breaker::REST;
        drop(breaker.leave_at(later).unwrap());
        let trial = breaker.leave_at(later).expect("a dropped trial allows another");
        assert!(breaker.leave_at(later).is_none());
        trial.answered();
        assert!(!breaker.is_off() && breaker.leave().is_some());
    }

    #[test]
    fn a_good_answer_between_forgives() {
        let breaker = PathBreaker::default();
        for _ in 0..Breaker::FAULTS {
            assert!(!breaker.leave().unwrap().failed());
            breaker.leave().unwrap().answered();
        }
        assert!(!breaker.is_off());
    }
}
