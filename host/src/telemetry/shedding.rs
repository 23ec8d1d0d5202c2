//! Metrics of what was not let in, and of what waits.

use prometheus::{GaugeVec, IntCounterVec, IntGauge, Opts, Registry};

use crate::admission::Admission;
use crate::fleet::{Busy, Deployment, Snapshot};

/// See the module.
#[derive(Debug)]
pub struct Shedding {
    shed: IntCounterVec,
    overflow: IntCounterVec,
    queued: GaugeVec,
    connections: IntGauge,
    bodies: IntGauge,
}

impl Shedding {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let place = ["model", "deployment", "side"];
        let [model, deployment, side] = place;
        let shed = Opts::new("gateway_shed_total", "Requests answered with 503 for want of room.");
        let overflow = Opts::new(
            "gateway_deployment_overflow_total",
            "Requests that found no place at a deployment and went on to the next.",
        );
        let queued =
            Opts::new("gateway_deployment_queued", "Requests that wait for a place at it.");
        let shedding = Self {
            shed: IntCounterVec::new(shed, &["reason"])?,
            overflow: IntCounterVec::new(overflow, &[model, deployment, side, "reason"])?,
            queued: GaugeVec::new(queued, &place)?,
            connections: IntGauge::new("gateway_connections", "Connections of clients.")?,
            bodies: IntGauge::new("gateway_bodies_bytes", "Bodies of requests that are held.")?,
        };
        registry.register(Box::new(shedding.shed.clone()))?;
        registry.register(Box::new(shedding.overflow.clone()))?;
        registry.register(Box::new(shedding.queued.clone()))?;
        registry.register(Box::new(shedding.connections.clone()))?;
        registry.register(Box::new(shedding.bodies.clone()))?;
        Ok(shedding)
    }

    /// Counts a request, or a connection, that was refused for want of room. `reason` is one of the
    /// gateway's own.
    pub fn shed(&self, reason: &'static str) {
        self.shed.with_label_values(&[reason]).inc();
    }

    /// Counts a request that found no place at a deployment.
    pub fn overflow(&self, deployment: &Deployment, busy: Busy) {
        let config = &deployment.config;
        let labels = [&*deployment.model, &config.name, config.side.as_str(), busy.as_str()];
        self.overflow.with_label_values(&labels).inc();
    }

    /// Takes what is in use now.
    pub(super) fn refresh(&self, snapshot: &Snapshot, admission: &Admission) {
        self.queued.reset();
        for deployment in snapshot.generation.fleet.deployments() {
            let config = &deployment.config;
            let labels = [&*deployment.model, &config.name, config.side.as_str()];
            self.queued.with_label_values(&labels).set(deployment.slots.waiting() as f64);
        }
        let count = |used: usize| i64::try_from(used).unwrap_or(i64::MAX);
        self.connections.set(count(admission.connections.in_use()));
        self.bodies.set(count(admission.bodies.in_use()));
    }
}
