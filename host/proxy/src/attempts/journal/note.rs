//! What an attempt tells the journal while it is under way.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

/// The link between an attempt under way and the journal of its request.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct AttemptNote<'j> {
    /// The `x-request-id` of the answer.
    pub(in super::super) id: &'j str,
    /// When the request arrived.
    pub(in super::super) started: Instant,
    pub(in super::super) sent: &'j Cell<Option<Instant>>,
}

impl AttemptNote<'_> {
    /// Records that the attempt's request is written from `now` on.
    pub(in super::super) fn sending(&self, now: Instant) {
        self.sent.set(Some(now));
    }
}

/// When a request was last written.
#[derive(Debug)]
pub(super) enum Sent {
    /// One attempt is under way, and borrows the journal.
    Own(Cell<Option<Instant>>),
    /// Two may be under way, and the journal changes meanwhile.
    Shared(SharedSent),
}

/// [`Sent`] outside of the journal.
pub(in super::super) type SharedSent = Rc<Cell<Option<Instant>>>;

impl Sent {
    pub(super) fn cell(&self) -> &Cell<Option<Instant>> {
        match self {
            Self::Own(cell) => cell,
            Self::Shared(cell) => cell,
        }
    }
}
