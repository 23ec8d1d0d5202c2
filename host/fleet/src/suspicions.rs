//! Suspicions against a deployment, from answers to requests: it refuses the gateway's key, it
//! refuses request after request, it lacks the model, or it lacks an endpoint.
//!
//! One request never proves any of this, because it may be at fault itself: SDKs send headers and
//! parameters of their own, and repeat a request by themselves. Each suspicion counts *different*
//! requests, told apart by a digest of their bodies, with no answer between them. Then the deployment
//! is out for a time. After that one request at a time is let through, and an answer restores it.
//!
//! ```text
//! in -- different requests say so, none answered between --> out -- its time passes --> half-open
//! ^                                                           ^                          |   |
//! |                                                           +-- says so again: doubled +   |
//! +----------------------------------- an answer begins ------------------------------------+
//! ```
//! The request path reads an atomic first. The caller passes the time.

mod row;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::load::clock;
use super::{Change, State};

pub use row::Suspicion;
use row::{Row, Suspected};

/// Number of endpoints that are told apart. The caller chooses their positions.
pub const ENDPOINTS: usize = 8;

/// How long an answer proves that the model and the endpoint exist there.
const PROVEN: Duration = Duration::from_secs(3600);
/// Seconds between two notes of an answer, so that cores seldom write to a shared cache line.
const COARSE: u32 = 60;

/// One sign of a suspicion, from one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sign {
    /// What it is a sign of.
    pub(super) of: Suspicion,
    /// For people to read.
    pub(super) reason: String,
    /// The digest of the request's body. None: the sign is certain.
    pub(super) request: Option<u64>,
    /// The position of the request's endpoint, below [`ENDPOINTS`].
    pub(super) endpoint: usize,
}

/// The suspicions against one deployment. Kept over reloads.
#[derive(Debug, Default)]
pub(super) struct Suspicions {
    /// [`OUT`], [`HEARD`], and from [`FIRST`] on one bit for each endpoint that is lacking.
    word: AtomicU32,
    /// When an answer last began at each endpoint, in seconds of the process's clock plus 1. 0:
    /// never.
    answered: [AtomicU32; ENDPOINTS],
    held: Mutex<Held>,
}

/// The deployment is out.
const OUT: u32 = 1;
/// Signs or failures are counted, and an answer must reset them.
const HEARD: u32 = 2;
/// The bit of the first endpoint.
const FIRST: u32 = 8;

#[derive(Debug, Default)]
struct Held {
    credential: Row,
    refused: Row,
    model: Row,
    endpoints: [Row; ENDPOINTS],
    failing: Failing,
    /// The request that failed last. Unlike `failing` it outlives answers.
    last_failed: Option<u64>,
}

/// The requests that failed since the last answer.
#[derive(Debug, Default)]
struct Failing {
    first: Option<u64>,
    /// True if at least two different requests failed.
    mixed: bool,
}

impl Suspicions {
    /// True if a request would be admitted now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.word.load(Ordering::Acquire) & OUT == 0 || {
            let held = self.lock();
            held.outs().all(|(_, out)| out.is_free(now))
        }
    }

    /// Admits a request. If the deployment is out and its time is over, the request is its trial.
    pub(super) fn admit(&self, now: Instant) -> bool {
        self.word.load(Ordering::Acquire) & OUT == 0 || {
            let mut held = self.lock();
            let free = held.outs().all(|(_, out)| out.is_free(now));
            if free {
                held.outs_mut().for_each(|out| out.trial = Some(now));
            }
            free
        }
    }

    /// Admits a request although the deployment is out, because there is no better one. The request
    /// is the trial if one is due.
    pub(super) fn admit_in_panic(&self, now: Instant) {
        if self.word.load(Ordering::Acquire) & OUT != 0 {
            let mut held = self.lock();
            let free = held.outs_mut().filter(|out| out.is_free(now));
            free.for_each(|out| out.trial = Some(now));
        }
    }

    /// True if it lacks the endpoint at this position, as far as is known.
    pub(super) fn lacks(&self, endpoint: usize, now: Instant) -> bool {
        let bit = 1 << (FIRST as usize + endpoint);
        self.word.load(Ordering::Acquire) & bit != 0
            && self.lock().endpoints[endpoint]
                .out
                .as_ref()
                .is_some_and(|out| !out.absence.is_over(now))
    }

    /// True if an answer began at `endpoint` (None: at any) within the last hour.
    pub(super) fn is_proven(&self, endpoint: Option<usize>, now: Instant) -> bool {
        let now = seconds(now);
        let recent = |cell: &AtomicU32| {
            let answered = cell.load(Ordering::Relaxed);
            answered != 0 && u64::from(now.saturating_sub(answered)) < PROVEN.as_secs()
        };
        match endpoint {
            Some(endpoint) => recent(&self.answered[endpoint]),
            None => self.answered.iter().any(recent),
        }
    }

    /// Records that an answer began. It proves the key, the model and the endpoint.
    pub(super) fn answered(&self, endpoint: usize, now: Instant) -> Change {
        let (cell, seconds) = (&self.answered[endpoint], seconds(now));
        let noted = cell.load(Ordering::Relaxed);
        if noted == 0 || seconds >= noted.saturating_add(COARSE) {
            cell.store(seconds, Ordering::Relaxed);
        }
        if self.word.load(Ordering::Acquire) == 0 {
            return Change::None;
        }
        self.with(|held| {
            let was_out = held.outs().next().is_some();
            for row in [&mut held.credential, &mut held.refused, &mut held.model] {
                *row = Row::default();
            }
            held.endpoints[endpoint] = Row::default();
            held.failing = Failing::default();
            if was_out { Change::Restored } else { Change::None }
        })
    }

    /// Records a sign. An answer of the model or the endpoint within the last hour disproves it.
    pub(super) fn note(&self, sign: Sign, now: Instant) -> Change {
        let Sign { of, reason, request, endpoint } = sign;
        let proven = match of {
            Suspicion::Model => self.is_proven(None, now),
            Suspicion::Endpoint => self.is_proven(Some(endpoint), now),
            Suspicion::Credential | Suspicion::Refused => false,
        };
        if proven && request.is_some() {
            return Change::None;
        }
        self.with(|held| held.row(of, endpoint).note(of, reason, request, now))
    }

    /// Records a failure of the request with this digest.
    pub(super) fn failed(&self, request: u64) {
        self.with(|held| {
            let first = *held.failing.first.get_or_insert(request);
            held.failing.mixed |= first != request;
            held.last_failed = Some(request);
        });
    }

    /// True if nothing was answered since this request failed, as the first one.
    pub(super) fn is_failing_since(&self, request: u64) -> bool {
        self.lock().failing.first == Some(request)
    }

    /// True if no other request has failed since this one did.
    pub(super) fn has_failed(&self, request: u64) -> bool {
        self.lock().last_failed == Some(request)
    }

    /// True if a failure of this request says nothing of the deployment: the deployment answered
    /// others within the hour, and no other request has failed since its last answer.
    pub(super) fn is_above(&self, request: u64, now: Instant) -> bool {
        let held = self.lock();
        let only = held.failing.first.is_none_or(|first| first == request);
        only && !held.failing.mixed && self.is_proven(None, now)
    }

    /// Forgets everything after a reload, because the files may have a new key, model or address.
    /// Returns true if the deployment was out.
    pub(super) fn loaded(&self) -> bool {
        self.with(|held| {
            let was_out = held.outs().next().is_some();
            *held = Held::default();
            was_out
        })
    }

    /// Makes a trial due, because the place came up after it was down, perhaps with another model.
    /// Returns true if the state changed.
    pub(super) fn came_up(&self, now: Instant) -> bool {
        self.answered.iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
        self.with(|held| {
            held.endpoints = Default::default();
            let mut changed = false;
            for out in held.outs_mut() {
                changed |= out.absence.cut_short(now);
            }
            changed
        })
    }

    /// Ends the time for which the deployment is out for this suspicion: it is half-open. Returns
    /// true if its state changed.
    pub(super) fn retry(&self, of: Suspicion, now: Instant) -> bool {
        self.with(|held| held.row(of, 0).out.as_mut().is_some_and(|out| out.absence.cut_short(now)))
    }

    /// The state that the suspicions give. None: they give none.
    pub(super) fn state(&self, now: Instant) -> Option<State> {
        if self.is_clear() {
            return None;
        }
        let held = self.lock();
        let (of, out) = held.outs().max_by_key(|(_, out)| out.absence.until())?;
        Some(out.absence.state(of.condition()?, now))
    }

    /// The next time at which the state changes without an event.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        if self.is_clear() {
            return None;
        }
        self.lock().outs().map(|(_, out)| out.absence.until()).filter(|until| *until > now).min()
    }

    /// Time until it may be tried again. None if it may be used now.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        if self.is_clear() {
            return None;
        }
        let last = self.lock().outs().map(|(_, out)| out.absence.until()).max()?;
        (last > now).then(|| last - now)
    }

    /// True if the deployment is neither out nor half-open.
    pub(super) fn is_clear(&self) -> bool {
        self.word.load(Ordering::Acquire) & OUT == 0
    }

    /// Runs `act` under the lock, then updates the atomic.
    fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        let mut held = self.lock();
        let result = act(&mut held);
        self.word.store(held.word(), Ordering::Release);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Every critical section leaves consistent state, so a poisoned lock is still good.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn row(&mut self, of: Suspicion, endpoint: usize) -> &mut Row {
        match of {
            Suspicion::Credential => &mut self.credential,
            Suspicion::Refused => &mut self.refused,
            Suspicion::Model => &mut self.model,
            Suspicion::Endpoint => &mut self.endpoints[endpoint],
        }
    }

    /// The suspicions that the whole deployment is out for.
    fn outs(&self) -> impl Iterator<Item = (Suspicion, &Suspected)> {
        let rows = [
            (Suspicion::Credential, &self.credential),
            (Suspicion::Refused, &self.refused),
            (Suspicion::Model, &self.model),
        ];
        rows.into_iter().filter_map(|(of, row)| Some((of, row.out.as_ref()?)))
    }

    fn outs_mut(&mut self) -> impl Iterator<Item = &mut Suspected> {
        let rows = [&mut self.credential, &mut self.refused, &mut self.model];
        rows.into_iter().filter_map(|row| row.out.as_mut())
    }

    fn word(&self) -> u32 {
        let rows = [&self.credential, &self.refused, &self.model];
        let mut all = rows.into_iter().chain(&self.endpoints);
        let heard = self.failing.first.is_some() || all.any(|row| !row.heard.is_empty());
        let out = self.outs().next().is_some();
        let lacking = self.endpoints.iter().enumerate().filter(|(_, row)| row.out.is_some());
        let bits = lacking.fold(0, |bits, (at, _)| bits | 1 << (FIRST as usize + at));
        (u32::from(out) * OUT) | (u32::from(heard) * HEARD) | bits
    }
}

/// Seconds of the process's clock plus 1, so that 0 means never.
fn seconds(now: Instant) -> u32 {
    u32::try_from(clock(now).as_secs()).unwrap_or(u32::MAX).saturating_add(1)
}
