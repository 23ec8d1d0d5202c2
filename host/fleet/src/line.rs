//! The line of requests that wait for a place.
//!
//! A request may wait for several deployments at once. Each of them has a [`Queue`]. All queues are
//! ordered by the moment when a request began to wait anywhere, so deployments that serve the same
//! requests have one line in common. A free place is handed to the first waiting request that fits
//! it, and wakes no other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::slots::{Slot, Slots};

/// Order of arrival in all lines of the process.
static ARRIVALS: AtomicU64 = AtomicU64::new(0);
/// Shortest time between two looks at a deployment that opens by itself.
const LOOK: Duration = Duration::from_millis(1);

/// Why a request got no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// The queue is full.
    Full,
    /// Its time in the queue is over.
    Waited,
    /// The deployment went out of use while it waited.
    Dispersed,
    /// The deployment has shown that it is full, so another one is asked at once.
    Pressed,
}

impl Busy {
    /// Every reason, in the order of the discriminants. `busy as usize` is the index of a counter.
    pub const ALL: [Self; 4] = [Self::Full, Self::Waited, Self::Dispersed, Self::Pressed];

    /// Its name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "queue_full",
            Self::Waited => "queue_timeout",
            Self::Dispersed => "queue_dispersed",
            Self::Pressed => "learned_limit",
        }
    }
}

/// A deployment that a request waits for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its position in the model.
    pub at: usize,
    /// Its places.
    pub slots: &'a Arc<Slots>,
    /// The most requests that may wait for it.
    pub queue: u32,
}

type Told = Result<(usize, Slot), Busy>;

/// A request in one or several queues.
#[derive(Debug)]
struct Waiter {
    /// Taken by the queue that answers first.
    tell: Mutex<Option<oneshot::Sender<Told>>>,
    /// The number of queues that it is still in.
    queues: AtomicUsize,
    /// Woken to look again when a deployment opens by itself. Each queue wakes only its first
    /// request.
    look: Notify,
}

impl Waiter {
    /// Hands over what it waits for. Gives it back if the request has left, or was told before.
    fn tell(&self, told: Told) -> Result<(), Told> {
        let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner).take();
        match tell {
            Some(tell) => tell.send(told),
            None => Err(told),
        }
    }
}

/// The requests that wait for one deployment, first come first served.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The length, read without the lock. A waiting request raises it before it looks for a free
    /// place, and whoever frees a place reads it afterwards: so no free place is missed.
    len: AtomicUsize,
    /// Keyed by order of arrival. The position is that of the deployment in the request's own list.
    waiting: Mutex<BTreeMap<u64, (usize, Arc<Waiter>)>>,
}

impl Queue {
    /// The number of waiting requests.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Adds a request. False if `most` requests wait already.
    fn enter(&self, arrival: u64, at: usize, waiter: &Arc<Waiter>, most: u32) -> bool {
        let mut waiting = self.lock();
        if waiting.len() >= most as usize {
            return false;
        }
        waiter.queues.fetch_add(1, Ordering::Relaxed);
        waiting.insert(arrival, (at, Arc::clone(waiter)));
        self.len.store(waiting.len(), Ordering::SeqCst);
        true
    }

    /// Removes a request, wherever it stands.
    fn leave(&self, arrival: u64) {
        let mut waiting = self.lock();
        if waiting.remove(&arrival).is_some() {
            self.len.store(waiting.len(), Ordering::SeqCst);
            if let Some((_, (_, first))) = waiting.first_key_value() {
                first.look.notify_one();
            }
        }
    }

    /// Lets the first request look again when the deployment opens.
    pub(super) fn look(&self) {
        if let Some((_, (_, first))) = self.lock().first_key_value() {
            first.look.notify_one();
        }
    }

    /// Hands a place to the first request that still waits. Gives it back if there is none.
    pub(super) fn give(&self, slot: Slot) -> Option<Slot> {
        let mut slot = slot;
        loop {
            let first = {
                let mut waiting = self.lock();
                let first = waiting.pop_first();
                self.len.store(waiting.len(), Ordering::SeqCst);
                first
            };
            let Some((_, (at, waiter))) = first else { return Some(slot) };
            match waiter.tell(Ok((at, slot))) {
                Err(Ok((_, back))) => slot = back,
                Ok(()) | Err(Err(_)) => return None,
            }
        }
    }

    /// Sends all requests away that wait for nothing else.
    pub(super) fn disperse(&self) {
        let all = {
            let mut waiting = self.lock();
            self.len.store(0, Ordering::SeqCst);
            std::mem::take(&mut *waiting)
        };
        for (_, waiter) in all.into_values() {
            if waiter.queues.fetch_sub(1, Ordering::Relaxed) == 1 {
                // It may have got a place elsewhere meanwhile.
                let _ = waiter.tell(Err(Busy::Dispersed));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (usize, Arc<Waiter>)>> {
        // Every critical section leaves consistent state, so a poisoned lock is still good.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's places in queues, left when dropped.
struct Waiting<'a> {
    arrival: u64,
    queues: Vec<Wanted<'a>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for wanted in &self.queues {
            wanted.slots.queue().leave(self.arrival);
        }
    }
}

/// Waits until `until` at the latest for a place at any of the deployments. Returns the place and
/// its deployment. `is_in_use` is asked once about each, when the request is in the queue.
///
/// # Errors
/// If all queues are full, the time is over, or all of the deployments are or go out of use.
pub async fn wait_for_any(
    wanted: impl Iterator<Item = Wanted<'_>>,
    until: Instant,
    is_in_use: impl Fn(usize) -> bool,
) -> Told {
    let (tell, mut told) = oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let waiter = Arc::new(Waiter { tell, queues: AtomicUsize::new(0), look: Notify::new() });
    let arrival = ARRIVALS.fetch_add(1, Ordering::Relaxed);
    let enters = |w: &Wanted<'_>| w.slots.queue().enter(arrival, w.at, &waiter, w.queue);
    let mut waiting = Waiting { arrival, queues: wanted.filter(enters).collect() };
    if waiting.queues.is_empty() {
        return Err(Busy::Full);
    }
    // Asked after entering: a deployment that goes out of use later empties its queue.
    waiting.queues.retain(|wanted| {
        let stays = is_in_use(wanted.at);
        if !stays {
            wanted.slots.queue().leave(arrival);
            waiter.queues.fetch_sub(1, Ordering::Relaxed);
        }
        stays
    });
    if waiting.queues.is_empty() {
        return Err(Busy::Dispersed);
    }
    loop {
        let now = super::now();
        let mut next = until;
        for Wanted { slots, .. } in &waiting.queues {
            // A place may have become free before this request was in the queue.
            slots.serve(now);
            next = slots.opens(now).map_or(next, |opens| next.min(opens.max(now + LOOK)));
        }
        tokio::select! {
            biased;
            told = &mut told => return told.unwrap_or(Err(Busy::Dispersed)),
            () = waiter.look.notified() => continue,
            () = tokio::time::sleep_until(next.into()) => {}
        }
        if next >= until {
            return Err(Busy::Waited);
        }
    }
}

/// Like [`wait_for_any`], but a request that gets no place waits until `until` all the same: its
/// time is what was asked for, not a place.
pub async fn hold_for_any(
    wanted: impl Iterator<Item = Wanted<'_>>,
    until: Instant,
    is_in_use: impl Fn(usize) -> bool,
) -> Option<(usize, Slot)> {
    if let Ok(place) = wait_for_any(wanted, until, is_in_use).await {
        return Some(place);
    }
    tokio::time::sleep_until(until.into()).await;
    None
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
