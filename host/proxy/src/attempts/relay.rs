//! The answer on its way to the client, past its commit point. Each chunk is passed on as it
//! arrives.
//!
//! A failure is always told: a stream gets one error event, and every kind of answer ends with an
//! error, which aborts the client's connection. Clients take an answer that ends cleanly for a
//! whole one.
//!
//! The body owns everything that must end with the answer: the journal, the count of attempts in
//! flight, the upstream's connection. It all ends in the body's `Drop`, because only the drop shows
//! that a client left.

mod broken;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, Sleep, sleep_until};

use answers::commit::{Commit, Defect, End, Shape, Verdict};
use answers::rename::Rename;
use answers::usage::UsageScan;
use config::Timeouts;
use fleet::{AnswerTokens, Deployment, Outcome, Permit};
use routing::{Cause, Failure, Phase};

use crate::timeout::Span;
use crate::upstream::{BodyError, Incoming};

use super::attempt::{Committed, Rest, how};
use super::body::BoxError;
use super::burst::{self, Burst};
use super::journal::Journal;

/// An upstream's answer under way.
#[derive(Debug)]
pub(super) struct Relay {
    state: State,
    /// Bytes that are ready for the client.
    first: Bytes,
    /// Bytes of the upstream that have not been judged.
    unread: Bytes,
    commit: Commit,
    rename: Option<Rename>,
    usage: UsageScan,
    idle: Duration,
    /// How long the upstream may send nothing but comments, at least `idle`.
    longest_idle: Duration,
    end: Instant,
    /// When the relay was last polled.
    polled: Instant,
    /// Set while the relay waits for the upstream: when this wait began. The timer was set then.
    waiting: Option<Instant>,
    /// Total time of waiting for the upstream since it last sent more than comments.
    quiet: Duration,
    burst: Burst,
    /// None before the first wait: most plain answers arrive whole and need no timer.
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
    /// The answer is whole, and the commit holds the rest of it.
    Held,
    /// The answer has failed. The client must be told.
    Failed(Failure),
    /// The client has been told. Its connection must be aborted.
    Told,
    /// Nothing more follows.
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
        let Timeouts { idle, first_byte, .. } = deployment.config.timeouts;
        let sent = &deployment.config.provider_model_id;
        let Committed { first, rest, unread, commit, .. } = *committed;
        let whole = matches!(rest, Rest::Whole);
        let mut relay = Box::new(Self {
            state: match rest {
                Rest::Whole => State::Held,
                Rest::Coming(body) => State::Coming(body),
                Rest::Failed(defect) => State::Failed(Failure::of_defect(defect, sent)),
            },
            first: Bytes::new(),
            unread,
            commit,
            rename: (sent != asked).then(|| Rename::new(sent, asked)),
            usage: UsageScan::default(),
            idle,
            longest_idle: idle.max(first_byte),
            end,
            polled: now,
            waiting: None,
            quiet: Duration::ZERO,
            burst: Burst::default(),
            timer: None,
            journal,
            deployment,
            permit: Some(permit),
            panicked: false,
        });
        // Like all later chunks: it may contain the usage and the model's name.
        relay.first = relay.watched(first);
        if whole {
            relay.complete(now);
        } else {
            relay.end_with_last();
        }
        relay
    }

    /// The length of the whole body. None: it is not known yet.
    pub(super) fn length(&self) -> Option<u64> {
        let is_known = match self.state {
            State::Ended => true,
            State::Held => self.rename.is_none(),
            _ => false,
        };
        is_known.then(|| (self.first.len() + self.commit.held()) as u64)
    }

    /// Whether the upstream's `content-length` can be kept: a plain body still follows, and the
    /// model is not renamed in it.
    pub(super) fn keeps_length(&self) -> bool {
        matches!(self.state, State::Coming(_))
            && self.commit.shape() != Shape::Stream
            && self.rename.is_none()
    }

    pub(super) fn is_end(&self) -> bool {
        matches!(self.state, State::Ended) && self.first.is_empty()
    }

    /// Deadline of the whole request.
    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// The next chunk of the body. None: the body has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            if !self.first.is_empty() {
                let first = std::mem::take(&mut self.first);
                self.journal.sent(first.len());
                return Poll::Ready(Some(Ok(first)));
            }
            let is_late = matches!(self.state, State::Coming(_)) && self.is_late();
            match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Held => {
                    ready!(self.burst.poll(cx));
                    let held = self.commit.next_held().unwrap_or_default();
                    self.burst.note(held.len());
                    self.first = self.watched(held);
                    self.end_if_sent();
                }
                // Checked before each read: the timer never fires while an upstream always has
                // data.
                State::Coming(_) if is_late => self.time_out(Phase::Total),
                State::Coming(_) if self.journal.is_over() => {
                    self.state = State::Failed(Cause::Stopping.into());
                }
                State::Coming(body) => {
                    ready!(self.burst.poll(cx));
                    if let Some(held) = self.commit.next_held() {
                        self.first = self.watched(held);
                        continue;
                    }
                    if !self.unread.is_empty() {
                        let unread = std::mem::take(&mut self.unread);
                        self.take(Some(Ok(unread)));
                        continue;
                    }
                    match body.poll_chunk(cx) {
                        Poll::Ready(chunk) => {
                            if let Some(since) = self.waiting.take() {
                                self.quiet += since.elapsed();
                            }
                            if let Some(permit) = &self.permit {
                                permit.hear(self.polled.into_std());
                            }
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

    /// Notes the time of this poll. True if the time of the whole request is over.
    fn is_late(&mut self) -> bool {
        self.polled = Instant::now();
        self.polled >= self.end
    }

    /// Waits for the upstream, at most for `idle`. Each wait restarts the timer, so that the
    /// upstream is not charged for time in which a slow client did not ask for more.
    ///
    /// Comments extend the wait up to `first_byte` in all: some providers say by them that a model
    /// still thinks. Once the stream has its finish reasons they extend nothing.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.burst.reset();
        let end = self.end;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if self.waiting.is_none() {
            let most = if self.commit.is_finished() { self.idle } else { self.longest_idle };
            let wait = self.idle.min(most.saturating_sub(self.quiet));
            let now = Instant::now();
            timer.as_mut().reset(end.min(now + wait));
            self.waiting = Some(now);
        }
        ready!(timer.as_mut().poll(cx));
        if Instant::now() >= self.end {
            self.time_out(Phase::Total);
        } else if self.commit.is_done() {
            // The last event has come, and only the end of the body is missing.
            self.finish(End::Early, Cause::TimedOut(Phase::Idle));
        } else {
            self.time_out(Phase::Idle);
        }
        Poll::Ready(())
    }

    /// Judges a chunk, or the end of the body.
    fn take(&mut self, chunk: Option<Result<Bytes, BodyError>>) {
        let State::Coming(body) = &self.state else { return };
        let framing = body.framing();
        match chunk {
            None => self.finish(how(framing), Cause::Truncated),
            Some(Err(error)) => self.finish(End::Early, error.into()),
            Some(Ok(mut chunk)) => {
                self.unread = burst::cut(&mut chunk);
                self.burst.note(chunk.len());
                let verdict = self.commit.feed(chunk);
                if self.commit.has_moved() {
                    self.quiet = Duration::ZERO;
                }
                match verdict {
                    // The event with the usage may have been taken out.
                    Verdict::Hold => self.note_usage(),
                    Verdict::Pass(pass) => self.first = self.watched(pass),
                    Verdict::Fail { pass, defect } => {
                        self.first = self.watched(pass);
                        self.state = State::Failed(self.failure(defect));
                        return;
                    }
                }
                self.end_with_last();
            }
        }
    }

    /// Ends with the last chunk if the body is known to be over: hyper does not ask for more of a
    /// body of known length.
    fn end_with_last(&mut self) {
        if let State::Coming(body) = &self.state
            && self.unread.is_empty()
            && body.is_end()
        {
            self.finish(how(body.framing()), Cause::Truncated);
        }
    }

    /// Judges the end of the body. `cause`: the reason if the body turns out to be truncated.
    fn finish(&mut self, end: End, cause: Cause) {
        match self.commit.end(end) {
            Ok(held) => {
                let held = self.watched(held);
                let first = std::mem::take(&mut self.first);
                self.first = joined(first, held);
                self.complete(Instant::now());
            }
            Err(defect) => {
                // Without the last bytes, a client that counts by `content-length` sees that the
                // answer is incomplete.
                if self.commit.shape() == Shape::Plain {
                    self.first.clear();
                }
                self.state = State::Failed(match defect {
                    Defect::Truncated => cause.into(),
                    defect => self.failure(defect),
                });
            }
        }
    }

    /// Reads the usage in a chunk and puts the client's name for the model into it. Every byte for
    /// the client passes here.
    fn watched(&mut self, chunk: Bytes) -> Bytes {
        if self.commit.usage().is_none() && !self.commit.is_repeated() {
            self.usage.feed(&chunk);
        }
        self.note_usage();
        match &mut self.rename {
            Some(rename) => rename.feed(chunk),
            None => chunk,
        }
    }

    /// Records the usage so far. At each chunk and not at the end: a client may leave early, and
    /// its usage counts.
    fn note_usage(&mut self) {
        let usage = self.commit.usage().or(self.usage.found()).or(self.commit.timings());
        self.journal.used(usage, self.commit.events_read());
    }

    /// Completes an answer that is whole. The commit may still hold a part of it.
    fn complete(&mut self, now: Instant) {
        self.state = State::Held;
        if self.commit.shape() == Shape::Plain {
            self.journal.plain_answer(self.first.len() + self.commit.held());
        }
        self.count_tokens();
        self.settle(Outcome::Success, now);
        self.journal.completed();
        self.end_if_sent();
    }

    /// Ends a whole answer once the commit holds no more of it. Adds the bytes that renaming held
    /// back.
    fn end_if_sent(&mut self) {
        if self.commit.held() > 0 {
            return;
        }
        let first = std::mem::take(&mut self.first);
        self.first = match &mut self.rename {
            Some(rename) => joined(first, rename.finish()),
            None => first,
        };
        self.state = State::Ended;
    }

    /// Tells the tokens of a whole answer to whoever counts them. A stream that reports none has
    /// about one for each event.
    fn count_tokens(&mut self) {
        let Some(permit) = &mut self.permit else { return };
        let (usage, events) = (self.journal.usage(), u64::from(self.commit.events_read()));
        let reported = usage.map(|usage| usage.completion_tokens).filter(|tokens| *tokens > 0);
        permit.answered(AnswerTokens {
            cached: usage.and_then(|usage| usage.cached_tokens),
            completion: reported.or(Some(events).filter(|events| *events > 0)),
            is_stream: self.commit.shape() == Shape::Stream,
        });
    }

    fn settle(&mut self, outcome: Outcome, now: Instant) {
        if let Some(permit) = self.permit.take() {
            permit.settle(outcome, now.into_std());
        }
    }

    fn failure(&self, defect: Defect) -> Failure {
        Failure::of_defect(defect, &self.deployment.config.provider_model_id)
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
