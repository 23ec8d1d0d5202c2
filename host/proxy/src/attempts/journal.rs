//! The journal of a request: what the access log, the metrics and the strategies are told of it.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::StatusCode;

use answers::Usage;
use contract::Ending;
use fleet::admission::CoreHold;
use fleet::{Busy, Deployment, DeploymentMeters, FleetModel, Lessons, ModelMeters, Waste};
use routing::{Cause, TrialPart};

use crate::stop::{Stage, Stop};
use crate::telemetry::{self, Logging, Metrics};

/// The status of a request whose client went away before the answer.
const UNANSWERED: u16 = 499;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// With a whole answer.
    Ok,
    /// With an error that the gateway told.
    Error,
    /// In the middle of the answer.
    Broken,
    /// What came was no request.
    Refused,
    /// The client went away.
    Cancelled,
}

impl RequestOutcome {
    /// As the access log names it.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => DeploymentMeters::OK,
            Self::Error => "error",
            Self::Broken => "broken",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where the journals of one core are handed in.
#[derive(Debug)]
pub(crate) struct Desk {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where lines go.
    pub logging: Arc<Logging>,
    /// How far the stop of the process has come.
    pub stop: Arc<Stop>,
}

/// What is known of one request so far. Dropping it writes the access log's line and counts the
/// request: that happens exactly once, however the request ends.
///
/// It holds on to as little as it can of what all cores share: to count references to that, they wait for each other;
/// and to no snapshot, which a long stream would keep in memory.
#[derive(Debug)]
pub(crate) struct Journal {
    desk: Rc<Desk>,
    id: Rc<str>,
    path: &'static str,
    /// When the request arrived.
    pub started: Instant,
    /// The same, as people say it.
    time: SystemTime,
    /// Those of its model, once that is known.
    meters: Option<Arc<ModelMeters>>,
    stream: bool,
    trying: Option<Trying>,
    /// Attempts that have ended, and deployments that had no place.
    tried: Vec<Tried>,
    /// Status the client got.
    status: u16,
    outcome: RequestOutcome,
    error: Option<Cow<'static, str>>,
    queued: Duration,
    /// From arrival to the first byte of the answer.
    first_byte: Option<Duration>,
    wasted: Duration,
    request_bytes: u64,
    response_bytes: u64,
    usage: Option<Usage>,
    /// Where its attempts are noted for a strategy that learns.
    pub(super) lessons: Option<Arc<Lessons>>,
    /// Its part in a trial.
    pub(super) trial: Option<TrialPart>,
    /// What the request takes of all that may be under way; None: nothing, or nothing yet.
    pub(crate) admitted: Option<CoreHold>,
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

/// An attempt that has ended, or a deployment that had no place.
#[derive(Debug)]
struct Tried {
    deployment: Arc<Deployment>,
    outcome: Cow<'static, str>,
    took: Duration,
    /// The client got its answer.
    answered: bool,
}

/// How an attempt ended.
struct End {
    /// For the log and the metrics.
    outcome: Cow<'static, str>,
    /// For strategies.
    ending: Ending,
    /// Of an answer that did not go to the client.
    status: Option<u16>,
    /// What became of the engine's work, where it was at work and nobody got the answer.
    waste: Option<Waste>,
}

impl End {
    fn of(cause: Cause, ending: Ending) -> Self {
        let status = cause.answered().map(|status| status.as_u16());
        Self { outcome: cause.label(), ending, status, waste: cause.facts().waste }
    }

    fn cancelled() -> Self {
        let (ending, waste) = (Ending::Cancelled, Some(Waste::ClientGone));
        let outcome = RequestOutcome::Cancelled.as_str().into();
        Self { outcome, ending, status: None, waste }
    }
}

impl Journal {
    /// Opens the journal of a request that arrives now: in a box, for it goes from hand to hand.
    #[must_use]
    pub(crate) fn open(id: Rc<str>, path: &'static str, desk: Rc<Desk>) -> Box<Self> {
        desk.metrics.request_started();
        let (meters, stream, trying, tried, first_byte, usage) = Default::default();
        let (error, lessons, trial, admitted) = Default::default();
        Box::new(Self {
            desk,
            id,
            path,
            started: Instant::now(),
            time: SystemTime::now(),
            meters,
            stream,
            trying,
            tried,
            // What stands if the request is dropped before an answer, see `dropped`.
            status: UNANSWERED,
            outcome: RequestOutcome::Cancelled,
            error,
            queued: Duration::ZERO,
            first_byte,
            wasted: Duration::ZERO,
            request_bytes: 0,
            response_bytes: 0,
            usage,
            lessons,
            trial,
            admitted,
        })
    }

    /// The request's id.
    #[must_use]
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether what is left of the request is to be cut: its process stops.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        self.desk.stop.stage() == Stage::Over
    }

    /// Notes what was asked for.
    pub(crate) fn asked(&mut self, model: &FleetModel, stream: bool, bytes: usize) {
        self.meters = Some(Arc::clone(&model.meters));
        self.stream = stream;
        self.request_bytes = bytes as u64;
    }

    /// Notes time spent in line for a place at a deployment.
    pub(crate) fn queued(&mut self, time: Duration) {
        self.queued += time;
    }

    /// Notes that a deployment had no place for the request, after so long.
    pub(crate) fn passed_over(
        &mut self,
        deployment: &Arc<Deployment>,
        busy: Busy,
        after: Duration,
    ) {
        deployment.meters.overflow(busy);
        self.tried.push(Tried {
            deployment: Arc::clone(deployment),
            outcome: busy.as_str().into(),
            took: after,
            answered: false,
        });
    }

    /// Notes an attempt that began at `since`. One that is dropped before it ended was cancelled.
    pub(crate) fn trying(&mut self, deployment: &Arc<Deployment>, since: Instant) {
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
    pub(crate) fn failed(&mut self, cause: Cause) {
        self.end_attempt(End::of(cause, cause.facts().ending));
    }

    /// Notes that the answer of the attempt under way goes to the client from `now` on.
    pub(crate) fn answering(&mut self, status: StatusCode, now: Instant) {
        let Some(trying) = &mut self.trying else { return };
        let took = now.saturating_duration_since(trying.since);
        trying.answered = Some(took);
        let deployment = &trying.deployment;
        deployment.meters.first_bytes.observe(took);
        self.status = status.as_u16();
        self.first_byte = Some(now.saturating_duration_since(self.started));
    }

    fn end_attempt(&mut self, end: End) {
        let Some(Trying { deployment, since, sent, answered }) = self.trying.take() else { return };
        deployment.meters.ended(end.outcome.clone());
        if let Some((waste, sent)) = end.waste.zip(sent.get()) {
            deployment.meters.waste(waste, sent.elapsed());
            self.wasted += sent.elapsed();
        }
        if let Some(lessons) = &self.lessons {
            lessons.add(self.lesson(&deployment, &end, answered, since.elapsed()));
        }
        self.tried.push(Tried {
            deployment,
            outcome: end.outcome,
            took: answered.unwrap_or_else(|| since.elapsed()),
            answered: answered.is_some(),
        });
    }

    /// What a strategy learns of an attempt.
    fn lesson(
        &self,
        deployment: &Deployment,
        end: &End,
        first_byte: Option<Duration>,
        total: Duration,
    ) -> contract::Attempt {
        let usage = self.usage.filter(|_| first_byte.is_some());
        let tokens = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let cost = |(usage, price): (Usage, contract::Price)| {
            #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 tokens")]
            let [prompt, completion] = [usage.prompt_tokens as f64, usage.completion_tokens as f64];
            prompt * price.prompt + completion * price.completion
        };
        contract::Attempt {
            deployment: deployment.id,
            ending: end.ending,
            status: end.status.or_else(|| first_byte.map(|_| self.status)),
            first_byte,
            total,
            prompt_tokens: usage.map(|usage| tokens(usage.prompt_tokens)),
            completion_tokens: usage.map(|usage| tokens(usage.completion_tokens)),
            cost: usage.zip(deployment.place.price).map(cost),
        }
    }

    /// Notes an answer that is the gateway's own: an error with this code.
    pub(crate) fn finished(
        &mut self,
        status: u16,
        outcome: RequestOutcome,
        code: Cow<'static, str>,
    ) {
        self.status = status;
        self.outcome = outcome;
        self.error = Some(code);
    }

    /// Notes that the answer under way is whole.
    pub(crate) fn completed(&mut self) {
        self.outcome = RequestOutcome::Ok;
        let refused = (400..500).contains(&self.status);
        let ending = if refused { Ending::ClientError } else { Ending::Ok };
        let outcome = self.outcome.as_str().into();
        self.end_attempt(End { outcome, ending, status: None, waste: None });
    }

    /// Notes that the answer under way failed after the client had some of it.
    pub(crate) fn broken(&mut self, cause: Cause) {
        self.outcome = RequestOutcome::Broken;
        self.error = Some(cause.label());
        self.end_attempt(End::of(cause, Ending::Broken));
    }

    /// Counts bytes of the answer.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    /// Notes the tokens the upstream has reported so far.
    pub(crate) fn used(&mut self, usage: Option<Usage>) {
        self.usage = usage;
    }

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
        if self.status == UNANSWERED {
            self.finished(status, RequestOutcome::Error, cause.label());
            self.failed(cause);
        } else {
            self.broken(cause);
        }
    }

    /// Hands in what is known at the end: the line of the log.
    fn write(&self, took: Duration) {
        let answered = self.tried.iter().rfind(|tried| tried.answered);
        let config = answered.map(|tried| &tried.deployment.config);
        let record = telemetry::Record {
            time: self.time,
            request_id: &self.id,
            path: self.path,
            model: self.meters.as_ref().map_or("", |meters| meters.model()),
            deployment: config.map(|config| &*config.name),
            side: config.map(|config| config.side.as_str()),
            status: self.status,
            outcome: self.outcome.as_str(),
            error: self.error.as_deref(),
            stream: self.stream,
            queued: self.queued,
            first_byte: self.first_byte,
            total: took,
            wasted: self.wasted,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            usage: self.usage,
        };
        let attempts = self.tried.iter().map(|tried| telemetry::Attempt {
            deployment: &tried.deployment.config.name,
            outcome: &tried.outcome,
            took: tried.took,
        });
        self.desk.logging.write(&record, attempts);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.outcome == RequestOutcome::Cancelled {
            self.dropped();
        }
        self.end_attempt(End::cancelled());
        if let Some(TrialPart { trial, by_candidate }) = self.trial.take()
            && self.outcome != RequestOutcome::Cancelled
        {
            let failed = self.status >= 500 || self.outcome == RequestOutcome::Broken;
            trial.request_ended(by_candidate, failed);
        }
        let took = self.started.elapsed();
        self.desk.metrics.request_ended(self.meters.as_deref(), self.status, took);
        self.write(took);
    }
}
