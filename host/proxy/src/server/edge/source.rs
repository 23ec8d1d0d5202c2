//! What comes from a client: its socket, what was read from it before it was wanted, and the body of the
//! request under way, which the service reads for itself.
//!
//! hyper would copy such a body, a piece at a time, into memory of its own, and hand the pieces over by a channel: a
//! twentieth of what a request of 1 KiB takes, a quarter of one of 32 KiB.

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

/// Room for so many bytes of a body that are only announced is made at once: at first, and once something has come.
const AT_FIRST: usize = 16 << 10;
const AT_ONCE: usize = 128 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) stream: TcpStream,
    pub(super) buffer: Buffer,
    /// When the client last sent something that was waited for.
    pub(super) since: Instant,
    /// The client has left, or will send no more.
    pub(super) gone: bool,
    /// What the service has not read of the body of the request under way: nothing else is read meanwhile.
    left: u64,
    /// That body, if it came with its head.
    whole: Option<Bytes>,
    /// It has not come in time, as far as was read.
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

    /// Reads ahead. 0: the client is gone.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.fill(&mut self.stream, cx)
    }

    /// Asks the system whether there is nothing more to read. The runtime knows, but not of a connection that has just been
    /// accepted: what it reads first it takes on trust, before it has heard of its state.
    pub(super) fn has_ended(&self) -> bool {
        let peeked = recv(&self.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(peeked, Ok((_, 1..)) | Err(Errno::AGAIN))
    }

    /// Says that this body follows on the head in the buffer, and hides it from hyper.
    pub(super) fn set_apart(&mut self, body: &Apart) {
        self.left = body.bytes;
        body.hide(self.buffer.filled_mut());
    }

    /// Begins the body, where one follows on the head that hyper has been given: takes it from the buffer if all of it
    /// is there.
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
            // Its time does not count what the head took.
            self.since = Instant::now();
        }
    }

    /// How much of the body is still to be read.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The body, if it came with its head.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        self.whole.take()
    }

    /// Says that the body has not come in time, unless it is here to be read. True: it is news.
    pub(super) fn set_slow(&mut self) -> bool {
        !std::mem::replace(&mut self.is_slow, true)
    }

    /// Reads more of the body, to the end of `to`.
    ///
    /// # Errors
    /// If the client is gone, or has been waited for too long, which is a [`Refusal`](http1::Refusal).
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if to.len() == to.capacity() {
            let at_most = if to.is_empty() && self.buffer.is_empty() { AT_FIRST } else { AT_ONCE };
            // One more than may come: tokio asks the system again behind a read that filled all of its room.
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
            // The first of the next request.
            self.buffer.put(&to[to.len() - 1..]);
            to.pop();
        }
        self.left -= read.min(left) as u64;
        Poll::Ready(Ok(()))
    }
}
