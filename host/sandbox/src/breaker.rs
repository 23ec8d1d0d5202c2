//! Takes a strategy off the request path that fails in a row, and lets it be tried again later: a
//! circuit breaker, as Nygard's "Release It!" describes it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Faults in a row that take it off the path.
const FAULTS: u32 = 5;
/// For so long; then one request tries it.
const OFF: Duration = Duration::from_secs(30);

/// Counts faults in a row, over all cores.
#[derive(Debug)]
pub(super) struct Breaker {
    began: Instant,
    faults: AtomicU32,
    /// Milliseconds after `began` at which it may be tried again; 0: it is on the path.
    until: AtomicU64,
    /// One request is trying it.
    trial: AtomicBool,
}

/// A request that may ask. Dropped without a verdict, because the request was given up, it says nothing.
#[derive(Debug)]
pub(super) struct Leave<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            faults: AtomicU32::new(0),
            until: AtomicU64::new(0),
            trial: AtomicBool::new(false),
        }
    }

    /// Leave to ask; None: it is off the path.
    pub(super) fn leave(&self) -> Option<Leave<'_>> {
        let until = self.until.load(Ordering::Acquire);
        let is_trial = until != 0;
        let granted =
            !is_trial || (self.now() >= until && !self.trial.swap(true, Ordering::AcqRel));
        granted.then_some(Leave { breaker: self, is_trial })
    }

    pub(super) fn is_off(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }

    /// Milliseconds, at least 1.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn open(&self) {
        self.until.store(self.now() + OFF.as_millis() as u64, Ordering::Release);
    }
}

impl Leave<'_> {
    /// It answered well.
    pub(super) fn answered(self) {
        let breaker = self.breaker;
        // Read first: on the path nothing is written while all is well.
        if breaker.faults.load(Ordering::Relaxed) != 0 {
            breaker.faults.store(0, Ordering::Relaxed);
        }
        if self.is_trial {
            breaker.until.store(0, Ordering::Release);
        }
    }

    /// It failed. True: that took it off the path.
    pub(super) fn failed(self) -> bool {
        let breaker = self.breaker;
        let faults = breaker.faults.fetch_add(1, Ordering::Relaxed) + 1;
        let opens = self.is_trial || (faults >= FAULTS && !breaker.is_off());
        if opens {
            breaker.open();
        }
        opens && !self.is_trial
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.trial.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn off() -> Breaker {
        let breaker = Breaker::new();
        let took_off = (0..FAULTS).map(|_| breaker.leave().unwrap().failed()).collect::<Vec<_>>();
        assert_eq!(took_off, [false, false, false, false, true]);
        breaker
    }

    #[test]
    fn faults_in_a_row_take_it_off_the_path() {
        let breaker = off();
        assert!(breaker.is_off() && breaker.leave().is_none());
    }

    #[test]
    fn a_good_answer_between_forgives_the_faults_before() {
        let breaker = Breaker::new();
        for _ in 0..FAULTS {
            breaker.leave().unwrap().failed();
            breaker.leave().unwrap().answered();
        }
        assert!(!breaker.is_off());
    }

    #[test]
    fn one_trial_at_a_time_decides() {
        let breaker = off();
        breaker.until.store(1, Ordering::Relaxed);
        let trial = breaker.leave().unwrap();
        assert!(breaker.leave().is_none());
        assert!(!trial.failed());
        assert!(breaker.leave().is_none(), "off for as long again");
        breaker.until.store(1, Ordering::Relaxed);
        drop(breaker.leave().unwrap());
        breaker.leave().expect("a trial that was given up is no trial").answered();
        assert!(!breaker.is_off() && breaker.leave().is_some());
    }
}
