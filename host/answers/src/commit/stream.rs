//! The commit of an event stream: what each event means, and which bytes of it go to the client.

use bytes::Bytes;

use crate::{count, usage};

use super::content::{self, Meaning};
use super::events::Event;
use super::{Commit, Defect, End, MOST_HELD_OF_A_STREAM, Phase, Verdict, extra, reported};

impl Commit {
    pub(super) fn end_stream(&mut self, end: End) -> Result<Bytes, Defect> {
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
        if whole && self.extra.is_unwanted && !self.open {
            self.drop_last();
        }
        match self.phase {
            _ if whole => {
                self.phase = Phase::Passing;
                Ok(self.held.gather())
            }
            Phase::Passing => Err(Defect::Truncated),
            Phase::Holding => Err(Defect::Empty),
        }
    }

    /// Drops the last event, which lacks its blank line, if it only tells usage.
    fn drop_last(&mut self) {
        if let Some(Event::Whole(text)) = self.events.rest()
            && let Some(usage) = extra::told(text)
        {
            self.usage = usage.or(self.usage);
            self.held.truncate(self.begun);
        }
    }

    pub(super) fn feed_events(&mut self, chunk: Bytes) -> Verdict {
        let is_fresh = self.is_committed() && self.held.is_empty() && self.events.is_fresh();
        self.repeated = is_fresh && self.repeat.covers(&chunk);
        if self.repeated {
            (self.moved, self.open) = (true, false);
            self.events_read = self.events_read.saturating_add(1);
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
            && !usage::is_told(event)
        {
            count(8 * event.len());
            self.repeat.learn(event);
        }
        verdict
    }

    fn read_events(&mut self, chunk: Bytes) -> Verdict {
        // End of the last event before any error in the chunk.
        let mut good = 0;
        // A part of the event that ends first may have gone to the client.
        let mut is_free = !self.open;
        self.extra.begin(&chunk);
        self.moved = false;
        while let Some((event, end)) = self.events.next(&chunk, good) {
            match &event {
                Event::Whole(text) => self.ending.note(text),
                Event::TooLong(_, long) => self.ending.note_long(&long.seen),
            }
            let meaning = match &event {
                Event::Whole(text) if self.phase == Phase::Holding => {
                    self.known |= content::is_known(text);
                    content::first(text)
                }
                Event::Whole(text) => content::later(text),
                Event::TooLong(start, long) => content::of_long(start, &long.seen),
            };
            let moves = !matches!(event, Event::Whole(text) if content::is_keep_alive(text));
            self.moved |= moves;
            self.events_read = self.events_read.saturating_add(moves.into());
            if let Meaning::Error(error) = meaning {
                let (chunk, good) = self.extra.cut(chunk, good);
                let pass = self.passable(&chunk, good);
                return Verdict::Fail { pass, defect: Defect::Reported(error) };
            }
            if self.extra.is_unwanted
                && let Some(usage) = {
                    let held = if good == 0 { self.held.len() - self.begun } else { 0 };
                    self.extra.take(&event, &chunk, good..end, held, is_free)
                }
            {
                self.usage = usage.or(self.usage);
                // Its start may have come in earlier chunks.
                if good == 0 {
                    self.held.truncate(self.begun);
                }
            }
            self.note(&meaning);
            (good, is_free) = (end, true);
        }
        let (chunk, kept) = self.extra.cut(chunk, good);
        if good > 0 {
            self.begun = if self.phase == Phase::Holding { self.held.len() + kept } else { 0 };
        }
        self.read_rest(chunk, kept, is_free)
    }

    /// Takes a chunk whose whole events, its first `good` bytes, are read. `is_free`: no byte of the
    /// incomplete event has gone to the client.
    fn read_rest(&mut self, chunk: Bytes, good: usize, is_free: bool) -> Verdict {
        match self.events.rest() {
            Some(Event::Whole(start)) => {
                // Only its first byte counts: every chunk reads the event again.
                self.moved |= start.first() != Some(&b':');
                let is_passing = self.phase == Phase::Passing;
                let may_be_usage = self.extra.is_unwanted && is_passing && is_free;
                if reported::begins_as_error(start) || (may_be_usage && self.extra.may_begin(start))
                {
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

    /// True if any event so far has the format of an event stream.
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
    pub(super) fn withholds(&self) -> bool {
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
        if self.phase == Phase::Passing {
            self.begun = 0;
        }
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
        (self.open, self.begun) = (!self.events.is_between(), 0);
        if self.held.is_empty() {
            return if chunk.is_empty() { Verdict::Hold } else { Verdict::Pass(chunk) };
        }
        self.held.push(chunk);
        Verdict::Pass(self.held.gather())
    }
}
