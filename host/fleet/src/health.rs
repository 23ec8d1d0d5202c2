//! What probes say of a place: up or down, since when and why.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;

use config::Probing;

/// The state of one probed place. Starts up: a gateway that has just started must not refuse
/// traffic it could serve.
#[derive(Debug)]
pub struct Health {
    inner: Mutex<Inner>,
    asked: Notify,
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

impl Default for Health {
    fn default() -> Self {
        let observation = Observation { reason: None, since: SystemTime::now() };
        Self {
            inner: Mutex::new(Inner { up: true, contradictions: 0, observation }),
            asked: Notify::new(),
        }
    }
}

impl Health {
    /// Whether the place may be given traffic.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.lock().up
    }

    /// Asks for a probe now: requests to the place fail, and whether it is down is what its next
    /// success is judged by.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Ready when a probe is asked for.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Why it is in its state, and since when.
    #[must_use]
    pub fn observation(&self) -> Observation {
        self.lock().observation.clone()
    }

    /// Takes the result of one probe; an error is the reason, for people. Returns whether the state
    /// changed by it.
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
        // Every critical section leaves the state whole, so a poisoned one is still good.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_failures_in_a_row_take_it_down_and_one_success_brings_it_back() {
        let (health, probing) = (Health::default(), Probing::default());
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
