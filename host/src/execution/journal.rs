//! The journal of a request: what the access log, the metrics and the strategies are told of it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::StatusCode;

use crate::admission::Hold;
use crate::fleet::{Busy, Deployment, FleetModel, Lessons, Trial};
use crate::stop::{Stage, Stop};
use crate::strategy::{self, Ending};
use crate::telemetry::{AccessLog, Attempt, Metrics, ModelMeters, Place, Record, Usage, Waste};

use super::failure::Cause;

/// Of a request whose client went away.
const UNTOLD: &str = "cancelled";
/// The status of one whose client did so before the answer.
const UNANSWERED: u16 = 499;

/// What is known of one request so far. Dropping it writes the access log's line and counts the
/// request: that happens exactly once, however the request ends.
#[derive(Debug)]
pub struct Journal {
    metrics: Arc<Metrics>,
    /// Those of its model, once that is known.
    meters: Option<Arc<ModelMeters>>,
    log: Option<AccessLog>,
    stop: Arc<Stop>,
    /// When the request arrived.
    pub started: Instant,
    record: Record,
    trying: Option<Trying>,
    /// Where its attempts are noted for a strategy that learns.
    pub(super) lessons: Option<Arc<Lessons>>,
    /// The trial that it is part of, and whether the candidate decided for it.
    pub(super) trial: Option<(Arc<Trial>, bool)>,
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

/// How an attempt ended.
struct End {
    /// For the log and the metrics.
    outcome: String,
    /// For strategies.
    ending: Ending,
    /// Of an answer that did not go to the client.
    status: Option<u16>,
    /// What became of the engine's work, where it was at work and nobody got the answer.
    waste: Option<Waste>,
}

impl End {
    fn of(cause: &Cause, ending: Ending) -> Self {
        let status = cause.answered().map(|status| status.as_u16());
        Self { outcome: cause.label(), ending, status, waste: cause.waste() }
    }

    fn cancelled() -> Self {
        let (ending, waste) = (Ending::Cancelled, Some(Waste::ClientGone));
        Self { outcome: UNTOLD.into(), ending, status: None, waste }
    }
}

impl Journal {
    /// Opens the journal of a request that arrives now: in a box, for it goes from hand to hand.
    #[must_use]
    pub fn open(
        id: String,
        path: &'static str,
        metrics: Arc<Metrics>,
        log: Option<AccessLog>,
        stop: Arc<Stop>,
    ) -> Box<Self> {
        metrics.request_started();
        let record = Record {
            time: SystemTime::now(),
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
            queued: Duration::ZERO,
            first_byte: None,
            total: Duration::ZERO,
            wasted: Duration::ZERO,
            request_bytes: 0,
            response_bytes: 0,
            usage: None,
        };
        let started = Instant::now();
        let (meters, trying, lessons, trial, admitted) = Default::default();
        Box::new(Self {
            metrics,
            meters,
            log,
            stop,
            started,
            record,
            trying,
            lessons,
            trial,
            admitted,
        })
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

    /// Notes what was asked for.
    pub fn asked(&mut self, model: &FleetModel, stream: bool, bytes: usize) {
        self.record.model.clone_from(&model.config.id);
        self.meters = Some(Arc::clone(&model.meters));
        self.record.stream = stream;
        self.record.request_bytes = bytes as u64;
    }

    /// Notes time spent in line for a place at a deployment.
    pub fn queued(&mut self, time: Duration) {
        self.record.queued += time;
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
            took: after,
        });
    }

    /// Notes an attempt that began at `since`. One that is dropped before it ended was cancelled.
    pub fn trying(&mut self, deployment: &Arc<Deployment>, since: Instant) {
        let deployment = Arc::clone(deployment);
        self.trying = Some(Trying { deployment, since, sent: Cell::default(), answered: None });
    }

    /// Notes that the attempt's request is written from `now` on.
    pub(super) fn sending(&self, now: Instant) {
        if let Some(trying) = &self.trying {
            trying.sent.set(Some(now));
        }
    }

    /// Notes that the attempt under way failed, unseen by the client.
    pub fn failed(&mut self, cause: &Cause) {
        self.end_attempt(End::of(cause, cause.ending()));
    }

    /// Notes that the answer of the attempt under way goes to the client from `now` on.
    pub fn answering(&mut self, status: StatusCode, now: Instant) {
        let Some(trying) = &mut self.trying else { return };
        let took = now.saturating_duration_since(trying.since);
        let config = &trying.deployment.config;
        trying.answered = Some(took);
        let (model, side) = (&*self.record.model, config.side.as_str());
        let place = Place { model, deployment: &config.name, side };
        self.metrics.first_byte(place, &trying.deployment.meters, took);
        self.record.deployment = Some(config.name.clone());
        self.record.side = Some(config.side.as_str());
        self.record.status = status.as_u16();
        self.record.first_byte = Some(now.saturating_duration_since(self.started));
    }

    fn end_attempt(&mut self, end: End) {
        let Some(Trying { deployment, since, sent, answered }) = self.trying.take() else { return };
        let config = &deployment.config;
        let (model, side) = (&*self.record.model, config.side.as_str());
        let place = Place { model, deployment: &config.name, side };
        self.metrics.attempt(place, &deployment.meters, &end.outcome);
        if let Some((waste, sent)) = end.waste.zip(sent.get()) {
            self.metrics.wasted(place, waste, sent.elapsed());
            self.record.wasted += sent.elapsed();
        }
        if let Some(lessons) = &self.lessons {
            lessons.add(self.lesson(&deployment, &end, answered, since.elapsed()));
        }
        self.record.attempts.push(Attempt {
            deployment: config.name.clone(),
            outcome: end.outcome,
            took: answered.unwrap_or_else(|| since.elapsed()),
        });
    }

    /// What a strategy learns of an attempt.
    fn lesson(
        &self,
        deployment: &Deployment,
        end: &End,
        first_byte: Option<Duration>,
        total: Duration,
    ) -> strategy::Attempt {
        let usage = self.record.usage.filter(|_| first_byte.is_some());
        let tokens = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let cost = |(usage, price): (Usage, strategy::Price)| {
            #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 tokens")]
            let [prompt, completion] = [usage.prompt_tokens as f64, usage.completion_tokens as f64];
            prompt * price.prompt + completion * price.completion
        };
        strategy::Attempt {
            deployment: deployment.id,
            ending: end.ending,
            status: end.status.or_else(|| first_byte.map(|_| self.record.status)),
            first_byte,
            total,
            prompt_tokens: usage.map(|usage| tokens(usage.prompt_tokens)),
            completion_tokens: usage.map(|usage| tokens(usage.completion_tokens)),
            cost: usage.zip(deployment.place.price).map(cost),
        }
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
        let refused = (400..500).contains(&self.record.status);
        let ending = if refused { Ending::ClientError } else { Ending::Ok };
        self.end_attempt(End { outcome: "ok".into(), ending, status: None, waste: None });
    }

    /// Notes that the answer under way failed after the client had some of it.
    pub fn broken(&mut self, cause: &Cause) {
        self.record.outcome = "broken";
        self.record.error = Some(cause.label());
        self.end_attempt(End::of(cause, Ending::Broken));
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
            return self.end_attempt(End::cancelled());
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
        self.end_attempt(End::cancelled());
        if let Some((trial, by_candidate)) = self.trial.take()
            && self.record.outcome != UNTOLD
        {
            let failed = self.record.status >= 500 || self.record.outcome == "broken";
            trial.request_ended(by_candidate, failed);
        }
        let took = self.started.elapsed();
        let Record { model, status, .. } = &self.record;
        self.metrics.request_ended(model, self.meters.as_deref(), *status, took);
        if let Some(log) = &self.log {
            self.record.total = took;
            log.write(&self.record);
        }
    }
}
