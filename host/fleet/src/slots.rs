//! The places for attempts at one deployment, and the queue for them. Shared by all cores and kept
//! over reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::admission::Quota;

/// The places of one deployment.
#[derive(Debug)]
pub struct Slots {
    places: Arc<Places>,
    /// The configured number of places.
    max: AtomicUsize,
    /// Counts the waiting requests, and limits the queue.
    waiting: Quota,
    /// Wakes all waiting requests when the deployment goes out of use.
    dispersed: Notify,
}

/// The free places. A [`Slot`] returns its place here.
#[derive(Debug)]
struct Places {
    free: Semaphore,
    /// Taken places beyond the configured number. They vanish when they are returned.
    surplus: AtomicUsize,
}

/// A place, taken until dropped.
#[derive(Debug)]
pub struct Slot(Arc<Places>);

/// Why a request got no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// The queue is full.
    Full,
    /// Its time in the queue is over.
    Waited,
    /// The deployment went out of use while it waited.
    Dispersed,
}

impl Busy {
    /// Every reason, in the order of the discriminants. `busy as usize` is the index of a counter.
    pub const ALL: [Self; 3] = [Self::Full, Self::Waited, Self::Dispersed];

    /// Its name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "queue_full",
            Self::Waited => "queue_timeout",
            Self::Dispersed => "queue_dispersed",
        }
    }
}

impl Slots {
    /// Starts with `max` places, all free.
    #[must_use]
    pub fn new(max: u32) -> Self {
        let max = (max as usize).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Places { free: Semaphore::new(max), surplus: AtomicUsize::new(0) }),
            max: max.into(),
            waiting: Quota::default(),
            dispersed: Notify::new(),
        }
    }

    /// Takes a free place without waiting. None if all are taken.
    #[must_use]
    pub fn try_enter(&self) -> Option<Slot> {
        self.places.free.try_acquire().ok().map(|permit| self.slot(permit))
    }

    /// Waits for a place until `until` at the latest, in a queue of at most `queue` requests.
    /// `is_in_use` is asked once, when the request is in the queue.
    ///
    /// # Errors
    /// If the queue is full, the time is over, or the deployment is or goes out of use.
    pub async fn enter(
        &self,
        queue: u32,
        until: Instant,
        is_in_use: impl FnOnce() -> bool,
    ) -> Result<Slot, Busy> {
        let Some(_waiting) = self.waiting.take(1, queue as usize) else {
            return Err(Busy::Full);
        };
        // Created before the question: a deployment that goes out of use in between wakes this
        // request, and the answer shows one that went before.
        let dispersed = self.dispersed.notified();
        if !is_in_use() {
            return Err(Busy::Dispersed);
        }
        tokio::select! {
            // A deployment out of use is left even if a place is free at the same time.
            biased;
            () = dispersed => Err(Busy::Dispersed),
            // Nobody closes the semaphore.
            permit = self.places.free.acquire() => {
                permit.map(|permit| self.slot(permit)).map_err(|_| Busy::Dispersed)
            }
            () = tokio::time::sleep_until(until.into()) => Err(Busy::Waited),
        }
    }

    /// Requests that wait for a place.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.in_use()
    }

    /// Makes all waiting requests leave with [`Busy::Dispersed`]: the deployment is out of use.
    pub fn disperse(&self) {
        self.dispersed.notify_waiters();
    }

    /// Changes the number of places. Attempts beyond a lower number run to their end.
    pub(super) fn resize(&self, max: u32) {
        let max = (max as usize).min(Semaphore::MAX_PERMITS);
        let before = self.max.swap(max, Ordering::AcqRel);
        if let Some(fewer) = before.checked_sub(max) {
            // Only free places can be removed now.
            let gone = self.places.free.forget_permits(fewer);
            self.places.surplus.fetch_add(fewer - gone, Ordering::AcqRel);
        } else {
            // Surplus places still exist, so they are kept before new ones are added.
            let paid = (before..max).filter(|_| self.places.redeem()).count();
            self.places.free.add_permits(max - before - paid);
        }
    }

    /// Turns a permit into a slot, which returns the place by itself. An owned permit would need a
    /// second reference count.
    fn slot(&self, permit: SemaphorePermit<'_>) -> Slot {
        permit.forget();
        Slot(Arc::clone(&self.places))
    }
}

impl Places {
    /// Takes one place off the surplus. False if there is none.
    fn redeem(&self) -> bool {
        let one_less = |surplus: usize| surplus.checked_sub(1);
        self.surplus.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.0.redeem() {
            self.0.free.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    /// Length of the queue.
    const QUEUE: u32 = 1;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    fn free(slots: &Slots) -> usize {
        slots.places.free.available_permits()
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_in_line_and_who_finds_no_line_is_sent_away() {
        let slots = Slots::new(2);
        let first = slots.try_enter().expect("a place");
        let _second = slots.try_enter().expect("a place");
        assert!(slots.try_enter().is_none());
        let mut waiting = pin!(slots.enter(QUEUE, far(), || true));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(slots.waiting(), 1);
        assert_eq!(slots.enter(QUEUE, far(), || true).await.err(), Some(Busy::Full));
        drop(first);
        let _third = waiting.await.expect("a place");
        assert_eq!((slots.waiting(), free(&slots)), (0, 0));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_wait_with_the_request_and_with_the_deployment() {
        let slots = Slots::new(1);
        let _taken = slots.try_enter().expect("a place");
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(slots.enter(QUEUE, soon, || true).await.err(), Some(Busy::Waited));
        assert_eq!(slots.enter(QUEUE, Instant::now(), || true).await.err(), Some(Busy::Waited));
        let mut waiting = pin!(slots.enter(QUEUE, far(), || true));
        assert!(waiting.as_mut().now_or_never().is_none());
        slots.disperse();
        assert_eq!(waiting.await.err(), Some(Busy::Dispersed));
        // A deployment that goes out of use just before the wait does not keep a request.
        let gone = || {
            slots.disperse();
            true
        };
        assert_eq!(slots.enter(QUEUE, far(), gone).await.err(), Some(Busy::Dispersed));
        assert_eq!(slots.enter(QUEUE, far(), || false).await.err(), Some(Busy::Dispersed));
        // A request whose client goes away leaves the line.
        assert!(slots.enter(QUEUE, far(), || true).now_or_never().is_none());
        assert_eq!(slots.waiting(), 0);
    }

    #[test]
    fn places_that_are_too_many_go_as_they_become_free() {
        let slots = Slots::new(3);
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(slots.try_enter().expect("a place"));
        }
        slots.resize(1);
        taken.pop();
        taken.pop();
        assert_eq!(free(&slots), 0, "both places were surplus");
        slots.resize(2);
        assert_eq!(free(&slots), 1);
        taken.pop();
        assert_eq!(free(&slots), 2);
        slots.resize(1);
        slots.resize(5);
        assert_eq!(free(&slots), 5);
        let _taken = slots.try_enter().expect("a place");
        slots.resize(1);
        assert_eq!(free(&slots), 0);
        slots.resize(2);
        assert_eq!(free(&slots), 1, "one is taken");
    }

    #[test]
    fn reasons_have_names_in_the_order_of_their_counters() {
        let named = Busy::ALL.map(|busy| (busy as usize, busy.as_str()));
        assert_eq!(named, [(0, "queue_full"), (1, "queue_timeout"), (2, "queue_dispersed")]);
    }
}
