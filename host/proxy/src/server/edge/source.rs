//! The input from a client: its socket, the bytes read ahead, and the body of the current request,
//! which the service reads itself.
//!
//! hyper would copy such a body piece by piece into memory of its own and pass the pieces through a
//! channel. That takes a twentieth of the time of a request of 1 KiB, and a quarter of one of 32
//! KiB.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use http1::request::Apart;
use http1::request::refusals::BODY_SLOW;

use super::buffer::Buffer;

/// Most memory reserved for an announced body, in bytes: before any of it has arrived, and after.
const AT_FIRST: usize = 16 << 10;
const AT_ONCE: usize = 128 << 10;

/// The input of one connection.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) stream: TcpStream,
    pub(super) buffer: Buffer,
    /// When the client last sent bytes that the gateway waited for.
    pub(super) since: Instant,
    /// The client has left, or will send no more.
    pub(super) gone: bool,
    /// Bytes of the current request's body that the service has not read. Nothing else is read
    /// before it is 0.
    left: u64,
    /// The body, if it arrived with its head.
    whole: Option<Bytes>,
    /// The body is late: nothing arrived within `client_idle`.
    is_slow: bool,
}

impl Source {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Buffer::default(),
            since: Instant::now(),
            gone: false,
            left: 0,
            whole: None,
            is_slow: false,
        }
    }

    /// Reads ahead into the buffer. 0: the client is gone.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.fill(&mut self.stream, cx)
    }

    /// Asks the system whether the input has ended. The runtime does not know this of a connection
    /// that was just accepted: it tries a first read before any event has told it the state of the
    /// socket.
    pub(super) fn has_ended(&self) -> bool {
        let peeked = recv(&self.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(peeked, Ok((_, 1..)) | Err(Errno::AGAIN))
    }

    /// Sets apart the body that follows the head in the buffer, and hides it from hyper.
    pub(super) fn set_apart(&mut self, body: &Apart) {
        self.left = body.bytes;
        body.hide(self.buffer.filled_mut());
    }

    /// Begins the body, if one follows the head that hyper was given. Takes it from the buffer if
    /// all of it is there.
    pub(super) fn begin_body(&mut self) {
        if self.left == 0 {
            return;
        }
        let ahead = self.buffer.filled();
        if let Some(body) = usize::try_from(self.left).ok().and_then(|left| ahead.get(..left)) {
            let body = Bytes::copy_from_slice(body);
            self.left = 0;
            self.buffer.consume(body.len());
            self.whole = Some(body);
        } else {
            // The time limit of the body does not include the time of the head.
            self.since = Instant::now();
        }
    }

    /// Bytes of the body that are still to be read.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The body, if it arrived with its head.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        self.whole.take()
    }

    /// Marks the body as late: the next read fails unless there is something to read. True if it
    /// was not marked.
    pub(super) fn set_slow(&mut self) -> bool {
        !std::mem::replace(&mut self.is_slow, true)
    }

    /// Reads more of the body, to the end of `to`.
    ///
    /// # Errors
    /// If the client is gone, or with a [`Refusal`](http1::Refusal) if the body is late.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if to.len() == to.capacity() {
            let at_most = if to.is_empty() && self.buffer.is_empty() { AT_FIRST } else { AT_ONCE };
            // One byte more than the body has. After a read that fills its room, tokio asks the
            // system again.
            to.reserve(left.saturating_add(1).min(at_most));
        }
        let ahead = self.buffer.filled();
        if !ahead.is_empty() {
            let ahead = &ahead[..left.min(ahead.len())];
            to.extend_from_slice(ahead);
            let bytes = ahead.len();
            self.left -= bytes as u64;
            self.buffer.consume(bytes);
            return Poll::Ready(Ok(()));
        }
        let room = (to.capacity() - to.len()).min(left.saturating_add(1));
        let mut limited = (&mut *to).limit(room);
        let read = match pin!(self.stream.read_buf(&mut limited)).poll(cx) {
            Poll::Ready(read) => read?,
            Poll::Pending if self.is_slow => {
                return Poll::Ready(Err(io::Error::other(BODY_SLOW)));
            }
            Poll::Pending => return Poll::Pending,
        };
        self.is_slow = false;
        if read == 0 {
            self.gone = true;
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.since = Instant::now();
        if read > left {
            // The extra byte belongs to the next request.
            self.buffer.put(&to[to.len() - 1..]);
            to.pop();
        }
        self.left -= read.min(left) as u64;
        Poll::Ready(Ok(()))
    }
}
