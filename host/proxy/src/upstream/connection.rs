//! One connection: the socket, and the buffer for answers.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::buffers::{self, Spares};
use crate::vectored;

/// Bytes per read at first. Most answers are smaller.
const FEW: usize = 4 * 1024;
/// Most bytes per read, for an upstream that sends faster than it is read.
const MANY: usize = 64 * 1024;

thread_local! {
    static SPARES: Spares<BytesMut> = const { Spares::new() };
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Connection {
    stream: Stream,
    /// Bytes that were read and not taken yet. Pieces that were taken share its memory, which is
    /// used again once they are dropped. It has no memory while little is read and nothing arrives.
    pub(super) buffer: BytesMut,
    at_a_time: usize,
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, buffer: BytesMut::new(), at_a_time: FEW }
    }

    /// Reads once into the buffer. 0: the connection has ended.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let room = self.buffer.capacity() - self.buffer.len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => pin!(stream.read_buf(&mut self.buffer)).poll(cx),
            Stream::Tls(stream) => pin!(stream.read_buf(&mut self.buffer)).poll(cx),
        };
        let Poll::Ready(read) = read else {
            self.lend();
            return Poll::Pending;
        };
        let read = read?;
        if read == room {
            self.at_a_time = (2 * self.at_a_time).min(MANY);
        }
        Poll::Ready(Ok(read))
    }

    fn make_room(&mut self) {
        let room = self.buffer.capacity() - self.buffer.len();
        if room >= self.at_a_time / 4 {
            return;
        }
        if !self.buffer.is_empty() {
            self.buffer.reserve(self.at_a_time);
        } else if !self.buffer.try_reclaim(self.at_a_time) {
            self.buffer = self.fresh();
        }
    }

    fn fresh(&self) -> BytesMut {
        let spare = if self.at_a_time == FEW { buffers::take(&SPARES) } else { None };
        spare.unwrap_or_else(|| BytesMut::with_capacity(self.at_a_time))
    }

    /// Lends the memory to others while this connection waits. A stream may wait for long, and
    /// 4 KiB would be a fifth of its memory. Memory shared with pieces on their way to a
    /// client stays, for the next pieces.
    fn lend(&mut self) {
        let is_small = self.buffer.is_empty() && self.at_a_time == FEW;
        if is_small && self.buffer.try_reclaim(FEW) {
            buffers::keep(&SPARES, std::mem::take(&mut self.buffer));
        }
    }

    /// Writes as much of several slices as it can.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => vectored::poll_write(Pin::new(stream), cx, slices),
            Stream::Tls(stream) => vectored::poll_write(Pin::new(stream), cx, slices),
        }
    }

    /// Sends what the TLS layer holds back. A plain socket holds nothing back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// True if the upstream has neither closed the connection nor sent anything unasked.
    pub(super) fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        self.buffer.is_empty() && self.poll_fill(cx).is_pending()
    }

    /// Frees the memory that a large answer needed.
    pub(super) fn rest(&mut self) {
        if self.at_a_time > FEW {
            (self.buffer, self.at_a_time) = (BytesMut::new(), FEW);
        }
    }
}

/// Shows no bytes of an answer.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}
