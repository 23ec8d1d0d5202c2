//! Health probes. One task on the control runtime decides which place is due, and each probe under
//! way is a task of its own. Between two probes a place costs only the memory of its entry, and
//! also a connection in small fleets with intervals below [`KEEP_ALIVE`].
//!
//! A probe that hangs does not delay places that answer. They are probed whenever they are due,
//! however many probes are under way. Only places whose last probe failed share a limited number of
//! turns.

mod ask;
pub(crate) mod calendar;
mod places;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::rustls::ClientConfig;

use config::Probing;
use fleet::{Fleet, ProbeRequests};

use crate::telemetry::catch;
use crate::upstream::SharedNames;

use ask::Answer;
use places::{Id, Places};

/// How long a connection is kept unused for the next probe.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// A client for probes. It follows no redirect, uses no proxy, and asks for names together with the
/// requests.
///
/// # Errors
/// If the client cannot be built.
pub fn client(tls: ClientConfig) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(SharedNames)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_idle_timeout(KEEP_ALIVE)
        .build()
}

/// The probes of a gateway. Dropping it stops them.
#[derive(Debug, Default)]
pub struct Probes {
    shared: Arc<Shared>,
    scheduler: Option<AbortHandle>,
}

#[derive(Debug, Default)]
struct Shared {
    places: Mutex<Places>,
    /// Notified when the set of probed places changes.
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
    /// Probes every place of `fleet` that has a probe, and no other. A place that stays is not
    /// disturbed: a reload neither delays nor adds a probe. All fleets of a gateway must share one
    /// [`ProbeRequests`]: that of the first fleet is used for all.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
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
        // Poison is harmless: the next probe is scheduled before anything can panic.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends due probes for ever.
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
                // An aborted probe belongs to a place that was removed.
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

/// Starts the probes that are due. Returns when the next one is due.
fn start_due(shared: &Shared, running: &mut JoinSet<(Id, Option<Answer>)>) -> Option<Instant> {
    let mut places = shared.places();
    while let Some((id, place, probe)) = places.next(Instant::now()) {
        let probe = async move {
            // The panic is in the log already. The next probe may succeed.
            let answer = AssertUnwindSafe(probe.ask(&place)).catch_unwind().await.ok();
            (id, answer)
        };
        places.began(id, running.spawn(probe));
    }
    places.next_time()
}
