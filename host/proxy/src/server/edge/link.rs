//! State that the two ends of a connection share: the gate, which has its bytes, and the service.
//! Both run in one task.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use hyper::{Response, Version};
use tokio::time::Instant;

use http1::Refusal;
use routing::Phase;

use crate::attempts::{Body, BoxError};

use super::clock::Clock;
use super::source::Source;
use super::upload::Upload;

/// The shared state of one connection. `partial` is about the current request. `end`, `unframed`
/// and `written` are about the answer that was begun last. `refused`, `given_up` and `broken` are
/// never reset: the connection ends after them.
#[derive(Debug)]
pub(in crate::server) struct Link {
    /// The client's input. The gate reads it for hyper; the service reads a body of known length.
    pub(super) source: RefCell<Source>,
    clock: RefCell<Clock>,
    /// No request has been answered on this connection.
    is_new: Cell<bool>,
    /// The refusal that answers the stand-in that hyper was given.
    refusal: Cell<Option<Refusal>>,
    /// No more input is read as a request.
    refused: Cell<bool>,
    /// A request is being answered.
    busy: Cell<bool>,
    /// hyper has yet to get bytes of the request's head, or of a body that hyper reads.
    partial: Cell<bool>,
    /// When the last answer ended. None before the first.
    idle_since: Cell<Option<Instant>>,
    /// Deadline of the answer that was begun last.
    end: Cell<Option<Instant>>,
    /// The time limit at which the client was given up.
    given_up: Cell<Option<Phase>>,
    /// Only the close of the connection marks the end of the answer.
    unframed: Cell<bool>,
    /// An unframed answer failed: the connection must not close as if the answer were whole.
    broken: Cell<bool>,
    /// Everything that hyper got of the answer has been written.
    written: Cell<bool>,
    /// Wakes the answer when `written` becomes true.
    unwritten: RefCell<Option<Waker>>,
    /// Wakes the connection when the answer ends, if hyper asked for the next request before that.
    waiting: RefCell<Option<Waker>>,
}

impl Link {
    /// The link of a new connection. `first`: time limit for the first request.
    pub(super) fn new(source: Source, first: Duration) -> Self {
        Self {
            source: RefCell::new(source),
            clock: RefCell::new(Clock::new(first)),
            is_new: Cell::new(true),
            refusal: Cell::default(),
            refused: Cell::default(),
            busy: Cell::default(),
            partial: Cell::default(),
            idle_since: Cell::default(),
            end: Cell::default(),
            given_up: Cell::default(),
            unframed: Cell::default(),
            broken: Cell::default(),
            written: Cell::default(),
            unwritten: RefCell::default(),
            waiting: RefCell::default(),
        }
    }

    /// Makes the current request the last one.
    pub(super) fn end_requests(&self) {
        self.refused.set(true);
    }

    /// Whether no more input is read as a request.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.get()
    }

    /// Marks the request that hyper is given now as the stand-in for a refused one.
    pub(super) fn stand_in_for(&self, refusal: Refusal) {
        self.refusal.set(Some(refusal));
    }

    /// Marks that hyper is given a request.
    pub(super) fn begin(&self) {
        self.busy.set(true);
    }

    /// Sets whether hyper has yet to get a part of that request.
    pub(super) fn set_partial(&self, partial: bool) {
        self.partial.set(partial);
    }

    /// Whether that request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// Whether a request is being answered that has arrived whole and is not refused. Nothing but
    /// [`Watch`](super::Watch) then notices that its client leaves.
    pub(super) fn is_watched(&self) -> bool {
        let has_come = !self.partial.get() && self.source.borrow().left() == 0;
        self.busy.get() && !self.refused.get() && has_come
    }

    /// Whether `due` has passed. If not, the connection is woken then.
    pub(super) fn is_past(&self, due: Instant, cx: &mut Context<'_>) -> bool {
        self.clock.borrow_mut().is_past(due, cx)
    }

    /// Wakes the connection after at most this time.
    pub(super) fn wake_within(&self, at_most: Duration, cx: &mut Context<'_>) {
        if self.is_past(Instant::now() + at_most, cx) {
            cx.waker().wake_by_ref();
        }
    }

    /// When the last answer ended.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.idle_since.get()
    }

    /// Deadline for writing the answer. None: there is no deadline.
    pub(super) fn end(&self) -> Option<Instant> {
        self.end.get()
    }

    /// Records that the connection is given up. The body of the answer learns it when it is
    /// dropped.
    pub(super) fn give_up(&self, phase: Phase) {
        self.given_up.set(Some(phase));
    }

    /// True if an answer without length or chunks failed or is not fully written. Closing cleanly
    /// would make it look complete.
    pub(super) fn is_broken(&self) -> bool {
        let is_whole = !self.busy.get() && self.written.get();
        self.broken.get() || (self.unframed.get() && !is_whole)
    }

    /// Records that hyper has written everything.
    pub(super) fn wrote(&self) {
        self.written.set(true);
        if let Some(answer) = self.unwritten.take() {
            answer.wake();
        }
    }

    /// Wakes the connection when the answer ends.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        self.waiting.replace(Some(cx.waker().clone()));
    }
}

/// The service's end of a connection.
#[derive(Debug, Clone)]
pub(in crate::server) struct Requests(pub(super) Rc<Link>);

impl Requests {
    /// Begins an answer. A refusal means that the request is a stand-in and is answered with it.
    pub(in crate::server) fn begin(&self) -> (Answering, Option<Refusal>) {
        (Answering(Rc::clone(&self.0)), self.0.refusal.take())
    }

    /// The body of the request that begins. `incoming` is what hyper has of it.
    pub(in crate::server) fn upload(&self, incoming: Incoming) -> Upload {
        let mut source = self.0.source.borrow_mut();
        match source.take_whole() {
            Some(body) => Upload::Whole(body),
            None if source.left() > 0 => Upload::Apart(Rc::clone(&self.0)),
            None => Upload::Hyper(incoming),
        }
    }
}

/// An answer under way, from the arrival of the request until its body is dropped. The next request
/// waits for that.
#[derive(Debug)]
pub(in crate::server) struct Answering(Rc<Link>);

impl Answering {
    /// Resolves if the client is still there, and waits for ever if it has left:
    /// [`Watch`](super::Watch) then ends the connection, and no work is begun for the client. Until
    /// then nothing has looked for it: hyper calls the service first.
    pub(in crate::server) async fn client(&self) {
        let link = &self.0;
        let is_new = link.is_new.replace(false);
        let look = |cx: &mut Context<'_>| match link.poll_gone(cx) {
            Poll::Ready(()) => Poll::Pending,
            Poll::Pending if is_new && link.is_watched() && link.source.borrow().has_ended() => {
                Poll::Pending
            }
            Poll::Pending => Poll::Ready(()),
        };
        poll_fn(look).await;
    }

    /// Ties the end of the answer to that of its body. An answer that comes before the whole
    /// request ends the connection and says so: unread input could be taken for the next request.
    pub(in crate::server) fn until(
        self,
        mut response: Response<Body>,
        version: Version,
    ) -> Response<Answer> {
        if self.0.partial.get() || self.0.source.borrow().left() > 0 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // Mirrors hyper's framing: HTTP/1.0 has no chunks.
        let has_length = response.headers().contains_key(CONTENT_LENGTH)
            || response.body().size_hint().exact().is_some();
        self.0.unframed.set(version == Version::HTTP_10 && !has_length);
        self.0.end.set(response.body().end());
        self.0.written.set(false);
        response.map(|body| Answer { body, broken: None, answering: self })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.idle_since.set(Some(Instant::now()));
        if let Some(waiting) = self.0.waiting.take() {
            waiting.wake();
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(in crate::server) struct Answer {
    body: Body,
    /// The error of a failed body. hyper gets it only when everything before it has been written.
    /// On an error hyper drops unwritten bytes, and the error event for the client would be among
    /// them.
    broken: Option<BoxError>,
    answering: Answering,
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(phase) = self.answering.0.given_up.get() {
            self.body.give_up(phase);
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let answer = self.get_mut();
        let link = &answer.answering.0;
        if answer.broken.is_none() {
            match ready!(Pin::new(&mut answer.body).poll_frame(cx)) {
                Some(Err(error)) => answer.broken = Some(error),
                frame => {
                    link.written.set(false);
                    return Poll::Ready(frame);
                }
            }
        }
        if !link.written.get() {
            link.unwritten.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        link.broken.set(link.unframed.get());
        Poll::Ready(answer.broken.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
