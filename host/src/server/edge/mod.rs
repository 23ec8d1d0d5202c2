//! The client's side of a connection: a strict gate in front of hyper.
//!
//! hyper reads some of what has no one meaning, answers what it does not read without an error
//! object, and does not see a client leave that has sent more than it was answered. So the bytes of a
//! connection come through here first:
//!
//! - hyper is given the bytes of one request at a time, and only of one that [`framing`] accepts;
//! - in the place of one that is refused hyper is given [`STAND_IN`], which the service answers with
//!   the refusal, in order behind the answers before it; nothing after it is read as a request;
//! - a body that goes wrong on its way ends with an error that holds the refusal;
//! - while a request is answered the socket is read ahead, so that a client that goes away (a half-closed
//!   connection counts as gone) ends the request at once.

mod buffer;
mod chunked;
mod clock;
mod field;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod head;
mod link;
mod refusals;
mod target;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::api::Refusal;
use crate::config::ClientTimeouts;
use crate::execution::Phase;
use crate::stop::{Stage, Stop};

use super::ON_ITS_WAY;
use buffer::Buffer;
use clock::Clock;
use framing::Framing;
use link::Link;
pub(super) use link::Requests;

/// What hyper reads in the place of a request that is refused.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// How often a client is looked for behind bytes that cannot be read yet.
const LOOK: Duration = Duration::from_millis(250);
/// A connection that is busy is not woken for its time limits more often.
const SELDOM: Duration = Duration::from_secs(1);
/// How long a client is still waited for when its request's time is over.
const TO_READ: Duration = Duration::from_secs(1);
/// What a client may still send, and for how long, before its connection is closed under it: closing
/// with bytes unread would reset the connection and destroy the answer.
const LINGER_BYTES: usize = 256 << 10;
const LINGER: Duration = Duration::from_secs(2);

/// A client's connection, as hyper reads and writes it.
#[derive(Debug)]
pub(super) struct Edge {
    stream: TcpStream,
    limits: ClientTimeouts,
    framing: Framing,
    buffer: Buffer,
    /// Bytes at the start of the buffer that hyper may have.
    good: usize,
    link: Rc<Link>,
    clock: Clock,
    /// When the client last sent something that was waited for.
    since: Instant,
    refused: bool,
    gone: bool,
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
            let _ = self.stream.set_zero_linger();
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
    ) -> (Self, Requests) {
        let link = Rc::<Link>::default();
        let edge = Self {
            stream,
            limits,
            framing: Framing::start(),
            buffer: Buffer::default(),
            good: 0,
            link: Rc::clone(&link),
            clock: Clock::new(limits.headers),
            since: Instant::now(),
            refused: false,
            gone: false,
            stalled: None,
            closing: None,
            stop,
            draining: None,
        };
        (edge, Requests(link))
    }

    /// Judges what is in the buffer until something may pass, or the request has come whole.
    fn judge(&mut self) -> Result<(), Refusal> {
        if self.good > 0 || self.buffer.is_empty() {
            return Ok(());
        }
        let in_head = self.framing.in_head();
        let verdict = self.framing.advance(self.buffer.filled())?;
        self.buffer.consume(verdict.skip);
        self.good = verdict.pass;
        if in_head && !self.framing.in_head() {
            self.link.begin();
        }
        self.tell_partial();
        Ok(())
    }

    /// Gives hyper what it may have.
    fn pass(&mut self, to: &mut ReadBuf<'_>) {
        let bytes = self.good.min(to.remaining());
        to.put_slice(&self.buffer.filled()[..bytes]);
        self.buffer.consume(bytes);
        self.good -= bytes;
        self.tell_partial();
    }

    /// Says whether hyper is still to be given some of the request.
    fn tell_partial(&self) {
        self.link.set_partial(self.good > 0 || !matches!(self.framing, Framing::End));
    }

    /// Refuses the rest of the connection.
    fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        self.refused = true;
        if !self.framing.in_head() {
            self.framing = Framing::End;
            self.buffer.clear();
            return Err(io::Error::other(refusal));
        }
        self.framing = Framing::End;
        self.link.set_partial(false);
        self.link.refuse(refusal);
        self.link.begin();
        self.buffer.put(STAND_IN);
        self.good = STAND_IN.len();
        Ok(())
    }

    /// Reads more of the request. False: the client is gone, or has been silent for as long as it may.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.buffer.grow();
        let fresh = self.framing.in_head() && self.buffer.is_empty();
        if let Poll::Ready(read) = self.buffer.fill(&mut self.stream, cx) {
            let read = read?;
            self.gone = read == 0;
            // The time of a head runs from its first byte.
            if fresh || !self.framing.in_head() {
                self.since = Instant::now();
            }
            return Poll::Ready(Ok(read > 0));
        }
        let (due, refusal) = self.due();
        if !self.clock.is_past(due, cx) {
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
        match &self.framing {
            // The end of a process waits for no request.
            Framing::Head(_) if stage == Stage::Over => (self.since, None),
            Framing::Head(_) if self.buffer.is_empty() => {
                let idle = self.link.idle_since();
                let due = match idle {
                    Some(idle) => idle + self.limits.keep_alive,
                    None => self.since + self.limits.headers,
                };
                if stage < Stage::Draining {
                    return (due, None);
                }
                let draining = *self.draining.get_or_insert_with(Instant::now);
                let quiet = idle.map_or(draining, |idle| idle.max(draining));
                (due.min(quiet + ON_ITS_WAY), None)
            }
            Framing::Head(_) => (self.since + self.limits.headers, Some(refusals::HEAD_SLOW)),
            _ => (self.since + self.limits.idle, Some(refusals::BODY_SLOW)),
        }
    }

    /// Waits for the client to go while its request is answered.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.buffer.is_full() {
            match self.buffer.fill(&mut self.stream, cx) {
                Poll::Ready(Ok(0)) => {
                    self.gone = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(read) => drop(read?),
                Poll::Pending => {
                    // What comes next, or that nothing may, is seen once the answer has ended.
                    if !self.buffer.is_empty() || self.stop.stage() >= Stage::Draining {
                        self.link.wait(cx);
                    }
                    // hyper does not ask again when the answer ends: this wakes it for the next limit.
                    self.clock.wake(self.limits.keep_alive.max(SELDOM), cx);
                    return Poll::Pending;
                }
            }
        }
        // There is more to read, but no room: what the system knows of the connection is looked at.
        let ready = pin!(self.stream.ready(Interest::READABLE)).poll(cx);
        if matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed()) {
            self.gone = true;
            return Poll::Ready(Ok(()));
        }
        self.link.wait(cx);
        self.clock.wake(LOOK, cx);
        Poll::Pending
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
        if let Some((_, phase)) = first.filter(|(due, _)| self.clock.is_past(*due, cx)) {
            self.link.give_up(phase);
            // A reset: what the client has not taken is dropped, and it sees that there was more. Where
            // the system refuses, it is closed like any other.
            let _ = self.stream.set_zero_linger();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Whether a request is under way, or bytes of one were not read.
    fn is_owed(&self) -> bool {
        let between = match self.framing {
            Framing::Head(_) | Framing::End => self.buffer.is_empty(),
            Framing::Body(_) | Framing::Chunked(_) => false,
        };
        !self.gone && (self.refused || !between)
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
                // What has come of a body with its head goes with it: for another read hyper would take memory of
                // its own. There is nothing to refuse in one of known length.
                let more = edge.good == 0 && !edge.buffer.is_empty() && to.remaining() > 0;
                if more && matches!(edge.framing, Framing::Body(_)) {
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            match edge.framing {
                // The service answers at once, and with that the connection ends.
                Framing::End if edge.refused => return Poll::Pending,
                Framing::End if edge.link.is_busy() => return edge.poll_gone(cx),
                Framing::End => {
                    edge.framing = Framing::start();
                    edge.since = Instant::now();
                }
                // Most of a long body needs no second look, and no copy.
                Framing::Body(left) if edge.buffer.is_empty() && left >= to.remaining() as u64 => {
                    let before = to.filled().len();
                    if let Poll::Ready(read) = Pin::new(&mut edge.stream).poll_read(cx, to) {
                        let read = read.map(|()| to.filled().len() - before)?;
                        edge.framing.took(read);
                        edge.link.set_partial(!matches!(edge.framing, Framing::End));
                        edge.since = Instant::now();
                        edge.gone = read == 0;
                        return Poll::Ready(Ok(()));
                    }
                    let (due, _) = edge.due();
                    if !edge.clock.is_past(due, cx) {
                        return Poll::Pending;
                    }
                    edge.refuse(refusals::BODY_SLOW)?;
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
        let written = Pin::new(&mut edge.stream).poll_write(cx, bytes);
        edge.taken(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let edge = self.get_mut();
        let written = Pin::new(&mut edge.stream).poll_write_vectored(cx, slices);
        edge.taken(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let edge = self.get_mut();
        ready!(Pin::new(&mut edge.stream).poll_flush(cx))?;
        edge.link.wrote();
        Poll::Ready(Ok(()))
    }

    /// Ends the answer; then, where the client may still be sending, reads and forgets that for a while.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let edge = self.get_mut();
        let closing = match &mut edge.closing {
            Some(closing) => closing,
            None => {
                ready!(Pin::new(&mut edge.stream).poll_shutdown(cx))?;
                if !edge.is_owed() {
                    return Poll::Ready(Ok(()));
                }
                edge.closing.insert(Closing { due: Instant::now() + LINGER, bytes: 0 })
            }
        };
        while closing.bytes < LINGER_BYTES {
            edge.buffer.clear();
            match edge.buffer.fill(&mut edge.stream, cx) {
                Poll::Ready(Ok(bytes @ 1..)) => closing.bytes += bytes,
                Poll::Ready(_) => break,
                Poll::Pending if edge.clock.is_past(closing.due, cx) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
