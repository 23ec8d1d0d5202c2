//! The standing of a deployment, as its requests have shown it: ejected, cooling, or clear. Kept over
//! reloads.
//!
//! The request path reads an atomic first. Only a deployment with an objection costs it a lock,
//! which is short and never held over an await.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use config::{Ejection, SlowStart};

use super::objections::Objections;
use super::slow_start::Ramp;
use super::{Outcome, State};

/// The effect of an outcome on its deployment.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// No effect.
    None,
    /// The deployment should be ejected, for this reason. Its siblings decide whether it may be.
    Due(String),
    /// The deployment has been ejected.
    Ejected {
        /// For people to read.
        reason: String,
        /// Time until its trial, jitter included.
        lasts: Duration,
    },
    /// The deployment asked for a pause, and gets no requests until that is over.
    Cooling {
        /// For people to read.
        reason: String,
    },
    /// The deployment is suspected of something, and out for a time or skipped for an endpoint.
    Suspected {
        /// For people to read.
        reason: String,
        /// The deployment was out for the same before, and its trial has failed.
        again: bool,
    },
    /// Its ejection or suspicion is over.
    Restored,
}

/// Why an attempt was admitted, and in which epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    epoch: u64,
    right: Right,
}

impl Turn {
    /// True if a success of this attempt restores the deployment.
    pub(super) fn may_restore(self) -> bool {
        self.right != Right::Open
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// There is no objection to the deployment.
    Open,
    /// The one request that an ejected deployment gets once the time of its ejection is over.
    Trial,
    /// Panic mode: no deployment without an objection is left.
    Panic,
}

/// The objections to one deployment behind a lock, and a summary that is read without it.
#[derive(Debug)]
pub struct Standing {
    /// The epoch of the ejections, shifted left by one bit. The lowest bit is set while there is an
    /// objection.
    word: AtomicU64,
    held: Mutex<Objections>,
    /// Returns jitter from -1 to 1. Deployments that are ejected together must not come back
    /// together.
    jitter: fn() -> f64,
}

impl Default for Standing {
    fn default() -> Self {
        Self::with_jitter(super::jitter)
    }
}

impl Standing {
    /// Starts without objections. `jitter` must return -1 to 1.
    #[must_use]
    pub fn with_jitter(jitter: fn() -> f64) -> Self {
        Self { word: AtomicU64::default(), held: Mutex::default(), jitter }
    }

    /// True if a request would be admitted now, normally or as the trial.
    pub fn is_open(&self, now: Instant) -> bool {
        if self.word.load(Ordering::Acquire) & 1 == 0 {
            return true;
        }
        self.with(now, |held| {
            held.is_open() || (held.cooling.is_none() && held.ejections.trial_is_free(now))
        })
    }

    /// Admits a request if there is no objection, or as the trial after an ejection.
    pub fn admit(&self, now: Instant) -> Option<Turn> {
        let word = self.word.load(Ordering::Acquire);
        if word & 1 == 0 {
            return Some(Turn { epoch: word >> 1, right: Right::Open });
        }
        self.with(now, |held| {
            let epoch = held.ejections.epoch();
            if held.is_open() {
                return Some(Turn { epoch, right: Right::Open });
            }
            (held.cooling.is_none() && held.ejections.try_out(now))
                .then_some(Turn { epoch, right: Right::Trial })
        })
    }

    /// Like [`admit`](Self::admit), for panic mode: ignores an ejection, still honours cooling.
    pub fn admit_in_panic(&self, now: Instant) -> Option<Turn> {
        if let Some(turn) = self.admit(now) {
            return Some(turn);
        }
        self.with(now, |held| {
            let turn = Turn { epoch: held.ejections.epoch(), right: Right::Panic };
            held.cooling.is_none().then_some(turn)
        })
    }

    /// Ends an attempt without an outcome. If it was the trial, the next request may be one.
    pub fn give_back(&self, turn: Turn, now: Instant) {
        if turn.right == Right::Trial {
            self.with(now, |held| {
                if held.ejections.epoch() == turn.epoch {
                    held.ejections.give_back_trial();
                }
            });
        }
    }

    /// Records that the answer has begun, which restores an ejected deployment. The attempt then
    /// goes on like any other.
    pub fn begun(&self, turn: &mut Turn, now: Instant, ramp: Option<Ramp>) -> Change {
        if turn.right == Right::Open {
            return Change::None;
        }
        self.with(now, |held| {
            if held.ejections.epoch() != turn.epoch {
                return Change::None;
            }
            let change = held.restore(now, ramp);
            *turn = Turn { epoch: held.ejections.epoch(), right: Right::Open };
            change
        })
    }

    /// Records the outcome of an attempt. Outcomes of an earlier epoch are ignored, except a wish
    /// for a pause. Suspicions are recorded elsewhere.
    pub fn record(
        &self,
        turn: Turn,
        outcome: Outcome,
        now: Instant,
        settings: &Ejection,
        ramp: Option<Ramp>,
    ) -> Change {
        self.with(now, |held| {
            let current = held.ejections.epoch() == turn.epoch;
            if current && turn.right == Right::Trial {
                held.ejections.give_back_trial();
            }
            match outcome {
                Outcome::Neutral
                | Outcome::Late { .. }
                | Outcome::Credential { .. }
                | Outcome::Refused { .. }
                | Outcome::NoModel { .. }
                | Outcome::NoEndpoint { .. } => Change::None,
                Outcome::Limited { cause, wait } => held.cool(cause, wait.unwrap_or_default(), now),
                _ if !current => Change::None,
                Outcome::Success if turn.right == Right::Open => {
                    held.ejections.succeeded(settings);
                    Change::None
                }
                Outcome::Success => held.restore(now, ramp),
                Outcome::Failure { cause, kind } => match turn.right {
                    Right::Open => match held.ejections.failed(&cause, kind, settings) {
                        Some(reason) => Change::Due(reason),
                        None => Change::None,
                    },
                    Right::Trial => {
                        held.ejections.trial_failed(&cause, kind, settings, (self.jitter)(), now);
                        held.ejected()
                    }
                    Right::Panic => Change::None,
                },
            }
        })
    }

    /// Ejects the deployment, unless it was ejected or restored since `turn`.
    pub fn eject(&self, turn: Turn, reason: String, s: &Ejection, now: Instant) -> Change {
        self.with(now, |held| {
            if held.ejections.epoch() != turn.epoch || held.ejections.out().is_some() {
                return Change::None;
            }
            held.ejections.eject(reason, s, (self.jitter)(), now);
            held.ejected()
        })
    }

    /// Records a successful probe sent at `sent`. `came_up` is true if the place was down before.
    /// Returns true if the state changed.
    pub(super) fn probed(
        &self,
        sent: Instant,
        came_up: bool,
        now: Instant,
        ramp: Option<Ramp>,
    ) -> bool {
        self.with(now, |held| {
            if came_up {
                held.ramp = ramp;
                held.cleared = Some(SystemTime::now());
            }
            held.ejections.probed(sent, came_up, now) || came_up
        })
    }

    /// Records a failed probe sent at `sent`.
    pub(super) fn probe_failed(&self, sent: Instant, now: Instant) {
        self.with(now, |held| held.ejections.probe_failed(sent));
    }

    /// The number of its current epoch. It rises with each ejection and each return.
    pub(super) fn epoch(&self) -> u64 {
        self.word.load(Ordering::Acquire) >> 1
    }

    /// Takes back a failure that was recorded in `epoch`, and the ejection that it caused.
    pub(super) fn take_back(&self, epoch: u64, now: Instant) -> Change {
        self.with(now, |held| match held.ejections.take_back(epoch) {
            true => {
                held.cleared = Some(SystemTime::now());
                Change::Restored
            }
            false => Change::None,
        })
    }

    /// When its pause is over, if the deployment asked for one.
    pub fn cools_until(&self, now: Instant) -> Option<Instant> {
        if self.word.load(Ordering::Acquire) & 1 == 0 {
            return None;
        }
        self.with(now, |held| held.cooling.as_ref().map(|cooling| cooling.until))
    }

    /// True if it is not ejected. It may be cooling, which ends by itself.
    pub fn is_worth_waiting(&self, now: Instant) -> bool {
        self.word.load(Ordering::Acquire) & 1 == 0
            || self.with(now, |held| held.ejections.out().is_none())
    }

    /// True if it is ejected, also during its trial.
    pub fn is_out(&self, now: Instant) -> bool {
        self.word.load(Ordering::Acquire) & 1 == 1
            && self.with(now, |held| held.ejections.out().is_some())
    }

    /// True if there is no objection of any kind.
    pub fn is_clear(&self, now: Instant) -> bool {
        self.word.load(Ordering::Acquire) & 1 == 0 || self.with(now, |held| held.is_open())
    }

    /// Time until it may be used again. None if it may be used now.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.with(now, |held| {
            let cooling = held.cooling.as_ref().map(|cooling| cooling.until);
            let out = held.ejections.out().map(|out| out.absence.until());
            let until = cooling.max(out).filter(|until| *until > now);
            until.map(|until| until - now)
        })
    }

    /// Its condition, and the factor on its weight.
    pub fn state(&self, now: Instant, settings: &SlowStart) -> State {
        self.with(now, |held| held.state(now, settings))
    }

    /// The next time at which its state changes without an event.
    pub fn next_change(&self, now: Instant, settings: &SlowStart) -> Option<Instant> {
        self.with(now, |held| {
            let cooling = held.cooling.as_ref().map(|cooling| cooling.until);
            let out = held.ejections.out().map(|out| out.absence.until());
            let ramp = held.ramp.and_then(|ramp| ramp.next(now, settings));
            [cooling, out, ramp].into_iter().flatten().filter(|at| *at > now).min()
        })
    }

    /// Runs `act` under the lock, then updates the atomic.
    fn with<T>(&self, now: Instant, act: impl FnOnce(&mut Objections) -> T) -> T {
        let mut held = self.lock();
        held.pass(now);
        let result = act(&mut held);
        let word = held.ejections.epoch() << 1 | u64::from(!held.is_open());
        self.word.store(word, Ordering::Release);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Objections> {
        // Every critical section leaves consistent state, so a poisoned lock is still good.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
