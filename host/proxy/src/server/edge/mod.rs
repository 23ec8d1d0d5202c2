//! The client's side of a connection: a strict gate in front of hyper.
//!
//! hyper reads some of what has no one meaning, answers what it does not read without an error
//! object, and does not see a client leave that has sent more than it was answered. So the bytes of a
//! connection come through here first:
//!
//! - hyper is given the bytes of one request at a time, and only of one that [`framing`] accepts;
//! - in the place of one that is refused hyper is given [`STAND_IN`], which the service answers with
//!   the refusal, in order behind the answers before it; nothing after it is read as a request;
//! - a body of known length is read by the service, past hyper, which is told of none;
//! - a body that goes wrong on its way ends with an error that holds the refusal;
//! - before and while a request is answered the socket is read ahead ([`watch`]), so that a client that goes away (a
//!   half-closed connection counts as gone) ends the request at once.

mod buffer;
mod clock;
mod link;
mod source;
#[cfg(test)]
mod tests;
mod upload;
mod watch;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use config::ClientTimeouts;
use http1::Refusal;
use http1::request::{Framing, refusals};

use crate::stop::{Stage, Stop};
use crate::vectored;
use routing::Phase;

use super::ON_ITS_WAY;
use link::Link;
pub(super) use link::Requests;
use source::Source;
pub(super) use watch::{Watch, http};

/// What hyper reads in the place of a request that is refused.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// How long a client is still waited for when its request's time is over.
const TO_READ: Duration = Duration::from_secs(1);
/// What a client may still send, and for how long, before its connection is closed under it: closing
/// with bytes unread would reset the connection and destroy the answer.
const LINGER_BYTES: usize = 256 << 10;
const LINGER: Duration = Duration::from_secs(2);

/// A client's connection, as hyper reads and writes it.
#[derive(Debug)]
pub(super) struct Edge {
    limits: ClientTimeouts,
    framing: Framing,
    /// Bytes at the start of what was read that hyper may have.
    good: usize,
    link: Rc<Link>,
    /// Since when the client has not taken what is written.
    stalled: Option<Instant>,
    closing: Option<Closing>,
    stop: Arc<Stop>,
    /// When it was seen that nothing is accepted any more.
    draining: Option<Instant>,
}

impl Drop for Edge {
    fn drop(&mut self) {
        if self.link.is_broken() {
            // An orderly end would say that the answer is whole. A socket that cannot be reset is gone.
            let _ = self.link.source.borrow().stream.set_zero_linger();
        }
    }
}

/// The end of a connection whose client may still be sending.
#[derive(Debug)]
struct Closing {
    due: Instant,
    bytes: usize,
}

impl Edge {
    pub(super) fn new(
        stream: TcpStream,
        limits: ClientTimeouts,
        stop: Arc<Stop>,
    ) -> (Self, Requests, Watch) {
        let link = Rc::new(Link::new(Source::new(stream), limits.headers));
        let edge = Self {
            limits,
            framing: Framing::start(),
            good: 0,
            link: Rc::clone(&link),
            stalled: None,
            closing: None,
            stop,
            draining: None,
        };
        (edge, Requests(Rc::clone(&link)), Watch::new(link, limits.idle))
    }

    /// Judges what was read until something may pass, or the request has come whole.
    fn judge(&mut self) -> Result<(), Refusal> {
        let mut source = self.link.source.borrow_mut();
        if self.good > 0 || source.buffer.is_empty() {
            return Ok(());
        }
        let in_head = self.framing.in_head();
        let verdict = self.framing.advance(source.buffer.filled())?;
        if let Some(body) = verdict.apart {
            source.set_apart(&body);
        }
        source.buffer.consume(verdict.skip);
        self.good = verdict.pass;
        if in_head && !self.framing.in_head() {
            self.link.begin();
        }
        self.tell_partial();
        Ok(())
    }

    /// Gives hyper what it may have.
    fn pass(&mut self, to: &mut ReadBuf<'_>) {
        let mut source = self.link.source.borrow_mut();
        let bytes = self.good.min(to.remaining());
        to.put_slice(&source.buffer.filled()[..bytes]);
        source.buffer.consume(bytes);
        self.good -= bytes;
        if self.good == 0 {
            source.begin_body();
        }
        self.tell_partial();
    }

    /// Says whether hyper is still to be given some of the request.
    fn tell_partial(&self) {
        self.link.set_partial(self.good > 0 || !matches!(self.framing, Framing::End));
    }

    /// Refuses the rest of the connection.
    fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        self.link.end_requests();
        let mut source = self.link.source.borrow_mut();
        if !self.framing.in_head() {
            self.framing = Framing::End;
            source.buffer.clear();
            return Err(io::Error::other(refusal));
        }
        self.framing = Framing::End;
        self.link.set_partial(false);
        self.link.stand_in_for(refusal);
        self.link.begin();
        source.buffer.put(STAND_IN);
        self.good = STAND_IN.len();
        Ok(())
    }

    /// Reads more of the request. False: the client is gone, or has been silent for as long as it may.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut source = self.link.source.borrow_mut();
        source.buffer.grow();
        let fresh = self.framing.in_head() && source.buffer.is_empty();
        if let Poll::Ready(read) = source.fill(cx) {
            let read = read?;
            source.gone = read == 0;
            // The time of a head runs from its first byte.
            if fresh || !self.framing.in_head() {
                source.since = Instant::now();
            }
            return Poll::Ready(Ok(read > 0));
        }
        drop(source);
        let (due, refusal) = self.due();
        if !self.link.is_past(due, cx) {
            return Poll::Pending;
        }
        match refusal {
            Some(refusal) => Poll::Ready(self.refuse(refusal).map(|()| true)),
            None => Poll::Ready(Ok(false)),
        }
    }

    /// How long the client is waited for, and what it is told then.
    fn due(&mut self) -> (Instant, Option<Refusal>) {
        let stage = self.stop.stage();
        let source = self.link.source.borrow();
        match &self.framing {
            // The end of a process waits for no request.
            Framing::Head(_) if stage == Stage::Over => (source.since, None),
            Framing::Head(_) if source.buffer.is_empty() => {
                let idle = self.link.idle_since();
                let due = match idle {
                    Some(idle) => idle + self.limits.keep_alive,
                    None => source.since + self.limits.headers,
                };
                if stage < Stage::Draining {
                    return (due, None);
                }
                let draining = *self.draining.get_or_insert_with(Instant::now);
                let quiet = idle.map_or(draining, |idle| idle.max(draining));
                (due.min(quiet + ON_ITS_WAY), None)
            }
            Framing::Head(_) => (source.since + self.limits.headers, Some(refusals::HEAD_SLOW)),
            _ => (source.since + self.limits.idle, Some(refusals::BODY_SLOW)),
        }
    }

    /// Gives up on a client that takes nothing, or takes its answer so slowly that the request's time
    /// is over: while hyper waits to write, nobody else's time limit is looked at.
    fn taken(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        let limits = [
            Some((since + self.limits.idle, Phase::ClientIdle)),
            // A client that reads has time to read that its request failed.
            self.link.end().map(|end| (end + TO_READ, Phase::Total)),
        ];
        let first = limits.into_iter().flatten().min_by_key(|(due, _)| *due);
        if let Some((_, phase)) = first.filter(|(due, _)| self.link.is_past(*due, cx)) {
            self.link.give_up(phase);
            // A reset: what the client has not taken is dropped, and it sees that there was more. Where
            // the system refuses, it is closed like any other.
            let _ = self.link.source.borrow().stream.set_zero_linger();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Whether a request is under way, or bytes of one were not read.
    fn is_owed(&self) -> bool {
        let source = self.link.source.borrow();
        let between = match self.framing {
            Framing::Head(_) | Framing::End => source.buffer.is_empty() && source.left() == 0,
            Framing::Body(_) | Framing::Chunked(_) => false,
        };
        !source.gone && (self.link.is_refused() || !between)
    }
}

impl AsyncRead for Edge {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let edge = self.get_mut();
        loop {
            if let Err(refusal) = edge.judge() {
                edge.refuse(refusal)?;
            }
            if edge.good > 0 {
                edge.pass(to);
                return Poll::Ready(Ok(()));
            }
            match edge.framing {
                // The service answers at once, and with that the connection ends.
                Framing::End if edge.link.is_refused() => return Poll::Pending,
                Framing::End if edge.link.is_busy() => {
                    // hyper has written the last of an answer whose body it has not dropped yet.
                    edge.link.wait(cx);
                    return Poll::Pending;
                }
                Framing::End => {
                    edge.framing = Framing::start();
                    edge.link.source.borrow_mut().since = Instant::now();
                }
                _ => {
                    if !ready!(edge.poll_more(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl AsyncWrite for Edge {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let edge = self.get_mut();
        let written = Pin::new(&mut edge.link.source.borrow_mut().stream).poll_write(cx, bytes);
        edge.taken(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let edge = self.get_mut();
        let written =
            vectored::poll_write(Pin::new(&mut edge.link.source.borrow_mut().stream), cx, slices);
        edge.taken(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.source.borrow().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let edge = self.get_mut();
        ready!(Pin::new(&mut edge.link.source.borrow_mut().stream).poll_flush(cx))?;
        edge.link.wrote();
        Poll::Ready(Ok(()))
    }

    /// Ends the answer; then, where the client may still be sending, reads and forgets that for a while.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let edge = self.get_mut();
        let closing = match &mut edge.closing {
            Some(closing) => closing,
            None => {
                ready!(Pin::new(&mut edge.link.source.borrow_mut().stream).poll_shutdown(cx))?;
                if !edge.is_owed() {
                    return Poll::Ready(Ok(()));
                }
                edge.closing.insert(Closing { due: Instant::now() + LINGER, bytes: 0 })
            }
        };
        let mut source = edge.link.source.borrow_mut();
        while closing.bytes < LINGER_BYTES {
            source.buffer.clear();
            match source.fill(cx) {
                Poll::Ready(Ok(bytes @ 1..)) => closing.bytes += bytes,
                Poll::Ready(_) => break,
                Poll::Pending if edge.link.is_past(closing.due, cx) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
