//! How much the engine takes: places, a queue, and an allowance of calls per minute. Calls beyond
//! them are refused, as full engines and APIs with rate limits do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// The limits at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Capacity {
    /// Calls that are worked on at a time. 0: no limit.
    pub(super) places: u32,
    /// Calls that wait for a place. Those beyond are refused.
    pub(super) queue: u32,
    /// Calls per minute. A second's worth may come at once. 0: no limit.
    pub(super) per_minute: f64,
}

/// The places of an engine, and its allowance.
#[derive(Debug, Default)]
pub(super) struct Places {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    working: u32,
    waiting: u32,
    /// Calls that are left of the allowance, at that time. None before the first call.
    left: Option<(f64, Instant)>,
}

/// The calls at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct EngineLoad {
    /// Those that are worked on.
    pub(super) working: u32,
    /// Those in the queue.
    pub(super) waiting: u32,
}

impl EngineLoad {
    /// The share of places that are taken, as the use of a cache. 0 without a limit.
    pub(super) fn kv(self, places: u32) -> f64 {
        match places {
            0 => 0.0,
            places => (f64::from(self.working) / f64::from(places)).min(1.0),
        }
    }
}

/// A place, held until dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().working -= 1;
        self.0.freed.notify_one();
    }
}

/// A call in the queue, counted until dropped.
struct Waiting<'a>(&'a Places);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
        // If this call was the one woken for a free place, another must be woken.
        self.0.freed.notify_one();
    }
}

impl Places {
    /// Waits for a place. `capacity` returns the limits, which may change meanwhile. None: the queue
    /// is full.
    pub(super) async fn enter(self: &Arc<Self>, capacity: impl Fn() -> Capacity) -> Option<Place> {
        if self.take(capacity()) {
            return Some(Place(Arc::clone(self)));
        }
        let _waiting = {
            let mut state = self.lock();
            if state.waiting >= capacity().queue {
                return None;
            }
            state.waiting += 1;
            Waiting(self)
        };
        loop {
            let freed = self.freed.notified();
            if self.take(capacity()) {
                return Some(Place(Arc::clone(self)));
            }
            freed.await;
        }
    }

    /// Takes a call off the allowance. Returns the seconds until the next one if none is left.
    pub(super) fn spend(&self, capacity: Capacity, now: Instant) -> Result<(), f64> {
        let rate = capacity.per_minute / 60.0;
        if rate <= 0.0 {
            return Ok(());
        }
        let most = rate.max(1.0);
        let mut state = self.lock();
        let (left, at) = state.left.unwrap_or((most, now));
        let left = (left + (now - at).as_secs_f64() * rate).min(most);
        let is_enough = left >= 1.0;
        let left = if is_enough { left - 1.0 } else { left };
        state.left = Some((left, now));
        if is_enough { Ok(()) } else { Err((1.0 - left) / rate) }
    }

    /// The calls now.
    pub(super) fn load(&self) -> EngineLoad {
        let state = self.lock();
        EngineLoad { working: state.working, waiting: state.waiting }
    }

    /// The limits changed.
    pub(super) fn changed(&self) {
        self.freed.notify_waiters();
    }

    fn take(&self, capacity: Capacity) -> bool {
        let mut state = self.lock();
        let is_free = capacity.places == 0 || state.working < capacity.places;
        state.working += u32::from(is_free);
        is_free
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    const TWO: Capacity = Capacity { places: 2, queue: 1, per_minute: 0.0 };

    #[tokio::test]
    async fn calls_have_places_then_a_queue_then_nothing() {
        let places = Arc::new(Places::default());
        let first = places.enter(|| TWO).await.expect("a place");
        let _second = places.enter(|| TWO).await.expect("a place");
        let mut third = pin!(places.enter(|| TWO));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(places.enter(|| TWO).await.is_none(), "the queue is full");
        drop(first);
        assert!(third.await.is_some());
        // A call whose client goes away leaves the queue.
        let mut fourth = Box::pin(places.enter(|| TWO));
        assert!(fourth.as_mut().now_or_never().is_some(), "the third is over");
    }

    #[tokio::test]
    async fn more_places_let_waiting_calls_in() {
        let places = Arc::new(Places::default());
        let _taken = (places.enter(|| TWO).await, places.enter(|| TWO).await);
        let capacity = std::cell::Cell::new(TWO);
        let mut waiting = pin!(places.enter(|| capacity.get()));
        assert!(waiting.as_mut().now_or_never().is_none());
        capacity.set(Capacity { places: 3, ..TWO });
        places.changed();
        assert!(waiting.await.is_some());
    }

    #[test]
    fn an_allowance_comes_back_with_time() {
        let (places, now) = (Places::default(), Instant::now());
        let capacity = Capacity { per_minute: 120.0, ..TWO };
        assert_eq!((places.spend(capacity, now), places.spend(capacity, now)), (Ok(()), Ok(())));
        let wait = places.spend(capacity, now).expect_err("nothing is left");
        assert!((wait - 0.5).abs() < 1e-9);
        assert!(places.spend(capacity, now + Duration::from_millis(500)).is_ok());
        assert!(places.spend(capacity, now + Duration::from_millis(900)).is_err());
        let all = Capacity { per_minute: 0.0, ..capacity };
        assert!((0..100).all(|_| places.spend(all, now).is_ok()));
    }
}
