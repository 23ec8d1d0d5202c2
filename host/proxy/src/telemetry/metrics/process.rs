//! Metrics of the whole process.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, Result};

use fleet::admission::Admission;

/// Reasons of [`Process::shed`].
const SHED: [&str; 5] = ["connections", "requests", "bodies", "concurrency", "descriptors"];

/// See the module.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) in_flight: IntGauge,
    pub(super) refused: IntCounterVec,
    pub(super) shed: IntCounterVec,
    pub(super) reloads: IntCounterVec,
    connections: IntGauge,
    bodies: IntGauge,
}

impl Process {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        let counters = |name, help, label| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
        };
        let shed = counters(
            "gateway_shed_total",
            "Requests and connections answered with 503 for want of room, by what there was too little of.",
            "reason",
        )?;
        let reloads =
            counters("gateway_reloads_total", "Configurations loaded or refused.", "result")?;
        // Seen from the start: an alert on a counter misses its first step from nothing to 1.
        SHED.iter().for_each(|reason| drop(shed.with_label_values(&[*reason])));
        ["loaded", "refused"].iter().for_each(|result| drop(reloads.with_label_values(&[*result])));
        Ok(Self {
            in_flight: gauge("gateway_requests_in_flight", "Requests being answered.")?,
            refused: counters(
                "gateway_refused_total",
                "Bytes of clients that are no good request, by the code of the error.",
                "code",
            )?,
            shed,
            reloads,
            connections: gauge("gateway_connections", "Connections of clients.")?,
            bodies: gauge("gateway_bodies_bytes", "Bytes of request bodies held in memory.")?,
        })
    }

    /// Takes what is in use now.
    pub(super) fn refresh(&self, admission: &Admission) {
        let count = |used: usize| i64::try_from(used).unwrap_or(i64::MAX);
        self.connections.set(count(admission.connections.in_use()));
        self.bodies.set(count(admission.bodies.in_use()));
    }
}

/// Registers a counter without labels.
pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    register(registry, IntCounter::new(name, help)?)
}

fn register<T: Collector + Clone + 'static>(registry: &Registry, metric: T) -> Result<T> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
