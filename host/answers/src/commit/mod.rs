//! The commit point: when an answer becomes the client's, and what a failure means on either side
//! of it.
//!
//! ```text
//!            feed, end                     feed                    end
//!  Holding ------------> first content -> Passing -> ... ------------------> whole
//!     |  failed                              |  failed
//!     v                                      v
//!  the next deployment, unseen            told: an error event, then the connection is aborted
//! ```
//!
//! Before the commit nothing has gone to the client, so any failure can be made good elsewhere: no
//! connection, a bad status, a body that ends early, an error object in an answer of status 200. A
//! stream commits at its first *content*: roles, comments and keep-alives before it are held. A
//! plain answer commits when it is whole. After the commit a failure is told, never hidden, and the
//! text of two engines is never joined. An event that begins as an error is held even then until it is
//! whole: engines write their addresses into errors, and the client is told without them.
//!
//! No input or output happens here: time-outs and lost connections are told to [`Commit`] by whoever
//! reads from the upstream.

mod content;
mod events;
mod held;
#[cfg(test)]
mod model;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/oracle.rs"]
pub mod oracle;

use std::ops::Range;

use bytes::Bytes;

use http1::json;

use crate::Usage;
use crate::usage;

pub use content::Reported;
use content::{Ending, Meaning};
use events::{Event, Events};
use held::Held;

/// A stream commits when this much is held without content, in bytes; but never within an event that
/// begins as an error.
const MOST_HELD_OF_A_STREAM: usize = 64 * 1024;
/// A plain answer commits at this size even where it is not whole, in bytes. Inputs of a fuzzer are too short
/// for a mebibyte.
const MOST_HELD_OF_A_BODY: usize = if cfg!(fuzzing) { 16 * 1024 } else { 1024 * 1024 };

/// How an answer is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One body, useful only as a whole.
    Plain {
        /// Whether its content type is JSON.
        json: bool,
    },
    /// An event stream.
    Stream,
    /// Compressed, though nobody asked for that: cannot be looked into.
    Opaque,
}

/// How the upstream ended a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The length or the last chunk says that this was all.
    Framed,
    /// The connection was closed, which says nothing.
    Closed,
    /// Before what was announced had come.
    Early,
}

/// Why an answer is no good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defect {
    /// It ended before it was whole.
    Truncated,
    /// It ended without anything a client could use.
    Empty,
    /// It says itself that the engine failed.
    Reported(Reported),
}

/// What is to be done after some of an answer has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is for the client yet, or nothing more.
    Hold,
    /// This is for the client. The first of these is the commit.
    Pass(Bytes),
    /// The answer failed.
    Fail {
        /// Good, and still for the client if anything went to it before; may be empty.
        pass: Bytes,
        /// Why it failed.
        defect: Defect,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Holding,
    Passing,
}

/// One answer on its way from an upstream.
#[derive(Debug)]
pub struct Commit {
    shape: Shape,
    phase: Phase,
    /// Before the commit all that has come. After it, of a stream, the start of an event that begins as an
    /// error; of a plain answer that committed at its size, what is next for the client.
    held: Held,
    events: Events,
    /// Some of an event has been passed, and its end has not.
    open: bool,
    /// Whether the last event of a stream is still to come.
    ending: Ending,
    /// The last event of a stream has come.
    done: bool,
    /// The last byte that is not blank.
    last_byte: u8,
    /// What a plain answer that is whole says of its tokens.
    usage: Option<Usage>,
}

impl Commit {
    /// An answer of which only the head has come.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            phase: Phase::Holding,
            held: Held::default(),
            events: Events::default(),
            open: false,
            ending: Ending::default(),
            done: false,
            last_byte: 0,
            usage: None,
        }
    }

    /// Whether the answer is the client's.
    pub fn is_committed(&self) -> bool {
        self.phase == Phase::Passing
    }

    /// Whether what has been passed ends between two events, so that another can follow.
    pub fn is_between_events(&self) -> bool {
        self.shape == Shape::Stream && !self.open
    }

    /// The tokens of a plain answer that is whole, where it reports them.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// How the answer is read.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Takes the next chunk of the body.
    pub fn feed(&mut self, chunk: Bytes) -> Verdict {
        if let Some(byte) = chunk.iter().rev().find(|byte| !byte.is_ascii_whitespace()) {
            self.last_byte = *byte;
        }
        match self.shape {
            Shape::Opaque => self.pass(chunk),
            Shape::Plain { .. } if self.held.is_empty() && self.is_committed() => {
                Verdict::Pass(chunk)
            }
            Shape::Plain { .. } => {
                self.held.push(chunk);
                if self.held.len() > MOST_HELD_OF_A_BODY {
                    self.phase = Phase::Passing;
                }
                self.next_held().map_or(Verdict::Hold, Verdict::Pass)
            }
            Shape::Stream => self.feed_events(chunk),
        }
    }

    /// What is next for the client of a plain answer that committed at its size, before more of it is read:
    /// piece by piece, so that what has gone out is no longer held.
    pub fn next_held(&mut self) -> Option<Bytes> {
        let is_plain = matches!(self.shape, Shape::Plain { .. });
        (is_plain && self.is_committed()).then(|| self.held.pop()).flatten()
    }

    /// Takes the end of the body. What is still held, if it is good, is for the client.
    ///
    /// # Errors
    /// If the answer is not whole.
    pub fn end(&mut self, end: End) -> Result<Bytes, Defect> {
        match self.shape {
            Shape::Stream => self.end_stream(end),
            _ if end == End::Early => Err(Defect::Truncated),
            Shape::Plain { .. } => self.end_plain(end),
            // What cannot be looked into and ends like one that was cut.
            Shape::Opaque if end == End::Closed => Err(Defect::Truncated),
            Shape::Opaque => Ok(Bytes::new()),
        }
    }

    fn end_plain(&mut self, end: End) -> Result<Bytes, Defect> {
        if self.phase == Phase::Passing {
            let closed = matches!(self.last_byte, b'}' | b']');
            return if end == End::Framed || closed {
                Ok(self.held.gather())
            } else {
                Err(Defect::Truncated)
            };
        }
        let body = self.held.gather();
        if body.trim_ascii().is_empty() {
            return Err(Defect::Empty);
        }
        if let Some(error) = content::error_in(&body) {
            return Err(Defect::Reported(error));
        }
        let is_json = matches!(self.shape, Shape::Plain { json: true });
        if !self.is_object(&body) {
            let cut = is_json && content::stops_early(&body);
            if cut || (end == End::Closed && !content::is_whole(&body)) {
                return Err(Defect::Truncated);
            }
        }
        self.phase = Phase::Passing;
        Ok(body)
    }

    /// Whether a body is one whole object, as most are. Takes its usage on the way, which saves a second look.
    fn is_object(&mut self, body: &[u8]) -> bool {
        let Ok(text) = simdutf8::basic::from_utf8(body) else { return false };
        let mut usage = None;
        let field = |key: Range<usize>, value| {
            if &text[key] == "\"usage\"" {
                usage = Some(value);
            }
        };
        let is_whole = json::object(text, field).is_ok();
        self.usage = usage.and_then(|value| usage::of_object(&text[value]));
        is_whole
    }

    fn end_stream(&mut self, end: End) -> Result<Bytes, Defect> {
        if end == End::Early && self.phase == Phase::Holding {
            return Err(Defect::Truncated);
        }
        // An end without a blank line still ends the last event, as clients read it.
        if let Some(Event::Whole(text)) = self.events.rest() {
            self.ending.note(text);
        }
        let meaning = match self.events.rest() {
            Some(Event::Whole(text)) if self.phase == Phase::Holding => Some(content::first(text)),
            Some(Event::Whole(text)) => Some(content::later(text)),
            Some(Event::TooLong(_)) => Some(Meaning::Content),
            None => None,
        };
        match meaning {
            Some(Meaning::Error(error)) => return Err(Defect::Reported(error)),
            Some(meaning) => self.note(&meaning),
            None => {}
        }
        let cut = matches!(self.events.rest(), Some(Event::Whole(text)) if content::is_cut(text));
        if cut && self.withholds() {
            return Err(Defect::Truncated);
        }
        let whole = match end {
            End::Framed => {
                let missing = !self.done && self.ending.is_missing();
                self.phase == Phase::Passing && !cut && !missing
            }
            End::Closed => self.done || self.ending.is_sure(),
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
        let mut good = 0;
        while let Some((event, end)) = self.events.next(&chunk, good) {
            match &event {
                Event::Whole(text) => self.ending.note(text),
                Event::TooLong(_) => self.ending.pass_over(),
            }
            let meaning = match event {
                Event::Whole(text) if self.phase == Phase::Holding => content::first(text),
                Event::Whole(text) => content::later(text),
                Event::TooLong(start) => content::of_long(start),
            };
            if let Meaning::Error(error) = meaning {
                let pass = self.passable(&chunk, good);
                return Verdict::Fail { pass, defect: Defect::Reported(error) };
            }
            self.note(&meaning);
            good = end;
        }
        match self.events.rest() {
            Some(Event::Whole(start)) if content::begins_as_error(start) => {
                return self.withhold(&chunk, good);
            }
            Some(Event::TooLong(start)) => {
                if let Meaning::Error(error) = content::of_long(start) {
                    let pass = self.passable(&chunk, good);
                    return Verdict::Fail { pass, defect: Defect::Reported(error) };
                }
            }
            _ => {}
        }
        if self.phase == Phase::Passing || self.held.len() + chunk.len() > MOST_HELD_OF_A_STREAM {
            return self.pass(chunk);
        }
        self.held.push(chunk);
        Verdict::Hold
    }

    fn note(&mut self, meaning: &Meaning) {
        match meaning {
            Meaning::Opening | Meaning::Error(_) => return,
            Meaning::Content => {}
            Meaning::Done => self.done = true,
        }
        self.phase = Phase::Passing;
    }

    /// Whether the event that is under way begins as an error.
    fn withholds(&self) -> bool {
        matches!(self.events.rest(), Some(Event::Whole(start)) if content::begins_as_error(start))
    }

    /// Holds the event that is under way, which begins in `chunk` behind its `good` bytes or before it.
    fn withhold(&mut self, chunk: &Bytes, good: usize) -> Verdict {
        // What is before it commits at its size, as it would if it had come alone.
        if good > 0 && self.held.len() + good > MOST_HELD_OF_A_STREAM {
            self.phase = Phase::Passing;
        }
        let pass = self.passable(chunk, good);
        let passed = if self.phase == Phase::Passing { good } else { 0 };
        self.held.push(chunk.slice(passed..));
        if pass.is_empty() { Verdict::Hold } else { Verdict::Pass(pass) }
    }

    /// What may go to the client where the event behind the `good` bytes of `chunk` may not: nothing
    /// before the commit, and nothing of what is held of that event.
    fn passable(&mut self, chunk: &Bytes, good: usize) -> Bytes {
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
