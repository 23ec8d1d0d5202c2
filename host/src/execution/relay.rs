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
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::fleet::{Deployment, InFlight};

use super::attempt::Begun;
use super::failure::Phase;
use super::rename::Rename;
use super::request::{Journal, Request};
use super::upstream::{BodyError, Incoming};
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
    first: Option<Bytes>,
    rest: Incoming,
    failed: Option<BodyError>,
    ended: bool,
    rename: Option<Rename>,
    usage: UsageScan,
    idle: Duration,
    end: Instant,
    timer: Pin<Box<Sleep>>,
    journal: Journal,
    deployment: Arc<Deployment>,
    in_flight: Option<InFlight>,
}

impl Relay {
    pub(super) fn new(
        begun: Begun,
        deployment: &Arc<Deployment>,
        in_flight: InFlight,
        request: &Request,
        journal: Journal,
        end: Instant,
    ) -> Self {
        let idle = request.snapshot.generation.config.timeouts.idle;
        let sent = &deployment.config.provider_model_id;
        let asked = &request.scan.model;
        let mut relay = Self {
            failed: None,
            ended: false,
            rename: (sent != asked).then(|| Rename::new(sent, asked)),
            usage: UsageScan::default(),
            idle,
            end,
            timer: Box::pin(tokio::time::sleep_until(end.min(Instant::now() + idle))),
            journal,
            deployment: Arc::clone(deployment),
            in_flight: Some(in_flight),
            first: begun.first,
            rest: begun.rest,
        };
        if relay.first.is_none() && relay.rest.is_end() {
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
        let first = self.first.as_ref().map_or(0, Bytes::len) as u64;
        match self.rest.remaining() {
            Some(rest) => SizeHint::with_exact(first + rest),
            None => SizeHint::new(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(error) = self.failed.take() {
            self.break_off("broken");
            return Poll::Ready(Some(Err(error.into())));
        }
        loop {
            let chunk = match self.first.take() {
                Some(first) => Some(Ok(first)),
                None => match self.rest.poll_chunk(cx) {
                    Poll::Ready(chunk) => chunk,
                    Poll::Pending => {
                        ready!(self.timer.as_mut().poll(cx));
                        return Poll::Ready(Some(Err(self.time_out())));
                    }
                },
            };
            let chunk = match chunk {
                None => {
                    self.complete();
                    let held = self.rename.as_mut().map(Rename::finish).filter(|h| !h.is_empty());
                    return Poll::Ready(held.map(|held| Ok(self.pass(held))));
                }
                // An error makes the server drop what it has not written yet: it is told in the
                // next turn, after that has gone out.
                Some(Err(error)) => {
                    self.failed = Some(error);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Ok(chunk)) => chunk,
            };
            let next = self.end.min(Instant::now() + self.idle);
            self.timer.as_mut().reset(next);
            self.usage.feed(&chunk);
            let chunk = match &mut self.rename {
                Some(rename) => rename.feed(chunk),
                None => chunk,
            };
            // The last chunk of a body of known length may be the last poll: end here then.
            if self.rest.is_end() && self.rename.is_none() {
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
        self.in_flight = None;
        self.deployment.load.record_outcome(false);
        if let Some(usage) = self.usage.found() {
            self.journal.used(usage);
        }
        self.journal.ended("ok");
    }

    fn time_out(&mut self) -> BoxError {
        let phase = if Instant::now() >= self.end { Phase::Total } else { Phase::Idle };
        self.break_off(match phase {
            Phase::Total => "timeout_total",
            _ => "timeout_idle",
        });
        format!("{} time-out in the answer", phase.as_str()).into()
    }

    fn break_off(&mut self, outcome: &'static str) {
        self.ended = true;
        self.in_flight = None;
        self.deployment.load.record_outcome(true);
        self.journal.ended(outcome);
        let config = &self.deployment.config;
        tracing::warn!(
            request_id = self.journal.id(), model = %self.deployment.model,
            deployment = %config.name, outcome, "an answer broke off after its first byte"
        );
    }
}
