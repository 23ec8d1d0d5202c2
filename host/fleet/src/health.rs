//! The result of probing a place: up or down, since when and why.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;

use config::Probing;

/// The state of one probed place. Starts up: a gateway that has just started must not refuse
/// traffic it could serve.
#[derive(Debug)]
pub struct Health {
    inner: Mutex<Inner>,
    /// True while it waits in `requests`.
    asked: AtomicBool,
    requests: Arc<ProbeRequests>,
}

/// The queue of places to probe at once. Kept over reloads.
#[derive(Debug, Default)]
pub struct ProbeRequests {
    /// Each place at most once.
    places: Mutex<Vec<Arc<Health>>>,
    notify: Notify,
}

impl ProbeRequests {
    fn add(&self, health: &Arc<Health>) {
        if health.asked.swap(true, Ordering::AcqRel) {
            return;
        }
        self.lock().push(Arc::clone(health));
        self.notify.notify_one();
    }

    /// Takes all places from the queue. Waits until there is at least one.
    pub async fn next(&self) -> Vec<Arc<Health>> {
        loop {
            let places = std::mem::take(&mut *self.lock());
            if !places.is_empty() {
                places.iter().for_each(|health| health.asked.store(false, Ordering::Release));
                return places;
            }
            self.notify.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Health>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Inner {
    up: bool,
    /// Results in a row that contradict `up`.
    contradictions: u32,
    observation: Observation,
}

/// Why a place is in its state, and since when.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// For people: `probe answered 503`.
    pub reason: Option<String>,
    /// When the state began.
    pub since: SystemTime,
}

impl Health {
    /// A place without a probe result, which counts as up. [`ask`](Self::ask) adds it to
    /// `requests`.
    #[must_use]
    pub fn of(requests: Arc<ProbeRequests>) -> Self {
        let observation = Observation { reason: None, since: SystemTime::now() };
        let inner = Mutex::new(Inner { up: true, contradictions: 0, observation });
        Self { inner, asked: AtomicBool::new(false), requests }
    }

    /// True if the place may get traffic.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.lock().up
    }

    /// Asks for a probe now, because requests to the place fail. If that probe fails too, a later
    /// success shows that the place was down and has come up.
    pub fn ask(self: &Arc<Self>) {
        self.requests.add(self);
    }

    /// Why it is in its state, and since when.
    #[must_use]
    pub fn observation(&self) -> Observation {
        self.lock().observation.clone()
    }

    /// Records the result of one probe. The error is a reason for people to read. Returns true if
    /// the state changed.
    pub fn record(&self, result: Result<(), String>, probing: &Probing) -> bool {
        let mut inner = self.lock();
        if result.is_ok() == inner.up {
            inner.contradictions = 0;
            return false;
        }
        inner.contradictions += 1;
        let enough = if inner.up { probing.down_after } else { probing.up_after };
        if inner.contradictions < enough {
            return false;
        }
        inner.up = !inner.up;
        inner.contradictions = 0;
        inner.observation = Observation { reason: result.err(), since: SystemTime::now() };
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every critical section leaves consistent state, so a poisoned lock is still good.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_failures_in_a_row_take_it_down_and_one_success_brings_it_back() {
        let (health, probing) = (Health::of(Arc::default()), Probing::default());
        let fail = || Err("refused".to_owned());
        assert!(!health.record(fail(), &probing));
        assert!(!health.record(Ok(()), &probing));
        assert!(!health.record(fail(), &probing), "the success in between starts the count anew");
        assert!(health.record(fail(), &probing));
        assert!(!health.is_up());
        assert_eq!(health.observation().reason.as_deref(), Some("refused"));
        assert!(health.record(Ok(()), &probing));
        assert!(health.is_up());
        assert_eq!(health.observation().reason, None);
    }
}
