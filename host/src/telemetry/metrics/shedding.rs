//! What was not let in, and what waits.

use prometheus::{GaugeVec, IntCounterVec, IntGauge, Result};

use crate::admission::Admission;
use crate::fleet::{Busy, Snapshot};

use super::Place;
use super::families::{Families, PLACE};

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
    pub(super) fn register(families: &Families<'_>) -> Result<Self> {
        Ok(Self {
            shed: families.counter(
                "gateway_shed_total",
                "Requests and connections refused with 503, by what is full.",
                &["reason"],
            )?,
            overflow: families.counter(
                "gateway_deployment_overflow_total",
                "Requests that found no place at a deployment and went on to the next.",
                &[PLACE[0], PLACE[1], PLACE[2], "reason"],
            )?,
            queued: families.gauge(
                "gateway_deployment_queued",
                "Requests that wait for a place at the deployment.",
                &PLACE,
            )?,
            connections: families
                .of(IntGauge::new("gateway_connections", "Open connections of clients.")?)?,
            bodies: families.of(IntGauge::new(
                "gateway_bodies_bytes",
                "Bytes of request bodies that are held.",
            )?)?,
        })
    }

    /// Counts a request, or a connection, that was refused for want of room. `reason` is one of the
    /// gateway's own.
    pub fn shed(&self, reason: &'static str) {
        self.shed.with_label_values(&[reason]).inc();
    }

    /// Counts a request that found no place at a deployment.
    pub fn overflow(&self, place: Place<'_>, busy: Busy) {
        let Place { model, deployment, side } = place;
        self.overflow.with_label_values(&[model, deployment, side, busy.as_str()]).inc();
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
