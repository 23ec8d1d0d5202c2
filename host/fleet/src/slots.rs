//! The places for attempts at one deployment. Shared by all cores and kept over reloads.
//!
//! A deployment that was never full costs a request one atomic step in and one out. The learned
//! limit, the pauses and the stalls of [`Pressure`] are behind a lock, which only a deployment under
//! pressure takes.

mod report;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::SlowStart;
use contract::Side;

use super::allowance::Left;
use super::limits::Limits;
use super::line::Queue;
use super::load::clock;
use super::pressure::{LimitRamp, Pressure};
use super::slow_start::Ramp;

pub use report::PressureReport;

/// The places of one deployment.
#[derive(Debug)]
pub struct Slots {
    /// The configured number of places.
    max: AtomicU32,
    /// Taken places. More than the limit after it was lowered: those attempts run to their end.
    taken: AtomicU32,
    /// The most places that were taken at once.
    peak: AtomicU32,
    /// Attempts that have no first byte yet.
    unanswered: AtomicU32,
    /// When a byte of any answer came last, in milliseconds of [`clock`].
    heard: AtomicU64,
    /// True while `limits` may limit more than the configuration does.
    pressed: AtomicBool,
    limits: Mutex<Limits>,
    queue: Queue,
    refusals: AtomicU64,
    stalls: AtomicU64,
}

/// A place, taken until dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    /// The places that were taken when it was taken, it included.
    level: u32,
    /// The attempt tries whether a stall is over.
    trial: bool,
    /// A first byte has come.
    answered: bool,
}

/// The answer to a request for a place.
#[derive(Debug)]
pub enum Entry {
    /// A place.
    Place(Slot),
    /// All configured places are taken.
    Full,
    /// More places are configured, but the deployment has shown that it is full. `soon`: a place
    /// becomes free when one of the attempts under way ends.
    Pressed {
        /// True if waiting is worth it.
        soon: bool,
    },
}

impl Entry {
    /// The place, if there is one.
    #[must_use]
    pub fn place(self) -> Option<Slot> {
        match self {
            Self::Place(slot) => Some(slot),
            Self::Full | Self::Pressed { .. } => None,
        }
    }
}

impl Slots {
    /// Starts with `max` places, all free.
    #[must_use]
    pub fn new(side: Side, max: u32) -> Self {
        Self::with_jitter(side, max, super::jitter)
    }

    /// Like [`new`](Self::new). `jitter` must return -1 to 1.
    #[must_use]
    pub fn with_jitter(side: Side, max: u32, jitter: fn() -> f64) -> Self {
        Self {
            max: max.into(),
            taken: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            unanswered: AtomicU32::new(0),
            heard: AtomicU64::new(0),
            pressed: AtomicBool::new(false),
            limits: Mutex::new(Limits::new(side, jitter)),
            queue: Queue::default(),
            refusals: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
        }
    }

    /// Takes a free place without waiting. Requests that wait come first.
    #[must_use]
    pub fn try_enter(self: &Arc<Self>, now: Instant) -> Entry {
        self.enter_behind(self.queue.len(), now)
    }

    /// Like [`try_enter`](Self::try_enter), for a caller that has a line of its own, in which
    /// `waiting` requests wait.
    #[must_use]
    pub fn enter_behind(self: &Arc<Self>, waiting: usize, now: Instant) -> Entry {
        if waiting == 0 {
            match self.take(now) {
                Entry::Pressed { .. } => {}
                entry => return entry,
            }
        } else if !self.pressed.load(Ordering::Acquire) {
            return Entry::Full;
        }
        let mut limits = self.lock();
        limits.pressure.passed_over();
        Entry::Pressed { soon: limits.pressure.is_hopeful() && self.taken() > 0 }
    }

    /// The configured number of places.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.max.load(Ordering::Acquire)
    }

    /// The places taken.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::SeqCst)
    }

    /// True while the deployment is known to take fewer requests than configured.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Acquire)
    }

    /// Requests that wait for a place.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Makes all requests leave that wait for this deployment alone: it is out of use.
    pub fn disperse(&self) {
        self.queue.disperse();
    }

    /// Changes the number of places. Attempts beyond a lower number run to their end.
    pub(super) fn resize(self: &Arc<Self>, max: u32) {
        self.max.store(max, Ordering::Release);
        self.serve_anew(super::now());
    }

    /// Hands free places to waiting requests.
    pub(super) fn serve(self: &Arc<Self>, now: Instant) {
        while self.queue.len() > 0 {
            let Entry::Place(slot) = self.take(now) else { return };
            if self.queue.give(slot).is_some() {
                return;
            }
        }
    }

    /// Like [`serve`](Self::serve), after a change. If requests still wait, the first of them looks
    /// again, because the deployment may open at another time than before.
    fn serve_anew(self: &Arc<Self>, now: Instant) {
        self.serve(now);
        if self.queue.len() > 0 && self.opens(now).is_some() {
            self.queue.look();
        }
    }

    /// Records a byte of an answer at `now`.
    pub fn hear(&self, now: Instant) {
        let now = millis(now);
        // Most bytes come in the same millisecond as others, and must not contend for the word.
        if self.heard.load(Ordering::Relaxed) < now {
            self.heard.store(now, Ordering::Relaxed);
        }
    }

    /// Records that the deployment, which is on this `side`, refused an attempt. The attempt was
    /// admitted as number `level` at `sent`, and still holds its place. Returns the time to leave
    /// the deployment alone. A remote deployment that names a `wait` limits requests per time, and
    /// gets none for that long. A local one is full: its `wait` is a guess, and its places are free
    /// again sooner.
    pub fn refused(
        &self,
        side: Side,
        wait: Option<Duration>,
        (level, sent): (u32, Instant),
        now: Instant,
    ) -> Option<Duration> {
        let is_remote = side == Side::Remote;
        if let Some(wait) = wait.filter(|wait| is_remote && !wait.is_zero()) {
            self.spend(wait, now);
            return Some(wait);
        }
        if is_remote && self.taken() <= 1 {
            // Nothing else was out, so the allowance may be used up.
            self.suspect_spent(now);
        }
        self.refuse(level, sent, now);
        None
    }

    /// Records that the deployment refused an attempt, which still holds its place. It was admitted
    /// as number `level` at `sent`.
    pub(super) fn refuse(&self, level: u32, sent: Instant, now: Instant) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.learn(|pressure, taken, max| pressure.refused((level, sent), taken, max, now));
    }

    /// Records that a remote deployment refused an attempt for its allowance of requests per time,
    /// and named a time to wait.
    fn spend(&self, wait: Duration, now: Instant) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.lock().pause(now + wait);
        self.learn(|pressure, _, _| pressure.spent(true, now));
    }

    /// Records that the allowance may be used up: an attempt was refused while nothing else was
    /// out. [`refuse`](Self::refuse) counts the refusal.
    fn suspect_spent(&self, now: Instant) {
        self.learn(|pressure, _, _| pressure.spent(false, now));
    }

    /// Records what a remote deployment tells of its allowance, in an answer to an attempt that
    /// still holds its place.
    pub(super) fn tell(&self, left: Left, now: Instant) {
        self.learn(|pressure, taken, _| pressure.told(left, taken.saturating_sub(1), now));
    }

    /// Records that an attempt, admitted as number `level` at `sent`, got no first byte in time. It
    /// still holds its place. Returns false if nobody was answered since then, and no earlier stall explains it: the
    /// deployment hangs.
    #[must_use]
    pub fn stall(&self, level: u32, sent: Instant, now: Instant) -> bool {
        let was_heard = self.heard.load(Ordering::Relaxed) >= millis(sent).max(1);
        let is_explained = || self.is_pressed() && self.lock().pressure.explains(sent);
        if !was_heard && !is_explained() {
            return false;
        }
        self.stalls.fetch_add(1, Ordering::Relaxed);
        let unanswered = self.unanswered.load(Ordering::Relaxed);
        self.learn(|pressure, taken, max| {
            pressure.stalls((level, sent), taken, unanswered, max, now)
        });
        true
    }

    /// Records a good answer to an attempt that was sent at `sent`, and still holds its place.
    pub fn answer(&self, sent: Instant, now: Instant) {
        if self.pressed.load(Ordering::Acquire) {
            self.learn(|pressure, taken, max| pressure.answered(sent, taken, max, now));
        }
    }

    /// Begins slow start for a deployment that comes back, from a part of its last limit, or of the
    /// most places that were ever taken. If `ramp` is None it gets all places at once.
    pub fn come_back(&self, ramp: Option<Ramp>, settings: &SlowStart, now: Instant) {
        let lasts = settings.duration.filter(|_| ramp.is_some());
        let ramp = lasts.map(|lasts| (settings.from, lasts));
        let peak = self.peak.swap(self.taken(), Ordering::Relaxed);
        self.learn(|pressure, _, max| {
            pressure.forget_stall();
            pressure.ramp(ramp.map(|(from, lasts)| {
                let to = pressure.limit(max).unwrap_or(peak).max(1);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a part of a u32"
                )]
                let from = ((f64::from(to) * from) as u32).max(1);
                LimitRamp { from, to, began: now, lasts }
            }));
        });
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Takes a free place for the first request in line.
    #[must_use]
    pub fn take(self: &Arc<Self>, now: Instant) -> Entry {
        let (level, trial);
        if self.pressed.load(Ordering::Acquire) {
            let mut limits = self.lock();
            let (taken, max) = (self.taken(), self.max());
            let room = limits.room(taken, max, now);
            if taken >= max {
                return Entry::Full;
            }
            let Some(counted) = self.count_in(room.limit) else {
                return Entry::Pressed { soon: false };
            };
            level = counted;
            trial = room.trial;
            limits.pressure.admitted(trial, now);
        } else {
            let Some(counted) = self.count_in(self.max()) else {
                return Entry::Full;
            };
            (level, trial) = (counted, false);
        }
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        Entry::Place(Slot { slots: Arc::clone(self), level, trial, answered: false })
    }

    /// Takes one of `limit` places. Returns the number of taken places, or None if there is none.
    fn count_in(&self, limit: u32) -> Option<u32> {
        let one_more = |taken: u32| (taken < limit).then_some(taken + 1);
        let before = self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        if before >= self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(before + 1, Ordering::Relaxed);
        }
        Some(before + 1)
    }

    /// Changes what is known of the pressure.
    fn learn(&self, act: impl FnOnce(&mut Pressure, u32, u32)) {
        let mut limits = self.lock();
        act(&mut limits.pressure, self.taken(), self.max());
        let is_pressed = !limits.is_none();
        self.pressed.store(is_pressed, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Limits> {
        // Every critical section leaves consistent state, so a poisoned lock is still good.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The places that were taken when it was taken, it included.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Records the first byte of the answer to this attempt, which was sent at `sent`. Returns true
    /// if a stall is over.
    pub fn begin(&mut self, sent: Instant, now: Instant) -> bool {
        self.slots.hear(now);
        if std::mem::replace(&mut self.answered, true) {
            return false;
        }
        self.slots.unanswered.fetch_sub(1, Ordering::Relaxed);
        if !self.slots.pressed.load(Ordering::Acquire) {
            return false;
        }
        let mut over = false;
        self.slots.learn(|pressure, _, _| over = pressure.begun(sent));
        if over {
            self.trial = false;
            self.slots.serve_anew(now);
        }
        over
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let slots = &self.slots;
        if !self.answered {
            slots.unanswered.fetch_sub(1, Ordering::Relaxed);
        }
        if self.trial {
            slots.learn(|pressure, _, _| pressure.trial_ended());
        }
        slots.taken.fetch_sub(1, Ordering::SeqCst);
        if slots.queue.len() > 0 {
            slots.serve_anew(super::now());
        }
    }
}

fn millis(now: Instant) -> u64 {
    u64::try_from(clock(now).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "slots_tests.rs"]
pub(super) mod tests;
