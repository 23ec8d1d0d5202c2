//! The answer on its way to the client: each chunk is passed on as it comes.
//!
//! A broken answer ends with an error, which aborts the client's connection: clients take a stream
//! that ends cleanly for whole. Everything that must end with the answer (the journal, the count of
//! attempts in flight, the upstream's connection) hangs on the body and ends in its `Drop`, because
//! a client that goes away is seen nowhere else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::fleet::{Fault, Outcome, Permit};

use super::attempt::Begun;
use super::failure::Phase;
use super::rename::Rename;
use super::request::{Journal, Request};
pub(super) use super::upstream::Lease;
use super::usage::UsageScan;

/// Any error, for people.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer to a client.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Own(Option<Bytes>),
    Relay(Box<Relay>),
}

impl Body {
    /// A body of the gateway's own.
    #[must_use]
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(Kind::Own((!bytes.is_empty()).then_some(bytes)))
    }

    pub(super) fn relay(relay: Relay) -> Self {
        Self(Kind::Relay(Box::new(relay)))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Relay(relay) => relay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(bytes) => bytes.is_none(),
            Kind::Relay(relay) => relay.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Relay(relay) => relay.size_hint(),
        }
    }
}

/// An upstream's answer under way.
#[derive(Debug)]
pub(super) struct Relay {
    first: Option<Frame<Bytes>>,
    rest: Incoming,
    lease: Option<Lease>,
    ended: bool,
    rename: Option<Rename>,
    usage: UsageScan,
    idle: Duration,
    end: Instant,
    timer: Pin<Box<Sleep>>,
    journal: Journal,
    /// None once the attempt has ended.
    permit: Option<Permit>,
}

impl Relay {
    pub(super) fn new(
        begun: Begun,
        permit: Permit,
        request: &Request,
        journal: Journal,
        end: Instant,
    ) -> Self {
        let idle = request.snapshot.generation.config.timeouts.idle;
        let deployment = Arc::clone(permit.deployment());
        let sent = &deployment.config.provider_model_id;
        let asked = &request.scan.model;
        let mut relay = Self {
            ended: false,
            rename: (sent != asked).then(|| Rename::new(sent, asked)),
            usage: UsageScan::default(),
            idle,
            end,
            timer: Box::pin(tokio::time::sleep_until(end.min(Instant::now() + idle))),
            journal,
            permit: Some(permit),
            first: begun.first,
            rest: begun.rest,
            lease: Some(begun.lease),
        };
        if relay.first.is_none() && relay.rest.is_end_stream() {
            relay.complete();
        }
        relay
    }

    /// Whether the body may become longer or shorter than the upstream said.
    pub(super) fn changes_length(&self) -> bool {
        self.rename.is_some()
    }

    fn size_hint(&self) -> SizeHint {
        if self.changes_length() {
            return SizeHint::new();
        }
        let first = self.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        match self.rest.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(first + rest),
            None => SizeHint::new(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let frame = match self.first.take() {
                Some(first) => Some(Ok(first)),
                None => match Pin::new(&mut self.rest).poll_frame(cx) {
                    Poll::Ready(frame) => frame,
                    Poll::Pending => {
                        ready!(self.timer.as_mut().poll(cx));
                        return Poll::Ready(Some(Err(self.time_out())));
                    }
                },
            };
            let chunk = match frame {
                None => {
                    self.complete();
                    let held = self.rename.as_mut().map(Rename::finish).filter(|h| !h.is_empty());
                    return Poll::Ready(held.map(|held| Ok(self.pass(held))));
                }
                Some(Err(error)) => {
                    self.break_off("broken", failure("an answer broke off", Fault::Connection));
                    return Poll::Ready(Some(Err(error.into())));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => chunk,
                    // Trailers mean nothing to clients of this API.
                    Err(_) => continue,
                },
            };
            let next = self.end.min(Instant::now() + self.idle);
            self.timer.as_mut().reset(next);
            self.usage.feed(&chunk);
            let chunk = match &mut self.rename {
                Some(rename) => rename.feed(chunk),
                None => chunk,
            };
            // The last chunk of a body of known length may be the last poll: end here then.
            if self.rest.is_end_stream() && self.rename.is_none() {
                self.complete();
            }
            if !chunk.is_empty() {
                return Poll::Ready(Some(Ok(self.pass(chunk))));
            }
        }
    }

    fn pass(&mut self, chunk: Bytes) -> Frame<Bytes> {
        self.journal.sent(chunk.len());
        Frame::data(chunk)
    }

    fn complete(&mut self) {
        self.ended = true;
        self.settle(Outcome::Success);
        if let Some(usage) = self.usage.found() {
            self.journal.used(usage);
        }
        self.journal.ended("ok");
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }

    fn time_out(&mut self) -> BoxError {
        let phase = if Instant::now() >= self.end { Phase::Total } else { Phase::Idle };
        match phase {
            // A long answer is no failure of the deployment.
            Phase::Total => self.break_off("timeout_total", Outcome::Neutral),
            _ => self.break_off("timeout_idle", failure("an answer stopped", Fault::Answer)),
        }
        format!("{} time-out in the answer", phase.as_str()).into()
    }

    fn break_off(&mut self, outcome: &'static str, said: Outcome) {
        self.ended = true;
        if let Some(deployment) = self.permit.as_ref().map(Permit::deployment) {
            tracing::warn!(
                request_id = self.journal.id(), model = %deployment.model,
                deployment = %deployment.config.name, outcome,
                "an answer broke off after its first byte"
            );
        }
        self.settle(said);
        self.journal.ended(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            permit.settle(outcome, Instant::now().into_std());
        }
    }
}

fn failure(cause: &str, fault: Fault) -> Outcome {
    Outcome::Failure { cause: cause.to_owned(), fault }
}
