//! Prometheus metrics. Labels are bounded: model ids and deployment names come from the
//! configuration, never from a client.
//!
//! Counters of the whole process are here. Counters of models, deployments and strategies belong to
//! the fleet, and are read when somebody scrapes: [`families`].

mod budgets;
mod costs;
#[cfg(test)]
mod documented;
mod families;
mod process;
mod quotas;
mod samples;
mod trials;

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Encoder, IntCounter, Registry, TextEncoder};

use fleet::admission::Admission;
use fleet::{ModelMeters, Snapshot};
use ledger::History;

use process::{Families, Process};

/// The gateway's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    process: Process,
    /// Meters of requests that name no known model.
    unrouted: ModelMeters,
    /// Lines of the access log that were lost: the buffer was full, or the file could not take
    /// them.
    pub access_log_dropped: IntCounter,
}

impl Metrics {
    /// Registers every metric of the process, at 0.
    ///
    /// # Errors
    /// If two metrics have the same name, which is a bug of this module.
    pub fn new() -> prometheus::Result<Self> {
        Ok(Self::registered()?.0)
    }

    /// Like [`new`](Self::new). Also returns every family of the process.
    fn registered() -> prometheus::Result<(Self, Vec<Box<dyn Collector>>)> {
        let registry = Registry::new();
        let families = Families::new(&registry);
        let process = Process::register(&families)?;
        let registered = families.into_registered();
        let access_log_dropped = process.access_log_dropped.clone();
        let unrouted = ModelMeters::default();
        Ok((Self { registry, process, unrouted, access_log_dropped }, registered))
    }

    /// Counts a request in; [`request_ended`](Self::request_ended) counts it out.
    pub fn request_started(&self) {
        self.process.in_flight.inc();
    }

    /// Counts an answered request out. `meters`: those of its model, if it is known.
    pub fn request_ended(&self, meters: Option<&ModelMeters>, status: u16, time: Duration) {
        self.process.in_flight.dec();
        meters.unwrap_or(&self.unrouted).ended(status, time);
    }

    /// The number of requests being answered.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.process.in_flight.get()
    }

    /// Counts input that is no valid request. `code` comes from the gateway, so it is bounded.
    pub fn refused(&self, code: &'static str) {
        self.process.refused.with_label_values(&[code]).inc();
    }

    /// Counts a request or connection that was refused because a limit is reached. `reason` comes
    /// from the gateway, so it is bounded.
    pub fn shed(&self, reason: &'static str) {
        self.process.shed.with_label_values(&[reason]).inc();
    }

    /// Counts a reload: `loaded` or `refused`.
    pub fn reload(&self, result: &str) {
        self.process.reloads.with_label_values(&[result]).inc();
    }

    /// Appends the next part of all metrics to `text`, in Prometheus' text format: first those of
    /// the process, then each family model by model. False: there was none left.
    pub(crate) fn write(
        &self,
        snapshot: &Snapshot,
        admission: &Admission,
        costs: &History,
        position: &mut Position,
        text: &mut Vec<u8>,
    ) -> bool {
        let Some(at) = &mut position.0 else {
            self.process.refresh(admission);
            // Cannot fail: every metric has a name, and a `Vec` takes everything.
            let _ = TextEncoder::new().encode(&self.registry.gather(), text);
            position.0 = Some(families::Cursor::default());
            return true;
        };
        let scrape = families::Scrape { snapshot, unrouted: &self.unrouted, costs };
        at.write_next(&scrape, text)
    }
}

/// How far the metrics of one scrape are written.
#[derive(Debug, Default)]
pub(crate) struct Position(Option<families::Cursor>);
