//! Open-loop load: requests are sent at a set rate, whether or not earlier ones have ended.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::eventually;

/// The most requests under way. On a machine that is too busy for the rate, more and more requests
/// would pile up and fail by their time-outs.
const MOST_UNDER_WAY: usize = 200;

/// Requests under way at a set rate.
#[derive(Debug)]
pub struct Steady<T> {
    driver: JoinHandle<Vec<T>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    under_way: Mutex<BTreeSet<u64>>,
}

impl Shared {
    fn under_way(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Steady<T> {
    /// Calls `ask` with 0, 1, 2 ... `rate` times a second until it is stopped. Must be called
    /// inside a runtime.
    #[must_use]
    pub fn start<F>(rate: u32, ask: impl Fn(u64) -> F + Send + 'static) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let shared = Arc::<Shared>::default();
        let state = Arc::clone(&shared);
        let driver = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut requests = JoinSet::new();
            while !state.stop.load(SeqCst) {
                ticks.tick().await;
                while state.under_way().len() >= MOST_UNDER_WAY {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    ticks.reset();
                }
                let number = state.sent.load(SeqCst);
                state.under_way().insert(number);
                state.sent.store(number + 1, SeqCst);
                let (request, state) = (ask(number), Arc::clone(&state));
                requests.spawn(async move {
                    let end = request.await;
                    state.under_way().remove(&number);
                    end
                });
            }
            requests.join_all().await
        });
        Self { driver, shared }
    }

    /// Waits until this many more requests were sent.
    ///
    /// # Panics
    /// If they are not.
    pub async fn more(&self, requests: u64) {
        let enough = self.shared.sent.load(SeqCst) + requests;
        let sent = async || (self.shared.sent.load(SeqCst) >= enough).then_some(());
        eventually("more requests are sent", sent).await;
    }

    /// Waits until every request sent before now has ended.
    ///
    /// # Panics
    /// If one does not.
    pub async fn settled(&self) {
        let next = self.shared.sent.load(SeqCst);
        let ended = async || {
            let oldest = self.shared.under_way().first().copied();
            oldest.is_none_or(|oldest| oldest >= next).then_some(())
        };
        eventually("the requests of before end", ended).await;
    }

    /// Stops after the requests under way, and gives the result of each.
    ///
    /// # Panics
    /// If a request did.
    pub async fn stop(self) -> Vec<T> {
        self.shared.stop.store(true, SeqCst);
        self.driver.await.expect("no request panics")
    }
}
