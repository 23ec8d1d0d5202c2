//! Where a deployment stands by what its requests met with: ejected, cooling, without credential, or
//! nothing of all that. Kept over reloads.
//!
//! The request path asks an atomic first; only a deployment that something is held against costs it
//! a lock, which is short and never held over an await.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use config::{Ejection, SlowStart};

use super::ejection::Ejections;
use super::slow_start::Ramp;
use super::{Condition, Outcome, State};

/// What became of a deployment by an outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Nothing.
    None,
    /// It should be ejected, for this reason; whether it may be depends on its siblings.
    Due(String),
    /// It is out.
    Ejected {
        /// For people.
        reason: String,
        /// For so long.
        lasts: Duration,
    },
    /// It is left alone.
    Cooling {
        /// For people.
        reason: String,
    },
    /// It is out until its credential is mended.
    Credential {
        /// For people.
        reason: String,
    },
    /// It is in again.
    Restored,
}

/// By what right an attempt is made, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    epoch: u64,
    right: Right,
}

impl Turn {
    /// Whether the deployment may come back by it.
    pub(super) fn may_restore(self) -> bool {
        self.right != Right::Open
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// Nothing is held against the deployment.
    Open,
    /// The one request that is let through to an ejected deployment.
    Trial,
    /// No deployment is left that nothing is held against.
    Panic,
}

/// The standing of one deployment.
#[derive(Debug)]
pub struct Standing {
    /// The epoch of the ejections, and in the lowest bit whether anything is held against the
    /// deployment.
    word: AtomicU64,
    held: Mutex<Held>,
    /// How far an ejection is off its time, from -1 to 1: deployments that go out together must not come back
    /// together.
    jitter: fn() -> f64,
}

impl Default for Standing {
    fn default() -> Self {
        Self::with_jitter(|| rand::random::<f64>() * 2.0 - 1.0)
    }
}

/// What is held against a deployment.
#[derive(Debug, Default)]
struct Held {
    ejections: Ejections,
    cooling: Option<Cooling>,
    credential: Option<Credential>,
    ramp: Option<Ramp>,
    /// When something was last held against it.
    cleared: Option<SystemTime>,
}

#[derive(Debug)]
struct Cooling {
    reason: String,
    since: SystemTime,
    until: Instant,
}

#[derive(Debug)]
struct Credential {
    reason: String,
    since: SystemTime,
    began: Instant,
}

impl Held {
    fn is_open(&self) -> bool {
        self.cooling.is_none() && self.credential.is_none() && self.ejections.out().is_none()
    }

    /// Forgets what time has ended.
    fn pass(&mut self, now: Instant) {
        if self.cooling.take_if(|cooling| cooling.until <= now).is_some() {
            self.cleared = Some(SystemTime::now());
        }
    }

    fn cool(&mut self, cause: String, wait: Duration, now: Instant) -> Change {
        if wait.is_zero() {
            return Change::None;
        }
        let until = now + wait;
        if let Some(cooling) = &mut self.cooling {
            // Whoever waits for its end looks again then: no news until that.
            cooling.until = cooling.until.max(until);
            return Change::None;
        }
        let reason = format!("{cause}: left alone for {} s", wait.as_secs_f64());
        let since = SystemTime::now();
        self.cooling = Some(Cooling { reason: reason.clone(), since, until });
        Change::Cooling { reason }
    }

    fn bar(&mut self, cause: &str, now: Instant) -> Change {
        if self.credential.is_some() {
            return Change::None;
        }
        let reason = format!("{cause}: it does not accept its api_key");
        let since = SystemTime::now();
        self.credential = Some(Credential { reason: reason.clone(), since, began: now });
        Change::Credential { reason }
    }

    fn restore(&mut self, now: Instant, ramp: Option<Ramp>) -> Change {
        let (was_out, was_barred) = (self.ejections.restore(now), self.credential.take().is_some());
        if !was_out && !was_barred {
            return Change::None;
        }
        self.ramp = ramp;
        self.cleared = Some(SystemTime::now());
        Change::Restored
    }
}

impl Standing {
    /// One that nothing is held against, with this jitter, from -1 to 1.
    #[must_use]
    pub fn with_jitter(jitter: fn() -> f64) -> Self {
        Self { word: AtomicU64::default(), held: Mutex::default(), jitter }
    }

    /// Whether a request would be let through now.
    pub fn is_open(&self, now: Instant) -> bool {
        if self.word.load(Ordering::Acquire) & 1 == 0 {
            return true;
        }
        self.with(now, |held| {
            held.is_open()
                || (held.cooling.is_none()
                    && held.credential.is_none()
                    && held.ejections.trial_is_free(now))
        })
    }

    /// Lets a request through, if nothing is held against the deployment or it is its trial.
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
            let only_ejected = held.cooling.is_none() && held.credential.is_none();
            (only_ejected && held.ejections.try_out(now))
                .then_some(Turn { epoch, right: Right::Trial })
        })
    }

    /// Lets a request through whatever is held against the deployment, but for its own wish to be
    /// left alone.
    pub fn admit_in_panic(&self, now: Instant) -> Option<Turn> {
        if let Some(turn) = self.admit(now) {
            return Some(turn);
        }
        self.with(now, |held| {
            let turn = Turn { epoch: held.ejections.epoch(), right: Right::Panic };
            held.cooling.is_none().then_some(turn)
        })
    }

    /// An attempt ends without telling anything.
    pub fn give_back(&self, turn: Turn, now: Instant) {
        if turn.right == Right::Trial {
            self.with(now, |held| {
                if held.ejections.epoch() == turn.epoch {
                    held.ejections.give_back_trial();
                }
            });
        }
    }

    /// The answer has begun, and with it a trial has succeeded; the attempt goes on as any other.
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

    /// Takes how an attempt ended. Attempts of before the last ejection or restoration tell nothing
    /// of now, except what the deployment itself asks for.
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
                Outcome::Neutral => Change::None,
                Outcome::Limited { cause, wait } => held.cool(cause, wait.unwrap_or_default(), now),
                Outcome::Credential { cause } => held.bar(&cause, now),
                _ if !current => Change::None,
                Outcome::Success if turn.right == Right::Open => {
                    held.ejections.succeeded(settings);
                    Change::None
                }
                Outcome::Success => held.restore(now, ramp),
                Outcome::Failure { cause, fault } => match turn.right {
                    Right::Open => match held.ejections.failed(&cause, fault, settings) {
                        Some(reason) => Change::Due(reason),
                        None => Change::None,
                    },
                    Right::Trial => {
                        held.ejections.trial_failed(&cause, fault, settings, (self.jitter)(), now);
                        ejected(held)
                    }
                    Right::Panic => Change::None,
                },
            }
        })
    }

    /// Takes the deployment out, unless somebody else just did.
    pub fn eject(&self, turn: Turn, reason: String, s: &Ejection, now: Instant) -> Change {
        self.with(now, |held| {
            if held.ejections.epoch() != turn.epoch || held.ejections.out().is_some() {
                return Change::None;
            }
            held.ejections.eject(reason, s, (self.jitter)(), now);
            ejected(held)
        })
    }

    /// A probe sent at `sent` succeeded; `came_up`: the one before had not. Says whether anything
    /// changed.
    pub(super) fn probed(
        &self,
        sent: Instant,
        came_up: bool,
        now: Instant,
        ramp: Option<Ramp>,
    ) -> bool {
        self.with(now, |held| {
            let mended = held.credential.take_if(|credential| sent > credential.began).is_some();
            if came_up || mended {
                held.ramp = ramp;
                held.cleared = Some(SystemTime::now());
            }
            held.ejections.probed(sent, came_up, now) || mended || came_up
        })
    }

    /// A probe sent at `sent` failed.
    pub(super) fn probe_failed(&self, sent: Instant, now: Instant) {
        self.with(now, |held| held.ejections.probe_failed(sent));
    }

    /// A configuration was loaded: its credential may be another.
    pub(super) fn loaded(&self, now: Instant) {
        self.with(now, |held| {
            if held.credential.take().is_some() {
                held.cleared = Some(SystemTime::now());
            }
        });
    }

    /// Whether the deployment asks to be left alone.
    pub(super) fn is_cooling(&self, now: Instant) -> bool {
        self.word.load(Ordering::Acquire) & 1 == 1 && self.with(now, |held| held.cooling.is_some())
    }

    /// Whether it is out, on trial or not.
    pub fn is_out(&self, now: Instant) -> bool {
        self.word.load(Ordering::Acquire) & 1 == 1
            && self.with(now, |held| held.ejections.out().is_some())
    }

    /// Whether nothing at all is held against it.
    pub(super) fn is_clear(&self, now: Instant) -> bool {
        self.word.load(Ordering::Acquire) & 1 == 0 || self.with(now, |held| held.is_open())
    }

    /// How long it will not be used for certain. None: it may be, or time alone will not help.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.with(now, |held| {
            let cooling = held.cooling.as_ref().map(|cooling| cooling.until);
            let out = held.ejections.out().map(|out| out.until);
            let until = cooling.max(out).filter(|until| *until > now);
            until.filter(|_| held.credential.is_none()).map(|until| until - now)
        })
    }

    /// What is held against it, with the share of its weight that it gets.
    pub fn state(&self, now: Instant, settings: &SlowStart) -> State {
        self.with(now, |held| state(held, now, settings))
    }

    /// When time alone changes its state next.
    pub fn next_change(&self, now: Instant, settings: &SlowStart) -> Option<Instant> {
        self.with(now, |held| {
            let cooling = held.cooling.as_ref().map(|cooling| cooling.until);
            let out = held.ejections.out().map(|out| out.until);
            let ramp = held.ramp.and_then(|ramp| ramp.next(now, settings));
            [cooling, out, ramp].into_iter().flatten().filter(|at| *at > now).min()
        })
    }

    /// Does something with what is held, and keeps the atomic in step.
    fn with<T>(&self, now: Instant, act: impl FnOnce(&mut Held) -> T) -> T {
        let mut held = self.lock();
        held.pass(now);
        let result = act(&mut held);
        let word = held.ejections.epoch() << 1 | u64::from(!held.is_open());
        self.word.store(word, Ordering::Release);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Every critical section leaves what is held whole, so a poisoned one is still good.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state(held: &mut Held, now: Instant, settings: &SlowStart) -> State {
    let of = |condition, reason: &str, since| State {
        condition,
        reason: Some(reason.to_owned()),
        since,
        factor: 1.0,
    };
    if let Some(Credential { reason, since, .. }) = &held.credential {
        return of(Condition::Credential, reason, *since);
    }
    if let Some(Cooling { reason, since, .. }) = &held.cooling {
        return of(Condition::Cooling, reason, *since);
    }
    if let Some(out) = held.ejections.out() {
        return match out.until > now {
            true => of(Condition::Ejected, &out.reason, out.since),
            false => of(Condition::HalfOpen, &out.reason, out.since + out.lasts),
        };
    }
    if let Some(ramp) = held.ramp {
        if let Some(factor) = ramp.factor(now, settings) {
            let reason = "comes back: its weight rises to its share";
            return State { factor, ..of(Condition::SlowStart, reason, ramp.since) };
        }
        held.ramp = None;
        held.cleared = Some(SystemTime::now());
    }
    let since = held.cleared.unwrap_or(SystemTime::UNIX_EPOCH);
    State { condition: Condition::Healthy, reason: None, since, factor: 1.0 }
}

fn ejected(held: &Held) -> Change {
    match held.ejections.out() {
        Some(out) => Change::Ejected { reason: out.reason.clone(), lasts: out.lasts },
        None => Change::None,
    }
}
