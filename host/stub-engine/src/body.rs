//! Answer bodies: paced, and counted when they end.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

use super::endpoint::Chunk;
use super::engine::{CallGuard, Settings};

/// A body that tells the guard of its call when its last byte was handed over.
pub(super) struct AnswerBody {
    inner: UnsyncBoxBody<Bytes, Infallible>,
    in_flight: Option<CallGuard>,
}

impl AnswerBody {
    /// All at once. Never empty: hyper does not ask an empty body for its end.
    pub(super) fn whole(data: impl Into<Bytes>) -> Self {
        Self { inner: Full::new(data.into()).boxed_unsync(), in_flight: None }
    }

    /// Chunk by chunk. Each is due when the tokens before it would have been produced.
    pub(super) fn paced(
        chunks: impl Iterator<Item = Chunk> + Send + 'static,
        settings: Arc<Settings>,
    ) -> Self {
        let start = Instant::now();
        let frames = stream::unfold(chunks, move |mut chunks| {
            let settings = Arc::clone(&settings);
            async move {
                let chunk = chunks.next()?;
                let due = start + settings.pace(chunk.after);
                if due > Instant::now() {
                    sleep_until(due).await;
                }
                Some((Ok(Frame::data(chunk.data)), chunks))
            }
        });
        Self { inner: StreamBody::new(frames).boxed_unsync(), in_flight: None }
    }

    /// Ties the guard of a call to the end of this body.
    pub(super) fn counted(mut self, in_flight: CallGuard) -> Self {
        self.in_flight = Some(in_flight);
        self
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if (frame.is_none() || self.inner.is_end_stream())
            && let Some(in_flight) = &mut self.in_flight
        {
            in_flight.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
