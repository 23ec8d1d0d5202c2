//! The body of an upstream's answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::Body as _;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::pool::Lease;

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Framing {
    /// By its length or its last chunk.
    Told,
    /// By the end of the connection, which says nothing.
    UntilClose,
}

/// The body ended before what its head announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Early;

/// A body that is still coming. Its connection goes back to the pool when it has ended, and is
/// closed when it is dropped before that, which cancels the request.
#[derive(Debug)]
pub(in super::super) struct Incoming {
    inner: hyper::body::Incoming,
    framing: Framing,
    lease: Option<Lease>,
}

impl Incoming {
    pub(super) fn new(inner: hyper::body::Incoming, headers: &HeaderMap, lease: Lease) -> Self {
        let told = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        let framing = if told { Framing::Told } else { Framing::UntilClose };
        Self { inner, framing, lease: Some(lease) }
    }

    pub(in super::super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether all of it has been taken.
    pub(in super::super) fn is_end(&self) -> bool {
        self.inner.is_end_stream()
    }

    /// The next chunk; None at the end.
    pub(in super::super) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Early>>> {
        loop {
            let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
            return Poll::Ready(match frame {
                None => {
                    self.release();
                    None
                }
                Some(Err(_)) => Some(Err(Early)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Some(Ok(data)),
                    // Trailers mean nothing to clients of this API.
                    Err(_) => continue,
                },
            });
        }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // The last chunk of a body of known length may be the last poll.
        if self.is_end() {
            self.release();
        }
    }
}
