//! What the two ends of a connection, its bytes and its service, know of each other. Both run in one
//! task.

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

/// See the module.
#[derive(Debug)]
pub(in crate::server) struct Link {
    /// What comes from the client: read for hyper, a body of known length by the service.
    pub(super) source: RefCell<Source>,
    clock: RefCell<Clock>,
    /// No request has been answered on it.
    is_new: Cell<bool>,
    /// Why the next request is none.
    refusal: Cell<Option<Refusal>>,
    /// Nothing is read any more as a request.
    refused: Cell<bool>,
    /// Whether a request is being answered, and since when none is.
    busy: Cell<bool>,
    /// Whether bytes of its head, or of a body that hyper reads, are still to be given to hyper.
    partial: Cell<bool>,
    idle_since: Cell<Option<Instant>>,
    /// When the last answer that was begun must be over.
    end: Cell<Option<Instant>>,
    /// At which time limit the client was given up.
    given_up: Cell<Option<Phase>>,
    /// The answer ends with its connection, and nothing else says that it is whole.
    unframed: Cell<bool>,
    /// It failed on its way: the connection must not end as if it were whole.
    broken: Cell<bool>,
    /// All that hyper was given of the answer has been written.
    written: Cell<bool>,
    /// The answer, where it waits for that.
    unwritten: RefCell<Option<Waker>>,
    /// The connection, where hyper has asked for the next request before the answer's end.
    waiting: RefCell<Option<Waker>>,
}

impl Link {
    /// Of a connection whose first request is waited for so long.
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

    /// Says that nothing more is read as a request.
    pub(super) fn end_requests(&self) {
        self.refused.set(true);
    }

    /// Whether nothing more is.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.get()
    }

    /// Says that the request which hyper is given now stands for one that is refused.
    pub(super) fn stand_in_for(&self, refusal: Refusal) {
        self.refusal.set(Some(refusal));
    }

    /// Says that hyper is given a request.
    pub(super) fn begin(&self) {
        self.busy.set(true);
    }

    /// Says whether there is more of that request to come.
    pub(super) fn set_partial(&self, partial: bool) {
        self.partial.set(partial);
    }

    /// Whether that request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// Whether a request that has come whole, and is not refused, is being answered: nobody else looks after its client.
    pub(super) fn is_watched(&self) -> bool {
        let has_come = !self.partial.get() && self.source.borrow().left() == 0;
        self.busy.get() && !self.refused.get() && has_come
    }

    /// Whether it is later than `due`. If not, the connection is woken then.
    pub(super) fn is_past(&self, due: Instant, cx: &mut Context<'_>) -> bool {
        self.clock.borrow_mut().is_past(due, cx)
    }

    /// Wakes the connection after `at_most`, or earlier.
    pub(super) fn wake_within(&self, at_most: Duration, cx: &mut Context<'_>) {
        if self.is_past(Instant::now() + at_most, cx) {
            cx.waker().wake_by_ref();
        }
    }

    /// When the last answer ended.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.idle_since.get()
    }

    /// When the answer must have been written. None: there is no such time.
    pub(super) fn end(&self) -> Option<Instant> {
        self.end.get()
    }

    /// Says that the connection is given up, for what is left of the answer.
    pub(super) fn give_up(&self, phase: Phase) {
        self.given_up.set(Some(phase));
    }

    /// Whether an answer failed, or was not yet written, whose end nothing but an orderly end of the connection tells.
    pub(super) fn is_broken(&self) -> bool {
        let is_whole = !self.busy.get() && self.written.get();
        self.broken.get() || (self.unframed.get() && !is_whole)
    }

    /// Says that all there is to write has been written.
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

/// The service's end.
#[derive(Debug, Clone)]
pub(in crate::server) struct Requests(pub(super) Rc<Link>);

impl Requests {
    /// Begins an answer: to a request, or to one that is refused.
    pub(in crate::server) fn begin(&self) -> (Answering, Option<Refusal>) {
        (Answering(Rc::clone(&self.0)), self.0.refusal.take())
    }

    /// The body of the request that begins, of which hyper has `incoming`.
    pub(in crate::server) fn upload(&self, incoming: Incoming) -> Upload {
        let mut source = self.0.source.borrow_mut();
        match source.take_whole() {
            Some(body) => Upload::Whole(body),
            None if source.left() > 0 => Upload::Apart(Rc::clone(&self.0)),
            None => Upload::Hyper(incoming),
        }
    }
}

/// An answer under way, from the request's arrival to the last byte given to hyper. While it lives
/// the next request waits.
#[derive(Debug)]
pub(in crate::server) struct Answering(Rc<Link>);

impl Answering {
    /// Waits for ever where the client has left already: its connection is then ended by [`Watch`](super::Watch), and
    /// nothing is begun for it. hyper begins to answer before anybody has looked.
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

    /// Ties the end of the answer to that of its body. An answer that comes before the whole request
    /// is the connection's last, for what is left unread cannot be told from the next request, and says
    /// so.
    pub(in crate::server) fn until(
        self,
        mut response: Response<Body>,
        version: Version,
    ) -> Response<Answer> {
        if self.0.partial.get() || self.0.source.borrow().left() > 0 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // As hyper frames it: there are no chunks in HTTP/1.0.
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
    /// The body has failed, of which hyper is told when all before that has been written: it drops what
    /// has not, and the client's word of the failure with it.
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
