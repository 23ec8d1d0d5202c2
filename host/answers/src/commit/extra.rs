//! Takes the event that only tells usage out of a stream whose client did not ask for it: an event
//! without choices. Clients that did not ask may read the first choice of every event.
//!
//! The start of an event is held while it may still turn out to be such an event, however it is
//! cut. Readers of events cannot use a part of one.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::count;
use crate::usage::{self, Usage};

use super::content::{self, Word};
use super::events::Event;

static CHOICES: Word = LazyLock::new(|| Finder::new("\"choices\""));
/// In bytes. An event with more blanks between key and value is passed as content.
const MOST_BLANKS: usize = 16;

/// The usage event of one stream.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// True if the client did not ask for usage, and the gateway did.
    pub(super) is_unwanted: bool,
    /// Positions of usage events in the chunk that is being read, in order.
    cuts: Vec<Range<usize>>,
    /// True if the next byte is taken out if it is an LF.
    owes_lf: bool,
    /// Bytes of the incomplete event that were searched for choices.
    searched: usize,
    /// True if the incomplete event has content.
    has_content: bool,
}

impl Extra {
    /// Takes an event that ends at `at.end` of the current chunk, with `held` bytes of earlier
    /// chunks. Returns what it tells if it is a usage event. `is_free`: none of its bytes but the
    /// LF of a CRLF before it have gone to the client.
    pub(super) fn take(
        &mut self,
        event: &Event<'_>,
        chunk: &[u8],
        at: Range<usize>,
        held: usize,
        is_free: bool,
    ) -> Option<Option<Usage>> {
        (self.searched, self.has_content) = (0, false);
        let Event::Whole(text) = event else { return None };
        let told = told(text).filter(|_| is_free)?;
        let start = at.start.max(self.cuts.last().map_or(0, |cut| cut.end));
        // If the LF before it has gone to the client, the LF behind it goes instead.
        let owes = text.ends_with(b"\r") && held + (at.end - start) < text.len();
        let with_lf = owes && chunk.get(at.end) == Some(&b'\n');
        self.owes_lf = owes && at.end == chunk.len();
        self.cuts.push(start..at.end + usize::from(with_lf));
        Some(told)
    }

    /// Begins the next chunk.
    pub(super) fn begin(&mut self, chunk: &[u8]) {
        if self.owes_lf && !chunk.is_empty() {
            self.owes_lf = false;
            if chunk[0] == b'\n' {
                self.cuts.push(0..1);
            }
        }
    }

    /// True if an incomplete event may turn out to be a usage event.
    pub(super) fn may_begin(&mut self, start: &[u8]) -> bool {
        if !self.has_content {
            self.has_content = has_no_object(start) || self.finds_choice(start);
        }
        !self.has_content
    }

    /// Searches what was added to the start of an event for a list of choices that is not empty.
    fn finds_choice(&mut self, start: &[u8]) -> bool {
        count(start.len() - self.searched + CHOICES.needle().len() + 2 * MOST_BLANKS);
        let mut from = self.searched;
        while let Some(found) = CHOICES.find(&start[from..]) {
            let at = from + found;
            match Value::of(&start[at + CHOICES.needle().len()..]) {
                Value::Choices => return true,
                Value::None => from = at + CHOICES.needle().len(),
                // The key is read again with the next chunk.
                Value::Cut => {
                    self.searched = at;
                    return false;
                }
            }
        }
        self.searched = from.max((start.len() + 1).saturating_sub(CHOICES.needle().len()));
        false
    }

    /// A chunk without its usage events, and the new place of `good`, behind all of them.
    pub(super) fn cut(&mut self, chunk: Bytes, good: usize) -> (Bytes, usize) {
        if self.cuts.is_empty() {
            return (chunk, good);
        }
        let removed: usize = self.cuts.iter().map(|cut| cut.end.min(good) - cut.start).sum();
        let mut from = 0;
        let cuts = self.cuts.drain(..).chain(std::iter::once(chunk.len()..chunk.len()));
        let parts = cuts.map(|cut| std::mem::replace(&mut from, cut.end)..cut.start);
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        let kept = match &parts[..] {
            [] => Bytes::new(),
            [part] => chunk.slice(part.clone()),
            parts => {
                let mut kept = BytesMut::with_capacity(chunk.len());
                parts.iter().for_each(|part| kept.extend_from_slice(&chunk[part.clone()]));
                kept.freeze()
            }
        };
        count(chunk.len());
        (kept, good - removed)
    }
}

/// The text behind the word `choices`.
enum Value {
    /// A list that is not empty, or a value of another type.
    Choices,
    /// No value of a key, or an empty list.
    None,
    /// The text ends too early.
    Cut,
}

impl Value {
    fn of(text: &[u8]) -> Self {
        let mut at = 0;
        for expected in [b':', b'[', b']'] {
            let blanks = text[at..].iter().take_while(|byte| byte.is_ascii_whitespace());
            let blanks = blanks.take(MOST_BLANKS + 1).count();
            if blanks > MOST_BLANKS {
                return Self::Choices;
            }
            at += blanks;
            match (text.get(at), expected) {
                (None, _) => return Self::Cut,
                (Some(byte), expected) if *byte == expected => at += 1,
                // The word is text, or the list is null.
                (Some(_), b':') | (Some(b'n'), b'[') => return Self::None,
                (Some(_), _) => return Self::Choices,
            }
        }
        Self::None
    }
}

/// True if the data of an event begins, and not as an object.
fn has_no_object(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\n").unwrap_or(start);
    let Some(data) = start.strip_prefix(b"data:") else { return false };
    let data = data.strip_prefix(b" ").unwrap_or(data);
    data.first().is_some_and(|byte| *byte != b'{' && !byte.is_ascii_whitespace())
}

/// The usage of an event that only tells usage. Some(None): none that can be read.
pub(super) fn told(event: &[u8]) -> Option<Option<Usage>> {
    #[derive(Deserialize)]
    struct Report<'a> {
        #[serde(borrow)]
        choices: &'a RawValue,
        #[serde(borrow)]
        usage: &'a RawValue,
    }
    count(2 * event.len());
    let mut values =
        CHOICES.find_iter(event).map(|at| Value::of(&event[at + CHOICES.needle().len()..]));
    // Most events have content, and are read no further than to their first choice.
    if !matches!(values.next()?, Value::None) || values.any(|value| !matches!(value, Value::None)) {
        return None;
    }
    count(3 * event.len());
    let (_, data) = content::fields(event)?;
    let data = data.trim_ascii_start();
    let report: Report<'_> =
        data.starts_with(b"{").then(|| serde_json::from_slice(data).ok()).flatten()?;
    let choices = report.choices.get();
    let list = choices.strip_prefix('[').and_then(|list| list.strip_suffix(']'));
    let is_empty = choices == "null" || list.is_some_and(|list| list.trim_ascii().is_empty());
    let is_report = is_empty && report.usage.get().starts_with('{');
    is_report.then(|| usage::of_object(report.usage.get()))
}
