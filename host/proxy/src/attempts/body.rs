//! The body of an answer to a client, which the gateway or a deployment made.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use routing::Phase;

use crate::render::{Rendered, Rendering};
use crate::telemetry::catch;

use super::relay::Relay;
use super::waiting::{Early, Waiting};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer to a client.
#[derive(Debug)]
pub(crate) struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Own(Option<Bytes>),
    Page(Rendering),
    Relay(Box<Relay>),
    Waiting(Box<Waiting>),
}

impl Body {
    /// A whole body made by the gateway.
    #[must_use]
    pub(crate) fn own(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(Kind::Own((!bytes.is_empty()).then_some(bytes)))
    }

    /// A page made by the gateway. A large one is sent in pieces.
    pub(crate) fn page(page: Rendered) -> Self {
        match page {
            Rendered::Whole(bytes) => Self::own(bytes),
            Rendered::Pieces(rendering) => Self(Kind::Page(rendering)),
        }
    }

    pub(super) fn relay(relay: Box<Relay>) -> Self {
        Self(Kind::Relay(relay))
    }

    /// A stream that begins before its answer.
    pub(crate) fn early(early: Early) -> Self {
        Self(Kind::Waiting(Box::new(Waiting::new(early))))
    }

    /// Deadline for sending the body. None: the client may take any time.
    #[must_use]
    pub(crate) fn end(&self) -> Option<Instant> {
        match &self.0 {
            Kind::Own(_) | Kind::Page(_) => None,
            Kind::Relay(relay) => Some(relay.end()),
            Kind::Waiting(waiting) => Some(waiting.end()),
        }
    }

    /// Ends the body, because the client's connection was given up at this time limit. Must be
    /// called: hyper does not poll the body while it waits to write.
    pub(crate) fn give_up(&mut self, phase: Phase) {
        match &mut self.0 {
            Kind::Own(_) | Kind::Page(_) => {}
            Kind::Relay(relay) => relay.give_up(phase),
            Kind::Waiting(waiting) => waiting.give_up(phase),
        }
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
            Kind::Page(page) => page.poll(cx).map(|next| next.map(|piece| Ok(Frame::data(piece?)))),
            Kind::Waiting(waiting) => {
                waiting.poll(cx).map(|next| next.map(|next| next.map(Frame::data)))
            }
            Kind::Relay(relay) => match catch(|| relay.poll(cx)) {
                Ok(next) => next.map(|next| next.map(|next| next.map(Frame::data))),
                Err(panic) => {
                    // The next poll tells the client of the failure.
                    relay.panicked(&panic);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(bytes) => bytes.is_none(),
            Kind::Page(page) => page.is_end(),
            Kind::Relay(relay) => relay.is_end(),
            Kind::Waiting(waiting) => waiting.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Page(_) | Kind::Waiting(_) => SizeHint::new(),
            Kind::Relay(relay) => relay.length().map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}
