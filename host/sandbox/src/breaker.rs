//! Takes a strategy off the request path after faults. The rule is in
//! [`contract::Breaker`]. Here all cores share it, at the cost of one atomic read while there are
//! no faults.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use contract::{Breaker, Call, Fault, RestCause};

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

    /// Why the strategy is off the path. None while it is on.
    pub(super) fn rests_for(&self) -> Option<RestCause> {
        if !self.troubled.load(Ordering::Relaxed) {
            return None;
        }
        self.with(|breaker| breaker.rest()).map(|rest| rest.cause)
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
    /// Reports a good answer, which makes up for a part of a fault.
    pub(super) fn answered(mut self) {
        if let Some(call) = self.call.take()
            && self.breaker.troubled.load(Ordering::Relaxed)
        {
            self.breaker.with(|breaker| breaker.answered(call));
        }
    }

    /// Reports a fault. True if it took the strategy off the path.
    pub(super) fn failed(mut self, fault: &Fault) -> bool {
        let now = Instant::now();
        let call = self.call.take();
        call.is_some_and(|call| self.breaker.with(|breaker| breaker.failed(call, fault, now)))
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

    fn trap() -> Fault {
        Fault::Trap("t".into())
    }

    #[test]
    fn it_is_asked_again_after_a_rest() {
        let breaker = PathBreaker::default();
        let opened: Vec<bool> = (0..5).map(|_| breaker.leave().unwrap().failed(&trap())).collect();
        assert_eq!(opened, [false, false, false, false, true]);
        assert_eq!(breaker.rests_for(), Some(RestCause::Faults));
        assert!(breaker.leave().is_none());
        let later = Instant::now() + Breaker::REST;
        drop(breaker.leave_at(later).unwrap());
        let trial = breaker.leave_at(later).expect("a dropped trial allows another");
        assert!(breaker.leave_at(later).is_none());
        trial.answered();
        assert!(breaker.rests_for().is_none() && breaker.leave().is_some());
    }

    #[test]
    fn good_answers_between_faults_are_counted() {
        let breaker = PathBreaker::default();
        let mut calls = 0;
        let is_off = |breaker: &PathBreaker| breaker.rests_for().is_some();
        // A trap at each fourth call.
        while !is_off(&breaker) {
            calls += 1;
            let leave = breaker.leave().unwrap();
            match calls % 4 {
                0 => drop(leave.failed(&trap())),
                _ => leave.answered(),
            }
            assert!(calls < 100);
        }
        let breaker = PathBreaker::default();
        for _ in 0..100 {
            assert!(!breaker.leave().unwrap().failed(&trap()));
            (0..Breaker::FAULT).for_each(|_| breaker.leave().unwrap().answered());
            assert!(!breaker.troubled.load(Ordering::Relaxed));
        }
    }
}
