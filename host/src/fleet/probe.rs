//! Health probes: one task a probed place, on the control runtime, so that a hung one delays no
//! other and none delays traffic.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use crate::config::{Origin, ProbeMethod, ProbeTarget, Probing};

use super::{Fleet, Health};

/// What is asked, where. Deployments that share it share the answer.
type Place = (Origin, ProbeTarget);

/// The deployments that share a place, each `MODEL/DEPLOYMENT`: the log names no address.
type Names = Arc<Mutex<Vec<String>>>;

/// The probes under way; dropping it stops them.
#[derive(Debug, Default)]
pub struct Probes {
    probing: Probing,
    tasks: HashMap<Place, Task>,
}

#[derive(Debug)]
struct Task {
    health: Arc<Health>,
    names: Names,
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
            let name = format!("{}/{}", deployment.model, deployment.config.name);
            if let Some(task) = self.tasks.get(&place) {
                task.names.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                continue;
            }
            let kept = old.remove(&place).filter(|task| Arc::ptr_eq(&task.health, health));
            let task = kept.unwrap_or_else(|| {
                let names = Names::default();
                let probe = Probe {
                    place: place.clone(),
                    health: Arc::clone(health),
                    names: Arc::clone(&names),
                    probing,
                    client: client.clone(),
                    changed: Arc::clone(changed),
                };
                let abort = tokio::spawn(probe.run(interval)).abort_handle();
                Task { health: Arc::clone(health), names, abort }
            });
            *task.names.lock().unwrap_or_else(PoisonError::into_inner) = vec![name];
            self.tasks.insert(place, task);
        }
    }
}

/// One place and what becomes of its answers.
struct Probe {
    place: Place,
    health: Arc<Health>,
    names: Names,
    probing: Probing,
    client: reqwest::Client,
    changed: Arc<dyn Fn() + Send + Sync>,
}

impl Probe {
    async fn run(self, interval: Duration) {
        let (origin, target) = &self.place;
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let result = ask(&self.client, origin, target, self.probing.timeout).await;
            if self.health.record(result, &self.probing) {
                let (up, reason) = (self.health.is_up(), self.health.observation().reason);
                let deployments =
                    self.names.lock().unwrap_or_else(PoisonError::into_inner).join(", ");
                tracing::warn!(deployments, up, reason, "health changed");
                (self.changed)();
            }
        }
    }
}

/// One probe: 200 is healthy. The error is the reason, for people, and names no address.
async fn ask(
    client: &reqwest::Client,
    origin: &Origin,
    target: &ProbeTarget,
    timeout: Duration,
) -> Result<(), String> {
    let method = match target.method {
        ProbeMethod::Get => reqwest::Method::GET,
        ProbeMethod::Head => reqwest::Method::HEAD,
    };
    let request = client.request(method, format!("{origin}{}", target.path)).timeout(timeout);
    match request.send().await {
        Ok(response) if response.status() == reqwest::StatusCode::OK => Ok(()),
        Ok(response) => Err(format!("probe answered {}", response.status().as_u16())),
        Err(error) if error.is_timeout() => Err(format!("no answer to a probe within {timeout:?}")),
        Err(error) if error.is_connect() => Err("probe could not connect".to_owned()),
        Err(_) => Err("probe got no valid answer".to_owned()),
    }
}
