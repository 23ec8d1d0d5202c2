//! Serves one request as the proxy does, with engines of the scene in place of sockets.
//!
//! Every decision is that of the code that serves: [`Turns`] says where the request goes and who is
//! charged, [`Commit`] what goes to the client, [`Cause`] what a failure is. Only the way in which
//! the proxy reads an upstream is written here again: its time limits, and the loop over its
//! chunks.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use rand::SeedableRng;
use tokio::time::{Instant, timeout_at};

use answers::commit::{Commit, Defect, End, Shape, Verdict};
use answers::refusal::{Sense, Words};
use fleet::{Outcome, Permit, Scope};
use routing::{Cause, Failure, Overtime, Phase, RoutedRequest, Terms, Turns};

use crate::checks::Record;
use crate::engine::{Broke, Engine, Exchange};
use crate::luck::Luck;
use crate::request::Request;
use crate::world::World;

/// How a request ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A whole answer.
    Whole,
    /// A part of an answer, and word that it broke.
    Broken,
    /// An engine's word that the request is wrong.
    Rejected,
    /// No deployment answered.
    None,
}

enum Begun {
    Committed(Box<Committed>),
    Rejected,
}

/// An answer past its commit point.
struct Committed {
    exchange: Exchange,
    commit: Commit,
    /// Bytes for the client.
    first: Bytes,
    /// How it went on with the first bytes, if it did not simply begin.
    ended: Option<Result<(), Defect>>,
}

/// A time limit, and what it is called.
#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    phase: Phase,
}

/// The deadline for `limit` from now, or that of the request if it is earlier.
fn deadline(end: Instant, limit: Duration, phase: Phase) -> Deadline {
    let now = Instant::now();
    let phase = if end.saturating_duration_since(now) < limit { Phase::Total } else { phase };
    Deadline { at: end.min(now + limit), phase }
}

async fn within<T>(deadline: Deadline, future: impl Future<Output = T>) -> Result<T, Cause> {
    timeout_at(deadline.at, future).await.map_err(|_| Cause::TimedOut(deadline.phase))
}

/// Serves a request until its client has the whole answer, or word that there is none.
pub(crate) async fn serve(world: &Rc<World>, request: &Request, luck: &mut Luck) -> Answer {
    let snapshot = world.snapshot();
    let fleet = &snapshot.generation.fleet;
    let (model, route) = (&fleet.models[request.model], &snapshot.routes[request.model]);
    let sides = model.config.sides.and(request.sides);
    let scope =
        Scope::of(sides, fleet::Demand::default(), model.deployments.iter().map(|d| &d.config));
    let terms = Terms {
        fallback: snapshot.generation.config.fallback,
        hedging: snapshot.generation.config.hedging,
        endpoint: request.endpoint,
        panic: route.eligible.panic,
        started: fleet::now(),
        total: model.config.total.0,
    };
    let end = Instant::from_std(terms.end());
    let mut record = Record::begin(world, request, route, scope, terms);
    let (body, signals) = (&request.body, None);
    let asked = RoutedRequest { fleet, model, route, body, terms, scope, signals };
    let mut turns = Turns::begin(asked, &*route.weights, Luck::from_rng(luck), fleet::now());
    while let Some(mut permit) = turns.next(&mut record).await {
        let at = record.attempt(&permit, turns.is_panic());
        match attempt(world, &permit, request, &mut record, end, luck).await {
            Ok(Begun::Rejected) => {
                record.rejected();
                return Answer::Rejected;
            }
            Ok(Begun::Committed(committed)) => {
                turns.committed(&mut permit, fleet::now());
                drop(turns);
                record.committed();
                return relay(*committed, permit, &mut record, end).await;
            }
            Err(failure) => {
                record.failed(at, &failure);
                turns.failed(permit, failure, fleet::now());
            }
        }
    }
    let exhausted = turns.exhausted(fleet::now());
    record.exhausted(&exhausted);
    Answer::None
}

/// One attempt, up to its commit point.
async fn attempt(
    world: &Rc<World>,
    permit: &Permit,
    request: &Request,
    record: &mut Record<'_>,
    end: Instant,
    luck: &mut Luck,
) -> Result<Begun, Failure> {
    let config = &permit.deployment().config;
    let engine: &Rc<Engine> = world.engine_of(config);
    let timeouts = config.timeouts;
    let connect = deadline(end, timeouts.connect, Phase::Connect);
    within(connect, engine.connect(luck)).await?.ok_or(Cause::Connect)?;
    let first_byte = deadline(end, timeouts.first_byte, Phase::FirstByte);
    record.written();
    let mark = record.mark();
    // The request was written, and no byte came: it may have been answered.
    let ambiguous = |cause: Cause| Failure { ambiguous: true, ..cause.into() };
    let taken = within(first_byte, engine.take(request, &mark, luck)).await.map_err(ambiguous)?;
    let (head, mut exchange) = taken.map_err(|Broke| ambiguous(Cause::Broken))?;
    record.heard();
    let status = StatusCode::from_u16(head.status).unwrap_or_default();
    if !status.is_success() {
        let sent = &config.provider_model_id;
        let idle = deadline(end, timeouts.idle, Phase::Idle);
        return refused(status, head.retry_after, &mut exchange, idle, sent).await;
    }
    begin(exchange, head.shape, timeouts.idle, first_byte, end, &config.provider_model_id).await
}

/// Reads an answer that is no success.
async fn refused(
    status: StatusCode,
    retry_after: Option<Duration>,
    exchange: &mut Exchange,
    limit: Deadline,
    sent: &str,
) -> Result<Begun, Failure> {
    if status.as_u16() < 400 {
        return Err(Failure { retry_after, ..Cause::Unexpected(status).into() });
    }
    let mut text = Vec::new();
    while let Ok(Ok(Some(chunk))) = within(limit, exchange.chunk()).await {
        text.extend_from_slice(&chunk);
    }
    let words = Words::in_body(&text);
    let sense = Sense::of(Some(status.as_u16()), &words, sent);
    match Cause::of_answer(status, sense, false) {
        Cause::Rejected(_) => Ok(Begun::Rejected),
        cause => Err(Failure { retry_after, ..Failure::from(cause).with(words) }),
    }
}

/// Reads an answer up to its commit point.
async fn begin(
    mut exchange: Exchange,
    shape: Shape,
    idle: Duration,
    first_byte: Deadline,
    end: Instant,
    sent: &str,
) -> Result<Begun, Failure> {
    let (mut commit, mut limit) = (Commit::new(shape), first_byte);
    let failed = |defect| Failure::of_defect(defect, sent);
    loop {
        let chunk = within(limit, exchange.chunk()).await?;
        let (first, ended) = match chunk {
            Err(Broke) => return Err(Cause::Truncated.into()),
            Ok(None) => {
                let first = commit.end(exchange.script().end).map_err(failed)?;
                (first, Some(Ok(())))
            }
            Ok(Some(chunk)) => match commit.feed(chunk) {
                Verdict::Hold => {
                    if shape == Shape::Plain {
                        limit = deadline(end, idle, Phase::Idle);
                    }
                    continue;
                }
                Verdict::Pass(first) => (first, None),
                Verdict::Fail { pass, defect } if commit.is_committed() => {
                    (pass, Some(Err(defect)))
                }
                Verdict::Fail { defect, .. } => return Err(failed(defect)),
            },
        };
        return Ok(Begun::Committed(Box::new(Committed { exchange, commit, first, ended })));
    }
}

/// Passes on the rest of an answer.
async fn relay(
    Committed { mut exchange, mut commit, first, ended }: Committed,
    permit: Permit,
    record: &mut Record<'_>,
    end: Instant,
) -> Answer {
    let timeouts = permit.deployment().config.timeouts;
    let sent = permit.deployment().config.provider_model_id.clone();
    record.passed(exchange.script(), &first);
    let failure = match ended {
        Some(Ok(())) => None,
        Some(Err(defect)) => Some(Failure::of_defect(defect, &sent)),
        None => rest(&mut exchange, &mut commit, &permit, record, timeouts.idle, end)
            .await
            .err()
            .map(|failed| match failed {
                Failed::Defect(defect) => Failure::of_defect(defect, &sent),
                Failed::Cause(cause) => cause.into(),
            }),
    };
    if failure.is_none() {
        while let Some(held) = commit.next_held() {
            record.passed(exchange.script(), &held);
        }
    }
    let outcome = failure.as_ref().map_or(Outcome::Success, |f| f.outcome(Overtime::Nobody));
    permit.settle(outcome, fleet::now());
    record.ended(&exchange, failure.as_ref());
    if failure.is_none() { Answer::Whole } else { Answer::Broken }
}

enum Failed {
    Defect(Defect),
    Cause(Cause),
}

/// Reads the rest of an answer to its end.
async fn rest(
    exchange: &mut Exchange,
    commit: &mut Commit,
    permit: &Permit,
    record: &mut Record<'_>,
    idle: Duration,
    end: Instant,
) -> Result<(), Failed> {
    loop {
        while let Some(held) = commit.next_held() {
            record.passed(exchange.script(), &held);
        }
        let chunk = match within(deadline(end, idle, Phase::Idle), exchange.chunk()).await {
            Ok(chunk) => chunk,
            Err(cause) if cause == Cause::TimedOut(Phase::Idle) && commit.is_done() => Err(Broke),
            Err(cause) => return Err(Failed::Cause(cause)),
        };
        permit.hear(fleet::now());
        match chunk {
            Ok(Some(chunk)) => match commit.feed(chunk) {
                Verdict::Hold => {}
                Verdict::Pass(pass) => record.passed(exchange.script(), &pass),
                Verdict::Fail { pass, defect } => {
                    record.passed(exchange.script(), &pass);
                    return Err(Failed::Defect(defect));
                }
            },
            over => {
                let how = if over.is_err() { End::Early } else { exchange.script().end };
                let held = commit.end(how).map_err(Failed::Defect)?;
                record.passed(exchange.script(), &held);
                return Ok(());
            }
        }
    }
}
