//! A request that has found its model, and the journal that is kept of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::DeploymentConfig;
use crate::fleet::Snapshot;
use crate::telemetry::{AccessLog, Attempt, Metrics, Record, Usage};

use super::Scan;

/// A request ready to be attempted.
#[derive(Debug)]
pub struct Request {
    /// Path and query as the client sent them, `/v1/...`.
    pub path_and_query: String,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The body, read once.
    pub body: Bytes,
    /// What routing needs of it.
    pub scan: Scan,
    /// The weights it is routed by, from start to end.
    pub snapshot: Arc<Snapshot>,
    /// Index of its model.
    pub model: usize,
}

impl Request {
    /// Whether an upstream may be asked again that may be at work on it. `responses` keeps state.
    pub(super) fn is_repeatable(&self) -> bool {
        !self.path_and_query.starts_with("/v1/responses")
    }
}

/// What is known of one request so far. Dropping it writes the access log's line and counts the
/// request: that happens exactly once, however the request ends.
#[derive(Debug)]
pub struct Journal {
    metrics: Arc<Metrics>,
    log: Option<AccessLog>,
    /// When the request arrived.
    pub started: Instant,
    arrived: SystemTime,
    record: Record,
}

impl Journal {
    /// Opens the journal of a request that arrives now.
    #[must_use]
    pub fn open(
        id: String,
        path: &'static str,
        metrics: Arc<Metrics>,
        log: Option<AccessLog>,
    ) -> Self {
        metrics.request_started();
        let record = Record {
            time: String::new(),
            request_id: id,
            path,
            model: String::new(),
            deployment: None,
            side: None,
            attempts: Vec::new(),
            // What stands if the request is dropped before an answer: the client went away.
            status: 499,
            outcome: "cancelled",
            stream: false,
            first_byte_ms: None,
            total_ms: 0.0,
            request_bytes: 0,
            response_bytes: 0,
            usage: None,
        };
        Self { metrics, log, started: Instant::now(), arrived: SystemTime::now(), record }
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.record.request_id
    }

    /// Notes what was asked for. `model` is the canonical id.
    pub fn asked(&mut self, model: &str, stream: bool, bytes: usize) {
        self.record.model = model.to_owned();
        self.record.stream = stream;
        self.record.request_bytes = bytes as u64;
    }

    /// Notes one attempt that ended, or began to answer (`ok`).
    pub fn attempted(&mut self, deployment: &DeploymentConfig, outcome: &str, took: Duration) {
        let (name, side) = (&deployment.name, deployment.side.as_str());
        self.metrics.attempt(&self.record.model, name, side, outcome);
        self.record.attempts.push(Attempt {
            deployment: name.clone(),
            outcome: outcome.to_owned(),
            ms: millis(took),
        });
    }

    /// Notes that a deployment's answer goes to the client, `took` after the attempt's start.
    pub fn answering(&mut self, deployment: &DeploymentConfig, status: StatusCode, took: Duration) {
        self.attempted(deployment, "ok", took);
        self.metrics.first_byte(&self.record.model, &deployment.name, took);
        self.record.deployment = Some(deployment.name.clone());
        self.record.side = Some(deployment.side.as_str());
        self.record.status = status.as_u16();
        self.record.first_byte_ms = Some(millis(self.started.elapsed()));
    }

    /// Notes an answer that is the gateway's own, or its end.
    pub fn finished(&mut self, status: u16, outcome: &'static str) {
        self.record.status = status;
        self.record.outcome = outcome;
    }

    /// Notes how the answer that is under way ended.
    pub fn ended(&mut self, outcome: &'static str) {
        self.record.outcome = outcome;
    }

    /// Counts bytes of the answer.
    pub fn sent(&mut self, bytes: usize) {
        self.record.response_bytes += bytes as u64;
    }

    /// Notes the tokens the upstream reported.
    pub fn used(&mut self, usage: Usage) {
        self.record.usage = Some(usage);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics.request_ended(&self.record.model, self.record.status, took);
        if let Some(log) = &self.log {
            let mut record = self.record.clone();
            record.total_ms = millis(took);
            record.time = OffsetDateTime::from(self.arrived).format(&Rfc3339).unwrap_or_default();
            log.write(record);
        }
    }
}

/// Milliseconds with microseconds behind the point.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
