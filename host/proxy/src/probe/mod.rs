//! Health probes: one task on the control runtime says which place is due, and each probe under way is a task of
//! its own. A place between two probes costs its entry and no connection.
//!
//! A probe that hangs delays no place that answers: those are probed whenever they are due, however many probes are
//! under way. Only places whose last probe failed share a number of turns.

mod ask;
mod calendar;
mod places;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use config::Probing;
use fleet::{Fleet, ProbeRequests};

use crate::telemetry::catch;

use ask::Answer;
use places::{Id, Places};

/// A connection that is kept from one probe to the next is closed after so long without one.
pub const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// The probes of a gateway; dropping it stops them.
#[derive(Debug, Default)]
pub struct Probes {
    shared: Arc<Shared>,
    scheduler: Option<AbortHandle>,
}

#[derive(Debug, Default)]
struct Shared {
    places: Mutex<Places>,
    /// Notified when other places are to be probed.
    followed: Notify,
}

impl Drop for Probes {
    fn drop(&mut self) {
        if let Some(scheduler) = &self.scheduler {
            scheduler.abort();
        }
    }
}

impl Probes {
    /// Probes every place of `fleet` that is to be probed, and no other. A place that stays is probed
    /// on undisturbed: a reload delays no probe, and adds none. All fleets follow one another: the first one has
    /// the [`ProbeRequests`] of all.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn follow(&mut self, fleet: &Fleet, probing: Probing, client: &reqwest::Client) {
        self.shared.places().follow(fleet, probing, client, Instant::now());
        self.shared.followed.notify_one();
        if self.scheduler.is_none() {
            let requests = Arc::clone(&fleet.probe_requests);
            let run = schedule(Arc::clone(&self.shared), requests);
            self.scheduler = Some(tokio::spawn(run).abort_handle());
        }
    }
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places> {
        // What a panic broke off has set the next probe before.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the probes that are due, for ever.
async fn schedule(shared: Arc<Shared>, requests: Arc<ProbeRequests>) {
    let mut running: JoinSet<(Id, Option<Answer>)> = JoinSet::new();
    loop {
        let next = start_due(&shared, &mut running);
        let sleep = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = shared.followed.notified() => {}
            asked = requests.next() => shared.places().ask(&asked, Instant::now()),
            Some(ended) = running.join_next(), if !running.is_empty() => {
                // One that was aborted is of a place that is gone.
                let Ok((id, answer)) = ended else { continue };
                let jitter = rand::random::<f64>() * 2.0 - 1.0;
                let ended = || shared.places().ended(id, answer, jitter, Instant::now());
                if let Err(panic) = catch(ended) {
                    panic.log("the answer to a probe was lost by a panic");
                }
            }
        }
    }
}

/// Starts the probes that are due, and says when the next one is.
fn start_due(shared: &Shared, running: &mut JoinSet<(Id, Option<Answer>)>) -> Option<Instant> {
    let mut places = shared.places();
    while let Some((id, place, probe)) = places.next(Instant::now()) {
        let probe = async move {
            // What panicked is in the log; the next probe may fare better.
            let answer = AssertUnwindSafe(probe.ask(&place)).catch_unwind().await.ok();
            (id, answer)
        };
        places.began(id, running.spawn(probe));
    }
    places.next_time()
}
