//! A request that has found its model, and the journal that is kept of it.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::admission::Hold;
use crate::config::Ambiguous;
use crate::fleet::{Busy, Deployment, Snapshot};
use crate::stop::{Stage, Stop};
use crate::telemetry::{AccessLog, Attempt, Metrics, Place, Record, Usage, Waste};

use super::Scan;
use super::failure::Cause;

/// Of a request whose client went away.
const UNTOLD: &str = "cancelled";
/// The status of one whose client did so before the answer.
const UNANSWERED: u16 = 499;

/// A request ready to be attempted.
#[derive(Debug)]
pub struct Request {
    /// The endpoint.
    pub path: &'static str,
    /// Path and query as the client sent them, `/v1/...`.
    pub path_and_query: String,
    /// Where it comes from.
    pub client: IpAddr,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The body, read once.
    pub body: Bytes,
    /// What the body takes of all that may be held.
    pub(crate) _held: Hold,
    /// What routing needs of it.
    pub scan: Scan,
    /// The weights it is routed by, from start to end.
    pub snapshot: Arc<Snapshot>,
    /// Index of its model.
    pub model: usize,
}

impl Request {
    /// Whether it may be sent again where it is not known if it was answered: all endpoints only
    /// compute, but for Responses, which can store what they answer and call tools.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        let fallback = &self.snapshot.generation.config.fallback;
        self.path != "/v1/responses" && fallback.ambiguous == Ambiguous::Once
    }
}

/// What is known of one request so far. Dropping it writes the access log's line and counts the
/// request: that happens exactly once, however the request ends.
#[derive(Debug)]
pub struct Journal {
    metrics: Arc<Metrics>,
    log: Option<AccessLog>,
    stop: Arc<Stop>,
    /// When the request arrived.
    pub started: Instant,
    arrived: SystemTime,
    record: Record,
    trying: Option<Trying>,
    /// What the request takes of all that may be under way; None: nothing, or nothing yet.
    pub(crate) admitted: Option<Hold>,
}

/// The attempt under way.
#[derive(Debug)]
struct Trying {
    deployment: Arc<Deployment>,
    since: Instant,
    /// Since when the engine may be at work on it.
    sent: Cell<Option<Instant>>,
    /// How long it took until its answer went to the client.
    answered: Option<Duration>,
}

impl Journal {
    /// Opens the journal of a request that arrives now.
    #[must_use]
    pub fn open(
        id: String,
        path: &'static str,
        metrics: Arc<Metrics>,
        log: Option<AccessLog>,
        stop: Arc<Stop>,
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
            // What stands if the request is dropped before an answer, see `dropped`.
            status: UNANSWERED,
            outcome: UNTOLD,
            error: None,
            stream: false,
            queued_ms: 0.0,
            first_byte_ms: None,
            total_ms: 0.0,
            wasted_ms: 0.0,
            request_bytes: 0,
            response_bytes: 0,
            usage: None,
        };
        let (started, arrived) = (Instant::now(), SystemTime::now());
        Self { metrics, log, stop, started, arrived, record, trying: None, admitted: None }
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.record.request_id
    }

    /// Whether what is left of the request is to be cut: its process stops.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stop.stage() == Stage::Over
    }

    /// Notes what was asked for. `model` is the canonical id.
    pub fn asked(&mut self, model: &str, stream: bool, bytes: usize) {
        self.record.model = model.to_owned();
        self.record.stream = stream;
        self.record.request_bytes = bytes as u64;
    }

    /// Notes time spent in line for a place at a deployment.
    pub fn queued(&mut self, time: Duration) {
        self.record.queued_ms += millis(time);
    }

    /// Notes that a deployment had no place for the request, after so long.
    pub fn passed_over(&mut self, deployment: &Deployment, busy: Busy, after: Duration) {
        let config = &deployment.config;
        let (model, side) = (&*deployment.model, config.side.as_str());
        let place = Place { model, deployment: &config.name, side };
        self.metrics.shedding.overflow(place, busy);
        self.record.attempts.push(Attempt {
            deployment: config.name.clone(),
            outcome: busy.as_str().to_owned(),
            ms: millis(after),
        });
    }

    /// Notes an attempt that begins. One that is dropped before it ended was cancelled.
    pub fn trying(&mut self, deployment: &Arc<Deployment>) {
        let (deployment, since) = (Arc::clone(deployment), Instant::now());
        self.trying = Some(Trying { deployment, since, sent: Cell::default(), answered: None });
    }

    /// Notes that the attempt's request is written from now on.
    pub(super) fn sending(&self) {
        if let Some(trying) = &self.trying {
            trying.sent.set(Some(Instant::now()));
        }
    }

    /// Notes that the attempt under way failed, unseen by the client.
    pub fn failed(&mut self, cause: &Cause) {
        self.end_attempt(&cause.label(), cause.waste());
    }

    /// Notes that the answer of the attempt under way goes to the client from now on.
    pub fn answering(&mut self, status: StatusCode) {
        let Some(trying) = &mut self.trying else { return };
        let (took, config) = (trying.since.elapsed(), &trying.deployment.config);
        trying.answered = Some(took);
        self.metrics.first_byte(&self.record.model, &config.name, took);
        self.record.deployment = Some(config.name.clone());
        self.record.side = Some(config.side.as_str());
        self.record.status = status.as_u16();
        self.record.first_byte_ms = Some(millis(self.started.elapsed()));
    }

    /// `waste`: what became of the engine's work, where it was at work and nobody got the answer.
    fn end_attempt(&mut self, outcome: &str, waste: Option<Waste>) {
        let Some(Trying { deployment, since, sent, answered }) = self.trying.take() else { return };
        let config = &deployment.config;
        let (model, side) = (&*self.record.model, config.side.as_str());
        let place = Place { model, deployment: &config.name, side };
        self.metrics.attempt(place, outcome);
        if let Some((waste, sent)) = waste.zip(sent.get()) {
            self.metrics.wasted(place, waste, sent.elapsed());
            self.record.wasted_ms += millis(sent.elapsed());
        }
        self.record.attempts.push(Attempt {
            deployment: config.name.clone(),
            outcome: outcome.to_owned(),
            ms: millis(answered.unwrap_or_else(|| since.elapsed())),
        });
    }

    /// Notes an answer that is the gateway's own: an error with this code.
    pub fn finished(&mut self, status: u16, outcome: &'static str, code: &str) {
        self.record.status = status;
        self.record.outcome = outcome;
        self.record.error = Some(code.to_owned());
    }

    /// Notes that the answer under way is whole.
    pub fn completed(&mut self) {
        self.record.outcome = "ok";
        self.end_attempt("ok", None);
    }

    /// Notes that the answer under way failed after the client had some of it.
    pub fn broken(&mut self, cause: &Cause) {
        self.record.outcome = "broken";
        self.record.error = Some(cause.label());
        self.end_attempt(&cause.label(), cause.waste());
    }

    /// Counts bytes of the answer.
    pub fn sent(&mut self, bytes: usize) {
        self.record.response_bytes += bytes as u64;
    }

    /// Notes the tokens the upstream has reported so far.
    pub fn used(&mut self, usage: Option<Usage>) {
        self.record.usage = usage;
    }
}

impl Journal {
    /// Notes why a request was dropped of which nobody said how it ended: by a panic, by the end of
    /// the process, or, else, because the client went away.
    fn dropped(&mut self) {
        let (status, cause) = if std::thread::panicking() {
            (500, Cause::Internal)
        } else if self.is_over() {
            (503, Cause::Stopping)
        } else {
            return self.end_attempt(UNTOLD, Some(Waste::ClientGone));
        };
        if self.record.status == UNANSWERED {
            self.finished(status, "error", &cause.label());
            self.failed(&cause);
        } else {
            self.broken(&cause);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.record.outcome == UNTOLD {
            self.dropped();
        }
        self.end_attempt(UNTOLD, Some(Waste::ClientGone));
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
