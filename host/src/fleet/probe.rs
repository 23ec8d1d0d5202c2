//! Health probes: one task a probed place, on the control runtime, so that a hung one delays no
//! other and none delays traffic.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::config::{Origin, ProbeMethod, ProbeTarget, Probing};

use super::{Deployment, Fleet, Health};

/// The probes of one generation; dropping it stops them.
#[derive(Debug)]
pub struct Probes(
    #[expect(dead_code, reason = "held for its drop, which aborts the tasks")] JoinSet<()>,
);

/// Starts probing every place of `fleet` that is to be probed, once each however many deployments
/// share it. `changed` is called when a state changes.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(
    fleet: &Fleet,
    probing: Probing,
    client: &reqwest::Client,
    changed: &Arc<dyn Fn() + Send + Sync>,
) -> Probes {
    let mut tasks = JoinSet::new();
    let Some(interval) = probing.interval else { return Probes(tasks) };
    let mut places: HashMap<(Origin, ProbeTarget), Place> = HashMap::new();
    for deployment in fleet.deployments() {
        if let (Some(health), Some(target)) = (&deployment.health, &deployment.config.probe) {
            let key = (deployment.config.endpoint.origin.clone(), target.clone());
            let new = || Place { health: Arc::clone(health), deployments: Vec::new() };
            places.entry(key).or_insert_with(new).deployments.push(Arc::clone(deployment));
        }
    }
    for ((origin, target), place) in places {
        let (client, changed) = (client.clone(), Arc::clone(changed));
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let sent = Instant::now();
                let result = ask(&client, &origin, &target, probing.timeout).await;
                if place.record(&origin, result, sent, &probing) {
                    changed();
                }
            }
        });
    }
    Probes(tasks)
}

/// What is asked one question, and whom the answer concerns.
struct Place {
    health: Arc<Health>,
    deployments: Vec<Arc<Deployment>>,
}

impl Place {
    /// Takes the result of a probe that was sent at `sent`; says whether anything changed.
    fn record(
        &self,
        origin: &Origin,
        result: Result<(), String>,
        sent: Instant,
        probing: &Probing,
    ) -> bool {
        let good = result.is_ok();
        let turned = self.health.record(result, probing);
        if turned {
            let (up, reason) = (self.health.is_up(), self.health.observation().reason);
            tracing::warn!(%origin, up, reason, "health changed");
        }
        let mut changed = turned;
        for deployment in self.deployments.iter().filter(|_| good) {
            changed |= deployment.probed(sent, turned, Instant::now());
        }
        changed
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
