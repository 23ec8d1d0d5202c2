//! The commit point: the moment when the first content of an answer goes to the client, and what a
//! failure means before and after it.
//!
//! ```text
//!            feed, end                     feed                    end
//!  Holding ------------> first content -> Passing -> ... ------------------> whole
//!     |  failed                              |  failed
//!     v                                      v
//!  the next deployment, unseen            told: an error event, then the connection is aborted
//! ```
//!
//! Before the commit nothing has gone to the client. After any failure another deployment can be
//! tried: no connection, a bad status, a body that ends early, an error object in an answer of
//! status 200. A stream commits at its first *content*. Roles, comments and keep-alives before it
//! are held. A plain answer commits when it is whole, or when it exceeds 1 MiB.
//!
//! An answer is passed as whole only if its framing and its content say so: one JSON object or
//! array, or a stream with the end that its kind has (`[DONE]`, finish reasons).
//!
//! After the commit a failure is reported to the client, never hidden, and the text of two engines
//! is never joined. An event that begins as an error is still held until it is whole: engines write
//! their addresses into errors, and the client gets the error without them.
//!
//! This module does no I/O. The code that reads from the upstream handles time-outs, and reports
//! how the body ended as an [`End`].

mod content;
mod events;
mod extra;
#[cfg(test)]
mod extra_tests;
mod held;
mod long;
#[cfg(test)]
mod model;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/oracle.rs"]
pub mod oracle;
mod plain;
mod repeat;
mod reported;
mod stream;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::Usage;
use crate::refusal::Words;

use content::Ending;
use events::Events;
use extra::Extra;
use held::Held;
use plain::Plain;
use repeat::Repeat;

/// In bytes. A stream that holds more than this without content commits anyway, but never within an
/// event that begins as an error.
const MOST_HELD_OF_A_STREAM: usize = 64 * 1024;
/// In bytes. A plain answer that is larger commits before it is whole. Smaller when fuzzing,
/// because a fuzzer's inputs do not reach a mebibyte.
const MOST_HELD_OF_A_BODY: usize = if cfg!(fuzzing) { 16 * 1024 } else { 1024 * 1024 };

/// How an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One JSON object or array.
    Plain,
    /// An event stream.
    Stream,
}

/// How the upstream ended a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The content length or the last chunk was reached: the body is complete.
    Framed,
    /// The connection was closed, and no length or chunk tells whether the body is complete.
    Closed,
    /// The body ended before its announced end.
    Early,
}

/// Why an answer failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defect {
    /// The answer ended before it was whole.
    Truncated,
    /// The answer ended without anything a client could use.
    Empty,
    /// The answer is neither JSON nor an event stream.
    Malformed,
    /// The answer contains an error that the engine reports.
    Reported(Words),
}

/// What to do after a chunk of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send nothing for now.
    Hold,
    /// Send these bytes to the client. The first `Pass` is the commit.
    Pass(Bytes),
    /// The answer failed.
    Fail {
        /// Good bytes from before the failure, still to be sent. Empty before the commit.
        pass: Bytes,
        /// [`Defect::Reported`] or [`Defect::Malformed`]. Other defects show only at the end of the
        /// body.
        defect: Defect,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Holding,
    Passing,
}

/// Decides which bytes of one upstream answer go to the client, and when.
#[derive(Debug)]
pub struct Commit {
    shape: Shape,
    phase: Phase,
    /// Before the commit: every byte so far. After it: the start of an event that begins as an
    /// error (a stream), or bytes still to be sent (a plain answer that committed at its size).
    held: Held,
    events: Events,
    /// Where the incomplete event begins in `held`.
    begun: usize,
    /// True if a part of an event has been passed, but not its end.
    open: bool,
    /// Takes out the usage event of a stream.
    extra: Extra,
    /// Tracks the finish reasons of a stream.
    ending: Ending,
    /// True after a [`Meaning::Done`].
    done: bool,
    /// True once an event had a field of the event-stream format, or a comment.
    known: bool,
    /// True if the last chunk had more than comments.
    moved: bool,
    repeat: Repeat,
    /// True if the last chunk was one event that [`Repeat`] recognised: only content.
    repeated: bool,
    /// Events of a stream so far, without those that keep the connection alive.
    events_read: u32,
    /// Reads a plain answer.
    plain: Plain,
    /// The tokens that a whole plain answer or an event that was taken out reports.
    usage: Option<Usage>,
}

impl Commit {
    /// Begins after the head of an answer, before any of its body.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            phase: Phase::Holding,
            held: Held::default(),
            events: Events::default(),
            begun: 0,
            open: false,
            extra: Extra::default(),
            ending: Ending::default(),
            done: false,
            known: false,
            moved: false,
            repeat: Repeat::default(),
            repeated: false,
            events_read: 0,
            plain: Plain::default(),
            usage: None,
        }
    }

    /// Takes out the event of a stream that only tells usage: the gateway asked for it, and the
    /// client did not.
    #[must_use]
    pub fn without_usage_event(mut self) -> Self {
        self.extra.is_unwanted = true;
        self
    }

    /// True from the first bytes for the client on. After that no other attempt may answer.
    pub fn is_committed(&self) -> bool {
        self.phase == Phase::Passing
    }

    /// True if the bytes passed so far end between two events, so that an error event can follow.
    pub fn is_between_events(&self) -> bool {
        self.shape == Shape::Stream && !self.open
    }

    /// The tokens that a whole plain answer reports, or the event that was taken out of a stream.
    /// None before the end of a plain answer, and for bodies that committed at their size.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The tokens that a stream tells beside its finish reason, in the way of llama.cpp. Usage that is
    /// told counts more.
    pub fn timings(&self) -> Option<Usage> {
        self.ending.timings
    }

    /// How many bytes of a plain answer [`next_held`](Self::next_held) will still return.
    pub fn held(&self) -> usize {
        if self.shape == Shape::Plain && self.is_committed() { self.held.len() } else { 0 }
    }

    /// True if the last chunk had more than comments and keep-alive events.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// True if the last chunk matches an earlier event. Such an event has no usage.
    pub fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// The events of a stream so far that may have content: about one for each token. 0 for a plain
    /// answer.
    pub fn events_read(&self) -> u32 {
        self.events_read
    }

    /// True if a stream has had its last event or all its finish reasons: at most usage and the
    /// end can follow.
    pub fn is_finished(&self) -> bool {
        self.done || self.ending.is_sure()
    }

    /// True if a stream has had its last event. It is whole even if the body does not end.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// How the answer is read.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Takes the next chunk of the body, which may be cut anywhere.
    pub fn feed(&mut self, chunk: Bytes) -> Verdict {
        match self.shape {
            Shape::Plain => self.feed_plain(chunk),
            Shape::Stream => self.feed_events(chunk),
        }
    }

    fn feed_plain(&mut self, chunk: Bytes) -> Verdict {
        self.moved = true;
        if let Err(defect) = self.plain.feed(&chunk) {
            return Verdict::Fail { pass: Bytes::new(), defect };
        }
        if self.held.is_empty() && self.is_committed() {
            return Verdict::Pass(chunk);
        }
        self.held.push(chunk);
        if self.held.len() > MOST_HELD_OF_A_BODY {
            self.phase = Phase::Passing;
        }
        self.next_held().map_or(Verdict::Hold, Verdict::Pass)
    }

    /// The next held piece of a committed plain answer. The caller sends these before it reads
    /// more. Each piece is freed once it is sent.
    pub fn next_held(&mut self) -> Option<Bytes> {
        let is_plain = self.shape == Shape::Plain;
        (is_plain && self.is_committed()).then(|| self.held.pop()).flatten()
    }

    /// Takes the end of the body. Returns bytes that are still held, to be sent to the client.
    /// [`next_held`](Self::next_held) returns the rest of them.
    ///
    /// # Errors
    /// If the answer is truncated, malformed or empty, or reports an error.
    pub fn end(&mut self, end: End) -> Result<Bytes, Defect> {
        self.repeated = false;
        match self.shape {
            Shape::Stream => self.end_stream(end),
            Shape::Plain => self.end_plain(end),
        }
    }

    fn end_plain(&mut self, end: End) -> Result<Bytes, Defect> {
        self.plain.end(end)?;
        if self.phase == Phase::Holding {
            if let Some(error) = self.plain.error(&self.held) {
                return Err(Defect::Reported(error));
            }
            self.usage = self.plain.usage(&self.held);
            self.phase = Phase::Passing;
        }
        Ok(match self.held.len() {
            ..=plain::SMALL => self.held.gather(),
            _ => self.held.pop().unwrap_or_default(),
        })
    }
}
