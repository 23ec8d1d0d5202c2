//! Metrics of the whole process.

use std::cell::RefCell;

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, Result};

use fleet::admission::Admission;

use crate::telemetry::log;

/// All reasons of [`Process::shed`].
const SHED: [&str; 5] = ["connections", "requests", "bodies", "concurrency", "descriptors"];

/// The metrics of the process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) in_flight: IntGauge,
    pub(super) refused: IntCounterVec,
    pub(super) shed: IntCounterVec,
    pub(super) reloads: IntCounterVec,
    pub(super) access_log_dropped: IntCounter,
    connections: IntGauge,
    bodies: IntGauge,
}

impl Process {
    /// Registers every metric, at 0.
    pub(super) fn register(families: &Families<'_>) -> Result<Self> {
        let shed = families.counters(
            "gateway_shed_total",
            "Requests and connections refused with 503, by the limit that was reached.",
            "reason",
        )?;
        let reloads = families.counters(
            "gateway_reloads_total",
            "Reloads of the configuration: loaded or refused.",
            "result",
        )?;
        // There from the start: an alert on a counter misses its first step from nothing to 1.
        SHED.iter().for_each(|reason| drop(shed.with_label_values(&[*reason])));
        ["loaded", "refused"].iter().for_each(|result| drop(reloads.with_label_values(&[*result])));
        families.of(log::dropped())?;
        Ok(Self {
            in_flight: families.gauge("gateway_requests_in_flight", "Requests being answered.")?,
            refused: families.counters(
                "gateway_refused_total",
                "Requests refused as invalid, by the code of the error.",
                "code",
            )?,
            shed,
            reloads,
            access_log_dropped: families.of(IntCounter::new(
                "gateway_access_log_dropped_total",
                "Lines of the access log that were lost.",
            )?)?,
            connections: families.gauge("gateway_connections", "Open connections of clients.")?,
            bodies: families
                .gauge("gateway_bodies_bytes", "Bytes of request bodies that are held.")?,
        })
    }

    /// Sets the gauges to their current values.
    pub(super) fn refresh(&self, admission: &Admission) {
        let count = |used: usize| i64::try_from(used).unwrap_or(i64::MAX);
        self.connections.set(count(admission.connections.in_use()));
        self.bodies.set(count(admission.bodies.in_use()));
    }
}

/// Makes metrics, registers them, and remembers them for the documentation.
pub(super) struct Families<'a> {
    registry: &'a Registry,
    registered: RefCell<Vec<Box<dyn Collector>>>,
}

impl<'a> Families<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self { registry, registered: RefCell::default() }
    }

    /// Every registered family, with or without a series.
    pub(super) fn into_registered(self) -> Vec<Box<dyn Collector>> {
        self.registered.into_inner()
    }

    fn of<T: Collector + Clone + 'static>(&self, metric: T) -> Result<T> {
        self.registry.register(Box::new(metric.clone()))?;
        self.registered.borrow_mut().push(Box::new(metric.clone()));
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.of(IntGauge::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> Result<IntCounterVec> {
        self.of(IntCounterVec::new(Opts::new(name, help), &[label])?)
    }
}
