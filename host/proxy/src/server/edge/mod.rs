//! The client's side of a connection: a strict gate in front of hyper.
//!
//! hyper accepts some ambiguous requests. Its own answer to unreadable input has no error object.
//! While unread input is buffered, it does not notice that a client left. So the bytes of a
//! connection pass through this gate first:
//!
//! - hyper gets the bytes of one request at a time, and only of a request that [`RequestFraming`]
//!   accepts.
//! - In place of a refused request hyper gets [`STAND_IN`]. The service answers it with the
//!   refusal, in order after the answers before it. Nothing after it is read as a request.
//! - The service reads a body of known length itself, and hyper is told that there is none.
//! - A body that fails on its way ends with an error that holds the refusal.
//! - Before and while a request is answered the socket is read ahead ([`watch`]). A client that
//!   leaves ends the request at once. A half-closed connection counts as gone.

mod buffer;
mod clock;
mod closing;
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
use http1::request::{RequestFraming, refusals};

use crate::stop::{Stage, Stop};
use crate::vectored;
use routing::Phase;

use super::ON_ITS_WAY;
use closing::Closing;
use link::Link;
pub(super) use link::Requests;
use source::Source;
pub(super) use watch::{Watch, http};

/// What hyper reads in place of a refused request.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// Time that a client has to read its error after the deadline of its request.
const TO_READ: Duration = Duration::from_secs(1);

/// A client's connection, as hyper reads and writes it.
#[derive(Debug)]
pub(super) struct Edge {
    limits: ClientTimeouts,
    framing: RequestFraming,
    /// Bytes at the start of the buffer that hyper may have.
    good: usize,
    link: Rc<Link>,
    /// When the client stopped reading. None: it reads.
    stalled: Option<Instant>,
    closing: Option<Closing>,
    stop: Arc<Stop>,
    /// When the gate first saw that nothing is accepted any more.
    draining: Option<Instant>,
}

impl Drop for Edge {
    fn drop(&mut self) {
        if self.link.is_broken() {
            // An orderly close would make the answer look whole. If the reset fails, the socket is
            // gone already.
            let _ = self.link.source.borrow().stream.set_zero_linger();
        }
    }
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
            framing: RequestFraming::start(),
            good: 0,
            link: Rc::clone(&link),
            stalled: None,
            closing: None,
            stop,
            draining: None,
        };
        (edge, Requests(Rc::clone(&link)), Watch::new(link, limits.idle))
    }

    /// Judges the buffered bytes, unless bytes that passed still wait for hyper.
    fn judge(&mut self) -> Result<(), Refusal> {
        let mut source = self.link.source.borrow_mut();
        if self.good > 0 || source.buffer.is_empty() {
            return Ok(());
        }
        let in_head = self.framing.in_head();
        let mut verdict = self.framing.advance(source.buffer.filled())?;
        verdict.remove_ignored(source.buffer.filled_mut());
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

    /// Gives hyper the bytes that passed.
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

    /// Records whether hyper has yet to get a part of the request.
    fn tell_partial(&self) {
        self.link.set_partial(self.good > 0 || !matches!(self.framing, RequestFraming::End));
    }

    /// Refuses the request and everything after it. Within a body the refusal is returned as an
    /// error; before that the stand-in takes the place of the request.
    fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        self.link.end_requests();
        let mut source = self.link.source.borrow_mut();
        if !self.framing.in_head() {
            self.framing = RequestFraming::End;
            source.buffer.clear();
            return Err(io::Error::other(refusal));
        }
        self.framing = RequestFraming::End;
        self.link.set_partial(false);
        self.link.stand_in_for(refusal);
        self.link.begin();
        source.buffer.put(STAND_IN);
        self.good = STAND_IN.len();
        Ok(())
    }

    /// Reads more of the request. False: the client left, or was silent for too long.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut source = self.link.source.borrow_mut();
        source.buffer.grow();
        let fresh = self.framing.in_head() && source.buffer.is_empty();
        if let Poll::Ready(read) = source.fill(cx) {
            let read = read?;
            source.gone = read == 0;
            // The time limit of a head starts with its first byte.
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

    /// The deadline for the client's next bytes, and the refusal that it gets then. None: the
    /// connection is closed without an answer.
    fn due(&mut self) -> (Instant, Option<Refusal>) {
        let stage = self.stop.stage();
        let source = self.link.source.borrow();
        match &self.framing {
            // At the end of the shutdown no request is waited for.
            RequestFraming::Head(_) if stage == Stage::Over => (source.since, None),
            RequestFraming::Head(_) if source.buffer.is_empty() => {
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
            RequestFraming::Head(_) => {
                (source.since + self.limits.headers, Some(refusals::HEAD_SLOW))
            }
            _ => (source.since + self.limits.idle, Some(refusals::BODY_SLOW)),
        }
    }

    /// Gives up on a client that reads nothing, or reads its answer so slowly that the deadline of
    /// the request has passed. While hyper waits to write, nothing else checks a time limit.
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
            // A client that still reads gets time to read that its request failed.
            self.link.end().map(|end| (end + TO_READ, Phase::Total)),
        ];
        let first = limits.into_iter().flatten().min_by_key(|(due, _)| *due);
        if let Some((_, phase)) = first.filter(|(due, _)| self.link.is_past(*due, cx)) {
            self.link.give_up(phase);
            // A reset drops the unsent bytes, and shows the client that the answer is cut. If the
            // system refuses the option, the connection is closed like any other.
            let _ = self.link.source.borrow().stream.set_zero_linger();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Whether the client may still be sending: a request is under way, or input was left unread.
    fn is_owed(&self) -> bool {
        let source = self.link.source.borrow();
        let between = match self.framing {
            RequestFraming::Head(_) | RequestFraming::End => {
                source.buffer.is_empty() && source.left() == 0
            }
            RequestFraming::Body(_) | RequestFraming::Chunked(_) => false,
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
                // The service answers with the refusal at once, which ends the connection.
                RequestFraming::End if edge.link.is_refused() => return Poll::Pending,
                RequestFraming::End if edge.link.is_busy() => {
                    // hyper has written the end of an answer, but has not dropped its body yet.
                    edge.link.wait(cx);
                    return Poll::Pending;
                }
                RequestFraming::End => {
                    edge.framing = RequestFraming::start();
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

    /// Ends the answer. If the client may still be sending, its input is then read and dropped for
    /// a while.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let edge = self.get_mut();
        let closing = match &mut edge.closing {
            Some(closing) => closing,
            None => {
                ready!(Pin::new(&mut edge.link.source.borrow_mut().stream).poll_shutdown(cx))?;
                if !edge.is_owed() {
                    return Poll::Ready(Ok(()));
                }
                edge.closing.insert(Closing::begin())
            }
        };
        closing.poll_drop_input(&edge.link, cx).map(Ok)
    }
}
