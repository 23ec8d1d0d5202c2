//! The journal of a request collects the data for its access-log line, for metrics, and for
//! strategies that learn.

mod close;
mod end;
mod note;
mod outcome;
mod quota;
mod spent;
mod told;

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hyper::StatusCode;

use answers::Usage;
use contract::{Ending, Picodollars};
use fleet::admission::CoreHold;
use fleet::{AttemptQueue, Busy, Deployment, FleetModel, ModelMeters, Permit, QuotaHold};
use ledger::Reservation;
use routing::{AskedAnswers, Cause, TrialPart, WaitLog};

use crate::stop::{Stage, Stop};
use crate::telemetry::{Logging, Metrics};

use end::End;
use note::Sent;

pub(super) use note::{AttemptNote, SharedSent};
pub(crate) use outcome::RequestOutcome;

/// Status in the log of a request whose client left before the answer.
const UNANSWERED: u16 = 499;
/// The numbers of requests that strategies learn of.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Where the journals of one core report to.
#[derive(Debug)]
pub(crate) struct Desk {
    pub metrics: Arc<Metrics>,
    pub logging: Arc<Logging>,
    /// Tells a request that the shutdown cut off from one whose client left.
    pub stop: Arc<Stop>,
}

/// The data of one request so far. Dropping it writes the access log's line and counts the request:
/// exactly once, however the request ends.
///
/// It holds few `Arc`s, because cores contend for the reference counts of shared objects. It holds
/// no snapshot, which a long stream would keep in memory.
#[derive(Debug)]
pub(crate) struct Journal {
    desk: Rc<Desk>,
    pub(super) id: Rc<str>,
    path: &'static str,
    /// When the request arrived.
    pub started: Instant,
    /// The arrival as wall-clock time, for the log.
    time: SystemTime,
    /// None until the model is known, and for requests that name no known model.
    meters: Option<Arc<ModelMeters>>,
    stream: bool,
    trying: Option<Trying>,
    /// The attempt under way beside it. Boxed: few requests have two at a time.
    beside: Option<Box<Trying>>,
    /// Attempts that have ended, and deployments that had no place, in order.
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
    /// As the upstream has reported it so far.
    usage: Option<Usage>,
    /// Estimated tokens of the answer so far, for an upstream that reports none.
    produced: u64,
    /// Estimated tokens of the prompt.
    prompt_tokens: u64,
    /// Images in the prompt.
    images: u64,
    /// The answers that it asks for. None: no provider of the model bills cancelled ones.
    answers: Option<AskedAnswers>,
    /// What the attempt took whose answer the client got.
    consumed: Option<Usage>,
    /// The cost of all attempts so far.
    cost: Picodollars,
    /// Receives each ended attempt. None: no strategy learns from this request.
    pub(super) attempt_queue: Option<Arc<AttemptQueue>>,
    /// The trial that the request belongs to, and who decided in it. None: no trial.
    pub(super) trial: Option<TrialPart>,
    /// Why a strategy routed or refused the request, in its words.
    pub(super) reason: Option<Box<str>>,
    /// The session and the tenant of the request, as strategies are told them.
    pub(super) session: Option<u64>,
    pub(super) tenant: Option<u64>,
    /// The tenant that its costs are counted for. None: nobody who is trusted names one.
    billed: Option<Arc<str>>,
    /// Tells the attempts of this request from others. 0: none has ended that a strategy learns of.
    number: u64,
    /// Its place under `limits.requests`. None until the body has arrived, and for refused
    /// requests.
    pub(crate) admitted: Option<CoreHold>,
}

/// The attempt under way.
#[derive(Debug)]
struct Trying {
    deployment: Arc<Deployment>,
    since: Instant,
    /// When the request was last written. The engine may work on it since then.
    sent: Sent,
    /// True for a second attempt beside a first.
    is_hedge: bool,
    /// Time from `since` to the commit point. None before it.
    answered: Option<Duration>,
    /// How long the request had waited for places.
    queued: Duration,
    /// The probability with which the deployment was drawn.
    probability: f64,
    /// The money that is reserved for it.
    money: Option<Reservation>,
    /// What it takes from quotas.
    quota: Option<Arc<QuotaHold>>,
}

/// An attempt that has ended, or a deployment that had no place.
#[derive(Debug)]
struct Tried {
    deployment: Arc<Deployment>,
    outcome: Cow<'static, str>,
    took: Duration,
    /// False if there was no attempt, because the deployment had no place.
    attempted: bool,
    /// Another attempt of the request began its answer first.
    beaten: bool,
    /// The client got the answer of this attempt, whole or in part.
    answered: bool,
    cost: Picodollars,
}

impl Journal {
    /// Opens the journal of a request that arrives now. Boxed, because it is moved often.
    #[must_use]
    pub(crate) fn open(id: Rc<str>, path: &'static str, desk: Rc<Desk>) -> Box<Self> {
        desk.metrics.request_started();
        let (meters, stream, trying, beside, tried, first_byte, usage) = Default::default();
        let (error, attempt_queue, trial, admitted) = Default::default();
        let (reason, session, tenant, billed, number) = Default::default();
        let (produced, prompt_tokens, images, answers, consumed, cost) = Default::default();
        Box::new(Self {
            desk,
            id,
            path,
            started: Instant::now(),
            time: SystemTime::now(),
            meters,
            stream,
            trying,
            beside,
            tried,
            // Holds if the request is dropped before an answer: see `dropped`.
            status: UNANSWERED,
            outcome: RequestOutcome::Cancelled,
            error,
            queued: Duration::ZERO,
            first_byte,
            wasted: Duration::ZERO,
            request_bytes: 0,
            response_bytes: 0,
            usage,
            produced,
            prompt_tokens,
            images,
            answers,
            consumed,
            cost,
            attempt_queue,
            trial,
            reason,
            session,
            tenant,
            billed,
            number,
            admitted,
        })
    }

    /// The `x-request-id` of the answer.
    #[must_use]
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether the request must be cut off, because the grace period of the shutdown is over.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        self.desk.stop.stage() == Stage::Over
    }

    /// Records the model, whether a stream was asked for, and the size of the body in bytes.
    pub(crate) fn asked(&mut self, model: &FleetModel, stream: bool, bytes: usize) {
        self.meters = Some(Arc::clone(&model.meters));
        self.stream = stream;
        self.request_bytes = bytes as u64;
    }

    /// Records the tenant that its costs are counted for.
    pub(crate) fn bill(&mut self, tenant: Arc<str>) {
        self.billed = Some(tenant);
    }

    /// Records an attempt whose deployment was drawn with this probability. If it is dropped before its
    /// end, it counts as cancelled.
    pub(super) fn trying(
        &mut self,
        permit: &Permit,
        probability: f64,
        money: Option<Reservation>,
    ) -> AttemptNote<'_> {
        let trying = self.begun(permit, probability, Sent::Own(Cell::default()), money);
        let trying = self.trying.insert(trying);
        AttemptNote { id: &self.id, started: self.started, sent: trying.sent.cell() }
    }

    /// Like [`trying`](Self::trying), for an attempt that may get a second one beside it, or for that
    /// second one.
    pub(super) fn racing(
        &mut self,
        permit: &Permit,
        probability: f64,
        sent: &SharedSent,
        money: Option<Reservation>,
    ) {
        let trying = self.begun(permit, probability, Sent::Shared(Rc::clone(sent)), money);
        if self.trying.is_none() {
            self.trying = Some(trying);
        } else {
            self.beside = Some(Box::new(Trying { is_hedge: true, ..trying }));
        }
    }

    fn begun(
        &self,
        permit: &Permit,
        probability: f64,
        sent: Sent,
        money: Option<Reservation>,
    ) -> Trying {
        let (deployment, since) = (Arc::clone(permit.deployment()), permit.issued());
        let (is_hedge, answered, queued) = (false, None, self.queued);
        let quota = permit.quota().cloned();
        Trying { deployment, since, sent, is_hedge, answered, queued, probability, money, quota }
    }

    /// Swaps the two attempts under way: later records are about the other one.
    pub(super) fn swap(&mut self) {
        if let Some((trying, beside)) = self.trying.as_mut().zip(self.beside.as_deref_mut()) {
            std::mem::swap(trying, beside);
        }
    }

    /// Records that the attempt under way has won, and that the one beside it is cancelled.
    pub(super) fn beaten(&mut self) {
        self.swap();
        self.end_attempt(End::beaten());
    }

    /// Records that the attempt under way failed before the client saw any of its answer. An
    /// attempt beside it takes its place.
    pub(crate) fn failed(&mut self, cause: Cause, ending: Ending) {
        self.end_attempt(End::of(cause, ending));
    }

    /// Records that the answer of the attempt under way goes to the client from `now` on.
    pub(crate) fn answering(&mut self, status: StatusCode, now: Instant) {
        let Some(trying) = &mut self.trying else { return };
        let took = now.saturating_duration_since(trying.since);
        trying.answered = Some(took);
        let deployment = &trying.deployment;
        deployment.meters.first_bytes.observe(took);
        self.status = status.as_u16();
        self.first_byte = Some(now.saturating_duration_since(self.started));
    }

    /// Records that the deployment rejected the request as wrong, and that the client gets this
    /// answer now. The time is no sample of the deployment's latency.
    pub(super) fn rejected(&mut self, status: StatusCode, now: Instant) {
        let Some(trying) = &mut self.trying else { return };
        trying.answered = Some(now.saturating_duration_since(trying.since));
        self.status = status.as_u16();
        self.first_byte = Some(now.saturating_duration_since(self.started));
        self.outcome = RequestOutcome::Rejected;
        let cause = Cause::Rejected(status);
        self.end_attempt(End::of(cause, cause.facts().ending));
    }

    fn end_attempt(&mut self, end: End) {
        let Some(trying) = self.trying.take() else { return };
        self.trying = self.beside.take().map(|beside| *beside);
        let Trying {
            deployment,
            since,
            sent,
            is_hedge,
            answered,
            queued,
            probability,
            money,
            quota,
        } = trying;
        if let Some(meters) = self.meters.as_ref().filter(|_| is_hedge) {
            let result = match (answered, end.ending) {
                (Some(_), _) => &meters.hedges_won,
                (None, Ending::Cancelled) => &meters.hedges_cancelled,
                (None, _) => &meters.hedges_lost,
            };
            result.inc();
        }
        deployment.meters.ended(end.outcome.clone());
        if let Some((waste, sent)) = end.waste.zip(sent.cell().get()) {
            deployment.meters.waste(waste, sent.elapsed());
            self.wasted += sent.elapsed();
        }
        let was_sent = sent.cell().get().is_some();
        if let Some(quota) = quota {
            self.settle_quota(&deployment, &quota, &end, answered.is_some(), was_sent);
        }
        let cost = self.charge(&deployment, &end, answered.is_some(), was_sent, money);
        self.cost = self.cost.saturating_add(cost);
        if let Some(attempt_queue) = &self.attempt_queue {
            if self.number == 0 {
                self.number = NUMBERS.fetch_add(1, Ordering::Relaxed);
            }
            let sample = answered.filter(|_| end.ending != Ending::ClientError);
            let ended = self.ended_attempt(&deployment, &end, sample, since.elapsed());
            attempt_queue.add(contract::EndedAttempt { queued, probability, ..ended });
        }
        self.tried.push(Tried {
            deployment,
            outcome: end.outcome,
            took: answered.unwrap_or_else(|| since.elapsed()),
            attempted: true,
            beaten: end.ending == Ending::Hedged,
            answered: answered.is_some(),
            cost,
        });
    }

    /// Records an error of the gateway itself as the answer; `code` is the `code` of the error
    /// object.
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

    /// Records that the answer under way is whole.
    pub(crate) fn completed(&mut self) {
        self.outcome = RequestOutcome::Ok;
        let outcome = self.outcome.as_str().into();
        self.end_attempt(End {
            outcome,
            ending: Ending::Ok,
            status: None,
            waste: None,
            is_cut: false,
        });
    }

    /// Records that the answer under way failed after its commit point.
    pub(crate) fn broken(&mut self, cause: Cause) {
        self.outcome = RequestOutcome::Broken;
        self.error = Some(cause.label());
        self.end_attempt(End::of(cause, Ending::Broken));
    }

    /// Adds bytes of the answer.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    /// The usage that the upstream has reported so far.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }
}

impl WaitLog for Journal {
    fn queued(&mut self, time: Duration) {
        self.queued += time;
    }

    fn passed_over(&mut self, deployment: &Arc<Deployment>, busy: Busy, after: Duration) {
        deployment.meters.overflow(busy);
        self.tried.push(Tried {
            deployment: Arc::clone(deployment),
            outcome: busy.as_str().into(),
            took: after,
            attempted: false,
            beaten: false,
            answered: false,
            cost: Picodollars::ZERO,
        });
    }
}
