//! Health probes: one task a probed place, on the control runtime, so that a hung one delays no
//! other and none delays traffic.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use config::{Origin, ProbeMethod, ProbeTarget, Probing};
use fleet::{Deployment, Fleet, Health};

use crate::descriptors;

/// What is asked, where. Deployments that share it share the answer.
type Place = (Origin, ProbeTarget);

/// The deployments that share a place: a reload replaces them under a probe that goes on.
type Sharers = Arc<Mutex<Vec<Arc<Deployment>>>>;

/// The probes under way; dropping it stops them.
#[derive(Debug, Default)]
pub struct Probes {
    probing: Probing,
    tasks: HashMap<Place, Task>,
}

#[derive(Debug)]
struct Task {
    health: Arc<Health>,
    sharers: Sharers,
    abort: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Probes {
    /// Probes every place of `fleet` that is to be probed, and no other. A place that stays is probed
    /// on undisturbed: a reload delays no probe, and adds none. `changed` is called when a state
    /// changes.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn follow(
        &mut self,
        fleet: &Fleet,
        probing: Probing,
        client: &reqwest::Client,
        changed: &Arc<dyn Fn() + Send + Sync>,
    ) {
        let mut old = std::mem::take(&mut self.tasks);
        if self.probing != probing {
            old.clear();
        }
        self.probing = probing;
        let Some(interval) = probing.interval else { return };
        for deployment in fleet.deployments() {
            let (Some(health), Some(target)) = (&deployment.health, &deployment.config.probe)
            else {
                continue;
            };
            let place = (deployment.config.endpoint.origin.clone(), target.clone());
            if let Some(task) = self.tasks.get(&place) {
                lock(&task.sharers).push(Arc::clone(deployment));
                continue;
            }
            let kept = old.remove(&place).filter(|task| Arc::ptr_eq(&task.health, health));
            let task = kept.unwrap_or_else(|| {
                let sharers = Sharers::default();
                let probe = Probe {
                    place: place.clone(),
                    health: Arc::clone(health),
                    sharers: Arc::clone(&sharers),
                    probing,
                    client: client.clone(),
                    changed: Arc::clone(changed),
                };
                let abort = tokio::spawn(probe.run(interval)).abort_handle();
                Task { health: Arc::clone(health), sharers, abort }
            });
            *lock(&task.sharers) = vec![Arc::clone(deployment)];
            self.tasks.insert(place, task);
        }
    }
}

/// One place and what becomes of its answers.
struct Probe {
    place: Place,
    health: Arc<Health>,
    sharers: Sharers,
    probing: Probing,
    client: reqwest::Client,
    changed: Arc<dyn Fn() + Send + Sync>,
}

impl Probe {
    async fn run(self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.health.asked() => {}
            }
            let probed = AssertUnwindSafe(self.probe()).catch_unwind();
            // What panicked is in the log; the next probe may fare better.
            let _ = probed.await;
        }
    }

    async fn probe(&self) {
        let (origin, target) = &self.place;
        let sent = Instant::now();
        let result = ask(&self.client, origin, target, self.probing.timeout).await;
        if result.is_some_and(|result| self.record(result, sent)) {
            (self.changed)();
        }
    }

    /// Takes the result of a probe that was sent at `sent`; says whether anything changed.
    fn record(&self, result: Result<(), String>, sent: Instant) -> bool {
        let sharers = lock(&self.sharers);
        let good = result.is_ok();
        let turned = self.health.record(result, &self.probing);
        if turned {
            let (up, reason) = (self.health.is_up(), self.health.observation().reason);
            // By name: the log tells no address.
            let name = |d: &Arc<Deployment>| format!("{}/{}", d.model, d.config.name);
            let deployments = sharers.iter().map(name).collect::<Vec<_>>().join(", ");
            tracing::warn!(deployments, up, reason, "health changed");
        }
        let mut changed = turned;
        for deployment in sharers.iter() {
            if good {
                changed |= deployment.probed(sent, turned, Instant::now());
            } else {
                deployment.probe_failed(sent);
            }
            if turned && !good {
                deployment.slots.disperse();
            }
        }
        changed
    }
}

fn lock(sharers: &Mutex<Vec<Arc<Deployment>>>) -> MutexGuard<'_, Vec<Arc<Deployment>>> {
    sharers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One probe: 200 is healthy. The error is the reason, for people, and names no address. None: nobody
/// was asked, for want of a file descriptor, which says nothing of the place.
async fn ask(
    client: &reqwest::Client,
    origin: &Origin,
    target: &ProbeTarget,
    timeout: Duration,
) -> Option<Result<(), String>> {
    let method = match target.method {
        ProbeMethod::Get => reqwest::Method::GET,
        ProbeMethod::Head => reqwest::Method::HEAD,
    };
    let request = client.request(method, format!("{origin}{}", target.path)).timeout(timeout);
    Some(match request.send().await {
        Ok(response) if response.status() == reqwest::StatusCode::OK => Ok(()),
        Ok(response) => Err(format!("probe answered {}", response.status().as_u16())),
        Err(error) if error.is_connect() && descriptors::are_exhausted(&error) => return None,
        Err(error) if error.is_timeout() => Err(format!("no answer to a probe within {timeout:?}")),
        Err(error) if error.is_connect() => Err("probe could not connect".to_owned()),
        Err(_) => Err("probe got no valid answer".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;
    use config::{self, Config, Paths};

    #[tokio::test]
    async fn a_probe_that_panics_is_not_the_last() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("models.yaml");
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::fs::write(&models, format!("models: [{{id: m, base_url: '{url}'}}]")).unwrap();
        let paths = Paths { models, routing: folder.path().join("none"), routing_required: false };
        let tls = crate::tls::client().unwrap();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
        let probing = Probing {
            interval: Some(Duration::from_millis(20)),
            timeout: Duration::from_millis(200),
            down_after: 1,
            up_after: 1,
        };
        let config = config::load(&paths, &|_| None).unwrap();
        let fleet = Fleet::build(&Config { probing, ..config }, None);
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let changed: Arc<dyn Fn() + Send + Sync> =
            Arc::new(move || assert!(counted.fetch_add(1, SeqCst) > 0, "the first call panics"));
        let mut probes = Probes::default();
        probes.follow(&fleet, probing, &client, &changed);
        let called = async |times| {
            while calls.load(SeqCst) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, called(1)).await.expect("nobody answers: it is down");
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let options = stub_engine::Options::default();
        tokio::spawn(stub_engine::serve(listener, options, std::future::pending()));
        tokio::time::timeout(limit, called(2)).await.expect("somebody answers: it is up");
    }
}
