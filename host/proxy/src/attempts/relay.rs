//! The answer on its way to the client, past its commit point: each chunk is passed on as it comes.
//!
//! A failure is told and never hidden: a stream gets one error event, and every kind of answer ends
//! with an error, which aborts the client's connection, because clients take what ends cleanly for
//! whole. Everything that must end with the answer (the journal, the count of attempts in flight,
//! the upstream's connection) hangs on the body and ends in its `Drop`: a client that goes away is
//! seen nowhere else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep_until};

use answers::commit::{Commit, Defect, End, Shape, Verdict};
use answers::rename::Rename;
use answers::usage::UsageScan;
use fleet::{Deployment, Outcome, Permit};
use routing::{Cause, Failure, Overtime, Phase};

use crate::telemetry::Panic;
use crate::timeout::Span;
use crate::upstream::{BodyError, Incoming};

use super::attempt::{Committed, Rest, how};
use super::body::BoxError;
use super::journal::Journal;
use super::refusal;

/// An upstream's answer under way.
#[derive(Debug)]
pub(super) struct Relay {
    state: State,
    /// What goes to the client next, if it is here already.
    first: Bytes,
    commit: Commit,
    rename: Option<Rename>,
    usage: UsageScan,
    idle: Duration,
    end: Instant,
    /// The upstream is waited for, since the timer was set.
    waiting: bool,
    /// None before the first wait: most answers that are not streams come whole.
    timer: Option<Pin<Box<Sleep>>>,
    journal: Box<Journal>,
    deployment: Arc<Deployment>,
    /// None once the attempt has ended.
    permit: Option<Permit>,
    panicked: bool,
}

#[derive(Debug)]
enum State {
    /// More may come.
    Coming(Incoming),
    /// It has failed, which the client is to be told.
    Failed(Failure),
    /// The client has been told, and the connection is to be aborted.
    Told,
    /// Nothing more comes.
    Ended,
}

impl Relay {
    /// `asked` is the name by which the client knows the model.
    pub(super) fn new(
        committed: Box<Committed>,
        permit: Permit,
        asked: &str,
        journal: Box<Journal>,
        Span { now, end }: Span,
    ) -> Box<Self> {
        let deployment = Arc::clone(permit.deployment());
        let idle = deployment.config.timeouts.idle;
        let sent = &deployment.config.provider_model_id;
        let Committed { first, rest, commit, .. } = *committed;
        let whole = matches!(rest, Rest::Whole);
        let mut relay = Box::new(Self {
            state: match rest {
                Rest::Whole => State::Ended,
                Rest::Coming(body) => State::Coming(body),
                Rest::Failed(defect) => State::Failed(defect.into()),
            },
            first: Bytes::new(),
            commit,
            rename: (sent != asked).then(|| Rename::new(sent, asked)),
            usage: UsageScan::default(),
            idle,
            end,
            waiting: false,
            timer: None,
            journal,
            deployment,
            permit: Some(permit),
            panicked: false,
        });
        relay.first = relay.watched(first);
        if whole {
            relay.first = relay.with_held();
            relay.complete(now);
        } else {
            relay.end_with_last();
        }
        relay
    }

    /// The length of the whole body, where it is known.
    pub(super) fn length(&self) -> Option<u64> {
        matches!(self.state, State::Ended).then_some(self.first.len() as u64)
    }

    /// Whether the upstream's word on the length of the body still holds.
    pub(super) fn keeps_length(&self) -> bool {
        matches!(self.state, State::Coming(_))
            && self.commit.shape() != Shape::Stream
            && self.rename.is_none()
    }

    pub(super) fn is_end(&self) -> bool {
        matches!(self.state, State::Ended) && self.first.is_empty()
    }

    /// When the whole request must be over.
    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// Says that the connection to the client was given up at this time limit.
    pub(super) fn give_up(&mut self, phase: Phase) {
        if matches!(self.state, State::Coming(_)) {
            self.time_out(phase);
        }
        self.tell();
    }

    /// The next of the body.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            if !self.first.is_empty() {
                let first = std::mem::take(&mut self.first);
                self.journal.sent(first.len());
                return Poll::Ready(Some(Ok(first)));
            }
            match &mut self.state {
                State::Ended => return Poll::Ready(None),
                // An upstream that is never waited for would else have no end.
                State::Coming(_) if Instant::now() >= self.end => self.time_out(Phase::Total),
                State::Coming(_) if self.journal.is_over() => {
                    self.state = State::Failed(Cause::Stopping.into());
                }
                State::Coming(body) => {
                    if let Some(held) = self.commit.next_held() {
                        self.first = self.watched(held);
                        continue;
                    }
                    match body.poll_chunk(cx) {
                        Poll::Ready(chunk) => {
                            self.waiting = false;
                            self.take(chunk);
                        }
                        Poll::Pending => ready!(self.poll_idle(cx)),
                    }
                }
                State::Failed(_) => self.tell(),
                State::Told => {
                    self.state = State::Ended;
                    return Poll::Ready(Some(Err("the answer broke off".into())));
                }
            }
        }
    }

    /// Waits for the upstream, for so long. The time in which the client was waited for, and nobody
    /// came here, is not the upstream's.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.end;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if !std::mem::replace(&mut self.waiting, true) {
            timer.as_mut().reset(end.min(Instant::now() + self.idle));
        }
        ready!(timer.as_mut().poll(cx));
        let over = Instant::now() >= self.end;
        self.time_out(if over { Phase::Total } else { Phase::Idle });
        Poll::Ready(())
    }

    /// Says that `poll` panicked: what is left is to tell the client, or, if that panicked too, only to
    /// abort its connection.
    pub(super) fn panicked(&mut self, panic: &Panic) {
        panic.log_of_request(self.journal.id());
        let tells = !self.panicked && !matches!(self.state, State::Ended | State::Told);
        self.panicked = true;
        self.state = match tells {
            true => State::Failed(Cause::Internal.into()),
            false => {
                self.journal.broken(Cause::Internal);
                State::Told
            }
        };
    }

    /// Takes a chunk, or the end.
    fn take(&mut self, chunk: Option<Result<Bytes, BodyError>>) {
        let State::Coming(body) = &self.state else { return };
        let framing = body.framing();
        match chunk {
            None => self.finish(how(framing), Cause::Truncated),
            Some(Err(error)) => self.finish(End::Early, error.into()),
            Some(Ok(chunk)) => {
                match self.commit.feed(chunk) {
                    Verdict::Hold => {}
                    Verdict::Pass(pass) => self.first = self.watched(pass),
                    Verdict::Fail { pass, defect } => {
                        self.first = self.watched(pass);
                        self.state = State::Failed(defect.into());
                        return;
                    }
                }
                self.end_with_last();
            }
        }
    }

    /// Ends with the last chunk, where it is known to be that: of a body of known length nobody asks for more.
    fn end_with_last(&mut self) {
        if let State::Coming(body) = &self.state
            && body.is_end()
        {
            self.finish(how(body.framing()), Cause::Truncated);
        }
    }

    /// Takes the end of the body; `cause` is why it is not whole, if it is not.
    fn finish(&mut self, end: End, cause: Cause) {
        match self.commit.end(end) {
            Ok(held) => {
                let held = self.watched(held);
                let first = std::mem::take(&mut self.first);
                self.first = joined(first, held);
                self.first = self.with_held();
                self.complete(Instant::now());
            }
            Err(Defect::Truncated) => self.state = State::Failed(cause.into()),
            Err(defect) => self.state = State::Failed(defect.into()),
        }
    }

    /// Every byte that goes to the client passes here: its usage is seen, its model's name is the
    /// client's.
    fn watched(&mut self, chunk: Bytes) -> Bytes {
        let usage = self.commit.usage().or_else(|| {
            self.usage.feed(&chunk);
            self.usage.found()
        });
        // Now, not at the end: clients leave when they have read enough, and what was used is used.
        self.journal.used(usage);
        match &mut self.rename {
            Some(rename) => rename.feed(chunk),
            None => chunk,
        }
    }

    /// What is next for the client, and what renaming still held back: for the end.
    fn with_held(&mut self) -> Bytes {
        let first = std::mem::take(&mut self.first);
        match &mut self.rename {
            Some(rename) => joined(first, rename.finish()),
            None => first,
        }
    }

    fn complete(&mut self, now: Instant) {
        self.state = State::Ended;
        self.settle(Outcome::Success, now);
        self.journal.completed();
    }

    fn settle(&mut self, outcome: Outcome, now: Instant) {
        if let Some(permit) = self.permit.take() {
            permit.settle(outcome, now.into_std());
        }
    }

    fn time_out(&mut self, phase: Phase) {
        self.state = State::Failed(Cause::TimedOut(phase).into());
    }

    /// Tells the client of the failure, and writes it down.
    fn tell(&mut self) {
        let State::Failed(failure) = &self.state else { return };
        let failure = failure.clone();
        // A long answer is no failure of the deployment.
        self.settle(failure.outcome(Overtime::Nobody), Instant::now());
        self.journal.broken(failure.cause);
        let config = &self.deployment.config;
        tracing::warn!(
            request_id = self.journal.id(), model = %self.deployment.model,
            deployment = %config.name, cause = %failure.cause.label(),
            "an answer broke off after its commit point"
        );
        if self.commit.shape() == Shape::Stream {
            self.first = self.error_event(&failure);
        }
        // Last: what panicked before was not told.
        self.state = State::Told;
    }

    /// The last event of a stream that failed. Never `[DONE]`, never a finish reason.
    fn error_event(&self, failure: &Failure) -> Bytes {
        let config = &self.deployment.config;
        let message = match failure.said.clone() {
            Some(said) => {
                format!("{}: {}", failure.cause, refusal::words(said, &self.deployment.redactor))
            }
            None => format!("the answer of {} broke off: {}", config.name, failure.cause),
        };
        let code = failure.cause.label();
        let error =
            json!({"message": message, "type": "server_error", "param": null, "code": code});
        // An event that was passed in part is ended first, or the error would be taken for its rest.
        let gap = if self.commit.is_between_events() { "" } else { "\n\n" };
        format!("{gap}data: {}\n\n", json!({ "error": error })).into()
    }
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second,
        (_, true) => first,
        _ => {
            let mut all = BytesMut::with_capacity(first.len() + second.len());
            all.extend_from_slice(&first);
            all.extend_from_slice(&second);
            all.freeze()
        }
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
