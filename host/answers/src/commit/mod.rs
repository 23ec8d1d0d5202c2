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
//! Before the commit nothing has gone to the client, so another deployment can be tried after any
//! failure: no connection, a bad status, a body that ends early, an error object in an answer of
//! status 200. A stream commits at its first *content*; roles, comments and keep-alives before it
//! are held. A plain answer commits when it is whole, or at its size.
//!
//! An answer is passed as whole only if its framing and its content say so: one JSON object or
//! array, or a stream that has the end of its kind.
//!
//! After the commit a failure is reported to the client, never hidden, and the text of two engines
//! is never joined. An event that begins as an error is still held until it is whole: engines write
//! their addresses into errors, and the client gets the error without them.
//!
//! This module does no I/O. The code that reads from the upstream handles time-outs, and reports
//! how the body ended as an [`End`].

mod content;
mod events;
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

use bytes::Bytes;

use crate::refusal::Words;
use crate::{Usage, count, usage};

use content::{Ending, Meaning};
use events::{Event, Events};
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
    /// It ended before it was whole.
    Truncated,
    /// It ended without anything a client could use.
    Empty,
    /// It is neither JSON nor an event stream.
    Malformed,
    /// It contains an error that the engine reports.
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
        /// [`Defect::Reported`] or [`Defect::Malformed`]: the others show only at the end.
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
    /// True if a part of an event has been passed, but not its end.
    open: bool,
    /// Tracks the finish reasons of a stream.
    ending: Ending,
    /// True after a [`Meaning::Done`].
    done: bool,
    /// True if an event of the stream has a field or a comment.
    known: bool,
    /// True if the last chunk had more than comments.
    moved: bool,
    repeat: Repeat,
    /// True if the last chunk was an event like an earlier one: content, and nothing else.
    repeated: bool,
    /// Reads a plain answer.
    plain: Plain,
    /// The tokens that a whole plain answer reports.
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
            open: false,
            ending: Ending::default(),
            done: false,
            known: false,
            moved: false,
            repeat: Repeat::default(),
            repeated: false,
            plain: Plain::default(),
            usage: None,
        }
    }

    /// True from the first bytes for the client on. After that no other attempt may answer.
    pub fn is_committed(&self) -> bool {
        self.phase == Phase::Passing
    }

    /// True if the bytes passed so far end between two events, so that an error event can follow.
    pub fn is_between_events(&self) -> bool {
        self.shape == Shape::Stream && !self.open
    }

    /// The tokens that a whole plain answer reports. None before the end, for streams, and for
    /// bodies that committed at their size.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// How many bytes of a plain answer [`next_held`](Self::next_held) will still return.
    pub fn held(&self) -> usize {
        if self.shape == Shape::Plain && self.is_committed() { self.held.len() } else { 0 }
    }

    /// True if the last chunk had more than comments and other events that only keep a connection
    /// alive.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// True if the last chunk has no usage, because it is like an earlier one without.
    pub fn is_repeated(&self) -> bool {
        self.repeated
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

    fn end_stream(&mut self, end: End) -> Result<Bytes, Defect> {
        if end == End::Early && self.phase == Phase::Holding {
            return Err(Defect::Truncated);
        }
        // The last event may lack its blank line. Clients read it all the same.
        match self.events.rest() {
            Some(Event::Whole(text)) => self.ending.note(text),
            Some(Event::TooLong(_, long)) => self.ending.note_long(&long.seen),
            None => {}
        }
        let meaning = match self.events.rest() {
            Some(Event::Whole(text)) if self.phase == Phase::Holding => Some(content::first(text)),
            Some(Event::Whole(text)) => Some(content::later(text)),
            Some(Event::TooLong(start, long)) => Some(content::of_long(start, &long.seen)),
            None => None,
        };
        match meaning {
            Some(Meaning::Error(error)) => return Err(Defect::Reported(error)),
            Some(meaning) => self.note(&meaning),
            None => {}
        }
        let cut = match self.events.rest() {
            Some(Event::Whole(text)) => content::is_cut(text),
            Some(Event::TooLong(_, long)) => long.is_cut(),
            None => false,
        };
        // A held event that may be an error is never passed in part.
        if cut && self.withholds() {
            return Err(Defect::Truncated);
        }
        let whole = match end {
            // A proxy may frame a broken stream correctly, so the finish reasons count.
            End::Framed => {
                let missing = !self.done && self.ending.is_missing();
                self.phase == Phase::Passing && !cut && !missing
            }
            // A close may be a broken connection, so the end must have been seen.
            End::Closed => self.done || (!cut && self.ending.is_sure()),
            End::Early => self.done,
        };
        match self.phase {
            _ if whole => {
                self.phase = Phase::Passing;
                Ok(self.held.gather())
            }
            Phase::Passing => Err(Defect::Truncated),
            Phase::Holding => Err(Defect::Empty),
        }
    }

    fn feed_events(&mut self, chunk: Bytes) -> Verdict {
        let is_fresh = self.is_committed() && self.held.is_empty() && self.events.is_fresh();
        self.repeated = is_fresh && self.repeat.covers(&chunk);
        if self.repeated {
            (self.moved, self.open) = (true, false);
            return Verdict::Pass(chunk);
        }
        let verdict = self.read_events(chunk);
        if let Verdict::Pass(event) = &verdict
            && is_fresh
            && self.moved
            && self.events.is_fresh()
            && self.repeat.wants(event)
            && memchr::memmem::find(&event[..event.len() - 2], b"\n\n").is_none()
            && self.ending.knows(event)
            && !content::is_doubtful(event)
            && !usage::is_named(event)
        {
            count(8 * event.len());
            self.repeat.learn(event);
        }
        verdict
    }

    fn read_events(&mut self, chunk: Bytes) -> Verdict {
        // End of the last event in the chunk that is no error.
        let mut good = 0;
        self.moved = false;
        while let Some((event, end)) = self.events.next(&chunk, good) {
            match &event {
                Event::Whole(text) => self.ending.note(text),
                Event::TooLong(_, long) => self.ending.note_long(&long.seen),
            }
            let meaning = match event {
                Event::Whole(text) if self.phase == Phase::Holding => {
                    self.known |= content::is_known(text);
                    content::first(text)
                }
                Event::Whole(text) => content::later(text),
                Event::TooLong(start, long) => content::of_long(start, &long.seen),
            };
            self.moved |= !matches!(event, Event::Whole(text) if content::is_keep_alive(text));
            if let Meaning::Error(error) = meaning {
                let pass = self.passable(&chunk, good);
                return Verdict::Fail { pass, defect: Defect::Reported(error) };
            }
            self.note(&meaning);
            good = end;
        }
        match self.events.rest() {
            Some(Event::Whole(start)) => {
                // Judged by its first byte: it is looked at again with every chunk.
                self.moved |= start.first() != Some(&b':');
                if reported::begins_as_error(start) {
                    return self.withhold(&chunk, good);
                }
            }
            Some(Event::TooLong(start, long)) => {
                self.moved = true;
                if let Meaning::Error(error) = content::of_long(start, &long.seen) {
                    let pass = self.passable(&chunk, good);
                    return Verdict::Fail { pass, defect: Defect::Reported(error) };
                }
            }
            None => {}
        }
        if self.phase == Phase::Passing {
            return self.pass(chunk);
        }
        if self.held.len() + chunk.len() > MOST_HELD_OF_A_STREAM {
            return match self.is_known() {
                true => self.pass(chunk),
                false => Verdict::Fail { pass: Bytes::new(), defect: Defect::Malformed },
            };
        }
        self.held.push(chunk);
        Verdict::Hold
    }

    /// True if anything that came is that of an event stream.
    fn is_known(&self) -> bool {
        self.known
            || match self.events.rest() {
                Some(Event::Whole(start) | Event::TooLong(start, _)) => content::is_known(start),
                None => false,
            }
    }

    /// Commits the answer, unless the event has no content.
    fn note(&mut self, meaning: &Meaning) {
        match meaning {
            Meaning::Opening | Meaning::Error(_) => return,
            Meaning::Content => {}
            Meaning::Done => self.done = true,
        }
        self.phase = Phase::Passing;
    }

    /// True if the incomplete event begins as an error.
    fn withholds(&self) -> bool {
        matches!(self.events.rest(), Some(Event::Whole(start)) if reported::begins_as_error(start))
    }

    /// Holds the incomplete event, which begins after the `good` bytes of `chunk` or in an earlier
    /// chunk.
    fn withhold(&mut self, chunk: &Bytes, good: usize) -> Verdict {
        // The bytes before the event commit at their size, as they would without it.
        if good > 0 && self.held.len() + good > MOST_HELD_OF_A_STREAM {
            self.phase = Phase::Passing;
        }
        let pass = self.passable(chunk, good);
        let passed = if self.phase == Phase::Passing { good } else { 0 };
        self.held.push(chunk.slice(passed..));
        if pass.is_empty() { Verdict::Hold } else { Verdict::Pass(pass) }
    }

    /// The bytes to send if the event after the `good` bytes of `chunk` must not be sent. Empty
    /// before the commit.
    fn passable(&mut self, chunk: &Bytes, good: usize) -> Bytes {
        // With no `good` bytes, everything held belongs to that event.
        if self.phase == Phase::Holding || good == 0 {
            return Bytes::new();
        }
        self.open = false;
        self.held.push(chunk.slice(..good));
        self.held.gather()
    }

    fn pass(&mut self, chunk: Bytes) -> Verdict {
        self.phase = Phase::Passing;
        self.open = !self.events.is_between();
        if self.held.is_empty() {
            return Verdict::Pass(chunk);
        }
        self.held.push(chunk);
        Verdict::Pass(self.held.gather())
    }
}
