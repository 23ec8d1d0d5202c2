//! Prometheus metrics. Labels are bounded: model ids and deployment names come from the
//! configuration, never from a client.

#[cfg(test)]
mod documented;
mod families;
mod meters;
mod shedding;
mod trials;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Encoder, IntCounter, Registry, TextEncoder};

use crate::admission::Admission;
use crate::fleet::{Condition, Snapshot};

use families::{Attempts, Control, Deployments, Families, Requests};
use meters::OK;
pub use meters::{DeploymentMeters, ModelMeters, StrategyMeters};
pub use shedding::Shedding;
use trials::Trials;

/// The gateway's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Requests,
    attempts: Attempts,
    deployments: Deployments,
    control: Control,
    trials: Trials,
    /// What was not let in.
    pub shedding: Shedding,
    /// Lines of the access log that were lost because its file could not take them.
    pub access_log_dropped: IntCounter,
    /// One answer at a time: what the fleet counts itself is set anew for each.
    scrape: Mutex<()>,
}

/// A deployment, as labels name it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Id of its model.
    pub model: &'a str,
    /// Its name.
    pub deployment: &'a str,
    /// `local` or `remote`.
    pub side: &'static str,
}

/// Why nobody got the answer that an engine was at work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waste {
    /// The client went away.
    ClientGone,
    /// A time limit passed.
    Timeout,
    /// The engine broke off or failed, or the gateway did.
    Broken,
    /// The gateway stopped.
    Stopping,
}

impl Waste {
    fn as_str(self) -> &'static str {
        match self {
            Waste::ClientGone => "client_gone",
            Waste::Timeout => "timeout",
            Waste::Broken => "broken",
            Waste::Stopping => "stopping",
        }
    }
}

impl Metrics {
    /// Registers everything, at 0.
    ///
    /// # Errors
    /// If two metrics have one name: a fault of this file.
    pub fn new() -> prometheus::Result<Self> {
        Ok(Self::registered()?.0)
    }

    /// The same, and every family, with a series or without.
    fn registered() -> prometheus::Result<(Self, Vec<Box<dyn Collector>>)> {
        let registry = Registry::new();
        let families = Families::new(&registry);
        let requests = Requests::register(&families)?;
        let attempts = Attempts::register(&families)?;
        let deployments = Deployments::register(&families)?;
        let control = Control::register(&families)?;
        let trials = Trials::register(&families)?;
        let shedding = Shedding::register(&families)?;
        let access_log_dropped = families
            .count("gateway_access_log_dropped_total", "Lines of the access log that were lost.")?;
        let (scrape, registered) = (Mutex::new(()), families.into_registered());
        let metrics = Self {
            registry,
            requests,
            attempts,
            deployments,
            control,
            trials,
            shedding,
            access_log_dropped,
            scrape,
        };
        Ok((metrics, registered))
    }

    /// Counts a request in; [`request_ended`](Self::request_ended) counts it out.
    pub fn request_started(&self) {
        self.requests.in_flight.inc();
    }

    /// Counts an answered request; `meters` are those of its model, if it has found one.
    pub fn request_ended(&self, meters: Option<&ModelMeters>, status: u16, time: Duration) {
        let Requests { ended, duration, in_flight, .. } = &self.requests;
        in_flight.dec();
        match meters.map(|meters| meters.of(&self.requests)) {
            Some(meters) if status == 200 => {
                meters.ok.inc();
                meters.duration.observe(time.as_secs_f64());
            }
            _ => {
                let model = meters.map_or("", ModelMeters::model);
                ended.with_label_values(&[model, &status.to_string()]).inc();
                duration.with_label_values(&[model]).observe(time.as_secs_f64());
            }
        }
    }

    /// Requests being answered.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.requests.in_flight.get()
    }

    /// Counts bytes that are no good request. `code` is one of the gateway's own.
    pub fn refused(&self, code: &'static str) {
        self.requests.refused.with_label_values(&[code]).inc();
    }

    /// Counts an attempt that ended.
    pub fn attempt(&self, place: Place<'_>, meters: &DeploymentMeters, outcome: &str) {
        if outcome == OK {
            return meters.of(&self.attempts, place).ok.inc();
        }
        let Place { model, deployment, side } = place;
        self.attempts.ended.with_label_values(&[model, deployment, side, outcome]).inc();
    }

    /// Counts an attempt that an engine was at work on for so long, and whose answer nobody got.
    pub fn wasted(&self, place: Place<'_>, waste: Waste, time: Duration) {
        let Place { model, deployment, side } = place;
        let labels = [model, deployment, side, waste.as_str()];
        self.attempts.wasted.with_label_values(&labels).inc();
        self.attempts.wasted_seconds.with_label_values(&labels).inc_by(time.as_secs_f64());
    }

    /// Takes an attempt's time to first byte.
    pub fn first_byte(&self, place: Place<'_>, meters: &DeploymentMeters, time: Duration) {
        meters.of(&self.attempts, place).first_byte.observe(time.as_secs_f64());
    }

    /// Counts a call of a strategy that was answered well.
    pub fn strategy_answered(&self, strategy: &str, meters: &StrategyMeters) {
        meters.ok(&self.control, strategy).inc();
    }

    /// Counts calls of a strategy.
    pub fn strategy_calls(&self, strategy: &str, outcome: &str, calls: usize) {
        self.control.strategy_calls.with_label_values(&[strategy, outcome]).inc_by(calls as u64);
    }

    /// Counts a reload: `loaded` or `refused`.
    pub fn reload(&self, result: &str) {
        self.control.reloads.with_label_values(&[result]).inc();
    }

    /// Shows the weights and states of a snapshot, and forgets deployments that are gone.
    pub fn publish(&self, snapshot: &Snapshot) {
        let Deployments { weight, healthy, state, .. } = &self.deployments;
        weight.reset();
        healthy.reset();
        state.reset();
        for (model, route) in snapshot.generation.fleet.models.iter().zip(&snapshot.routes) {
            for (i, deployment) in model.deployments.iter().enumerate() {
                let config = &deployment.config;
                let labels = [&*model.config.id, &config.name, config.side.as_str()];
                weight.with_label_values(&labels).set(route.weights[i]);
                let own = &route.states[i];
                let is = |yes: bool| f64::from(u8::from(yes));
                healthy.with_label_values(&labels).set(is(own.is_eligible()));
                for condition in Condition::ALL {
                    let labels = [labels[0], labels[1], labels[2], condition.as_str()];
                    state.with_label_values(&labels).set(is(condition == own.condition));
                }
            }
        }
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn render(
        &self,
        snapshot: &Snapshot,
        admission: &Admission,
    ) -> prometheus::Result<Vec<u8>> {
        let _scrape = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        let Deployments { in_flight, error_rate, ejections, .. } = &self.deployments;
        in_flight.reset();
        error_rate.reset();
        ejections.reset();
        let fleet = &snapshot.generation.fleet;
        for deployment in fleet.deployments() {
            let config = &deployment.config;
            let labels = [&*deployment.model, &config.name, config.side.as_str()];
            in_flight.with_label_values(&labels).set(f64::from(deployment.load.in_flight()));
            error_rate.with_label_values(&labels).set(deployment.load.error_rate());
            ejections.with_label_values(&labels).inc_by(deployment.load.ejections());
        }
        self.attempts.retries_denied.reset();
        self.attempts.retries_denied.inc_by(fleet.budget.denied());
        self.shedding.refresh(snapshot, admission);
        self.trials.refresh(snapshot);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
