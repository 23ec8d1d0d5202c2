//! Classifies an event or a whole body: no content yet, content, the end of a stream, or an error.
//!
//! Engines send status 200 before they know whether they can answer. vLLM and SGLang then send an
//! error object as the first event (`data: {"error": {...}}`), or as the whole body (`{"object":
//! "error", "message": ..., "code": 400}`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use http1::json_stream::JsonStream;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::count;
use crate::refusal::Words;
use crate::usage::{self, Usage};

use super::long::Seen;
use super::reported::{begins_as_error, failed};

/// Built once: building a finder takes longer than searching a text as short as an event.
pub(super) type Word = LazyLock<Finder<'static>>;
static CHOICES: Word = LazyLock::new(|| Finder::new("\"choices\""));
static INDEX: Word = LazyLock::new(|| Finder::new("\"index\""));
static FINISH_REASON: Word = LazyLock::new(|| Finder::new("\"finish_reason\""));
pub(super) static ERROR: Word = LazyLock::new(|| Finder::new("error"));
static DONE: Word = LazyLock::new(|| Finder::new("[DONE]"));
static RESPONSE: Word = LazyLock::new(|| Finder::new("response."));

/// How one event counts for the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// No content: a comment, a keep-alive, a role or a usage report. Does not commit the answer.
    Opening,
    /// Text, reasoning, a tool call, audio, a finish reason, or any data of an unknown shape.
    /// Commits the answer.
    Content,
    /// The last event, such as `[DONE]`. The stream is complete even if the body then ends early.
    Done,
    /// The engine failed. Its words may contain its address.
    Error(Words),
}

/// Tracks whether a stream is complete, because the end of its body alone does not tell.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) kind: Option<Kind>,
    /// The choices (`n` in the request) that have begun: one bit per index.
    begun: u128,
    /// The choices that have had a finish reason. A subset of `begun`.
    finished: u128,
    /// The tokens that llama.cpp tells beside a finish reason.
    pub(super) timings: Option<Usage>,
}

/// How a stream marks its end, apart from `[DONE]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Chat and completions: each choice has a finish reason.
    Choices,
    /// Responses: a final event, such as `response.completed`.
    Responses,
    /// No known end marker.
    Unknown,
}

impl Ending {
    /// Records one event. Every event of every stream passes here, so an event is parsed only if it
    /// may begin or finish a choice.
    pub(super) fn note(&mut self, event: &[u8]) {
        // The event is searched for three words. A word that is found is read again.
        count(6 * event.len());
        if self.knows(event) {
            return;
        }
        let Some((_, data)) = fields(event) else { return };
        let Some(envelope) = Envelope::of(&data) else { return };
        let kind = match (&envelope.choices, envelope.kind.map(RawValue::get)) {
            (Some(_), _) => Kind::Choices,
            (None, Some(kind)) if kind.starts_with("\"response.") => Kind::Responses,
            _ => Kind::Unknown,
        };
        self.kind.get_or_insert(kind);
        if let Some(timings) = envelope.timings {
            self.timings = usage::of_timings(timings.get()).or(self.timings);
        }
        for choice in envelope.choices.unwrap_or_default() {
            let index = choice.index.and_then(|index| index.get().parse().ok()).unwrap_or(0);
            let bit = bit(index);
            self.begun |= bit;
            if says(choice.finish_reason) {
                self.finished |= bit;
            }
        }
    }

    /// True if a quick search shows that an event neither begins nor finishes a choice. The
    /// first event may have no choice yet: Azure's first event has only content filter results.
    pub(super) fn knows(&self, event: &[u8]) -> bool {
        match self.kind {
            None => false,
            Some(Kind::Responses) => true,
            Some(Kind::Unknown) if CHOICES.find(event).is_none() => true,
            Some(_) => {
                // A choice without an index is choice 0, and `has_new_index` does not see it.
                let first = self.begun & bit(0) != 0;
                first && !has_finish_reason(event) && !self.has_new_index(event)
            }
        }
    }

    /// True if an `"index"` names a choice that has not begun. The index of a tool call counts too:
    /// mistaking it for a choice only costs a parse.
    fn has_new_index(&self, event: &[u8]) -> bool {
        INDEX.find_iter(event).any(|at| {
            let value =
                event[at + INDEX.needle().len()..].iter().skip_while(|b| matches!(b, b':' | b' '));
            let digits = value.take_while(|byte| byte.is_ascii_digit());
            let index = digits.fold(0, |n: u32, digit| {
                n.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
            });
            self.begun & bit(index) == 0
        })
    }

    /// Records an event that is too long to be kept.
    pub(super) fn note_long(&mut self, seen: &Seen) {
        self.kind = self.kind.or(seen.kind);
        self.begun |= seen.begun;
        self.finished |= seen.finished;
    }

    /// True if at least one choice has begun and every choice that has begun is finished.
    pub(super) fn is_sure(&self) -> bool {
        self.begun != 0 && self.begun == self.finished
    }

    /// True if the end marker of this kind of stream is missing. Correct framing does not make up
    /// for it: nginx speaks HTTP/1.0 to its upstreams by default, takes a broken connection for the
    /// end of an answer, and frames that correctly. The caller checks for [`Meaning::Done`] first.
    pub(super) fn is_missing(&self) -> bool {
        match self.kind {
            Some(Kind::Choices) => self.begun != self.finished,
            Some(Kind::Responses) => true,
            Some(Kind::Unknown) | None => false,
        }
    }
}

/// The bit of a choice. Choices from index 127 on share the last bit; no client asks for so many.
pub(super) fn bit(index: u32) -> u128 {
    1 << index.min(u128::BITS - 1)
}

/// True if an unescaped `"finish_reason"` may have a value other than null.
fn has_finish_reason(event: &[u8]) -> bool {
    let key = &*FINISH_REASON;
    let value =
        |at| event[at + key.needle().len()..].iter().find(|byte| !matches!(byte, b':' | b' '));
    key.find_iter(event).any(|at| value(at) != Some(&b'n'))
}

/// Classifies an event before the commit, by parsing it.
pub(super) fn first(event: &[u8]) -> Meaning {
    count(3 * event.len());
    let Some((name, data)) = fields(event) else { return Meaning::Opening };
    if data.trim_ascii() == b"[DONE]" {
        return Meaning::Done;
    }
    let envelope = Envelope::of(&data);
    if let Some(error) = failed(name, &data, envelope.as_ref()) {
        return Meaning::Error(error);
    }
    // Readers of events skip one without data. It may also be the beginning of one that was cut.
    if data.trim_ascii().is_empty() {
        return Meaning::Opening;
    }
    envelope.map_or(Meaning::Content, |envelope| envelope.meaning())
}

/// Classifies an event after the commit. Every event of every stream passes here, so an event is
/// parsed only if it contains a word of an error or of an end.
pub(super) fn later(event: &[u8]) -> Meaning {
    if is_doubtful(event) { first(event) } else { Meaning::Content }
}

/// True if an event may be an error or an end.
pub(super) fn is_doubtful(event: &[u8]) -> bool {
    count(3 * event.len());
    const LAST: [&[u8]; 3] = [b"completed", b"failed", b"incomplete"];
    let is_last =
        |at| LAST.iter().any(|kind| event[at + RESPONSE.needle().len()..].starts_with(kind));
    ERROR.find(event).is_some()
        || DONE.find(event).is_some()
        || RESPONSE.find_iter(event).any(is_last)
}

/// Classifies an event that is too long to be kept. If it begins as an error, it counts as one,
/// because a part of it would show the client the engine's own text.
pub(super) fn of_long(start: &[u8], seen: &Seen) -> Meaning {
    if begins_as_error(start) {
        return Meaning::Error(Words::default());
    }
    let name = fields(start).map_or(&b""[..], |(name, _)| name);
    let is_last = matches!(name, b"response.completed" | b"response.incomplete");
    if is_last || seen.is_last { Meaning::Done } else { Meaning::Content }
}

/// The data of an event. The event may be incomplete.
pub(super) fn data(event: &[u8]) -> Cow<'_, [u8]> {
    fields(event).map_or_else(Default::default, |(_, data)| data)
}

/// True if an event has a comment, or a field of the event-stream format. The event may be
/// incomplete.
pub(super) fn is_known(event: &[u8]) -> bool {
    let start = event.strip_prefix("\u{feff}".as_bytes()).unwrap_or(event).trim_ascii_start();
    const FIELDS: [&[u8]; 5] = [b":", b"data", b"event", b"id", b"retry"];
    FIELDS.iter().any(|field| start.starts_with(field))
}

/// True if an event only keeps the connection alive: a comment, no data, or a ping.
pub(super) fn is_keep_alive(event: &[u8]) -> bool {
    match event.first() {
        Some(b':' | b'\n' | b'\r') => fields(event).is_none(),
        Some(b'd') => event.strip_prefix(b"data:").is_some_and(|data| data.trim_ascii().is_empty()),
        Some(b'e') => event.starts_with(b"event: ping\n") || event.starts_with(b"event: ping\r"),
        _ => false,
    }
}

/// True if an event without its final blank line ends in the middle of a JSON object.
pub(super) fn is_cut(event: &[u8]) -> bool {
    let data = data(event);
    let mut json = JsonStream::default();
    data.starts_with(b"{") && json.feed(&data, |_| {}).is_ok() && !json.is_done()
}

/// The name and the data of an event. None if it has neither, like a comment or `retry: 3`.
pub(super) fn fields(event: &[u8]) -> Option<(&[u8], Cow<'_, [u8]>)> {
    let (mut name, mut data) = (None, None::<Cow<'_, [u8]>>);
    let event = event.strip_prefix("\u{feff}".as_bytes()).unwrap_or(event);
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = Some(value),
            b"data" => match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(data) => {
                    let data = data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            _ => {}
        }
    }
    if name.is_none() && data.is_none() {
        return None;
    }
    Some((name.unwrap_or_default(), data.unwrap_or_default()))
}

/// The fields of all endpoints that distinguish content, end and error.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) object: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) errors: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) success: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) base_resp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) timings: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Parses a JSON object. None for anything else, also for an array, which serde would accept as
    /// a sequence of the fields.
    pub(super) fn of(data: &'a [u8]) -> Option<Self> {
        data.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(data).ok())?
    }

    /// Judges chat and completions by their choices, and responses by their type. Anything else is
    /// content.
    fn meaning(&self) -> Meaning {
        if let Some(choices) = &self.choices {
            let content = |choice: &Choice<'_>| says(choice.finish_reason) || choice.has_content();
            return if choices.iter().any(content) { Meaning::Content } else { Meaning::Opening };
        }
        match self.kind.map(RawValue::get) {
            Some("\"response.created\"" | "\"response.in_progress\"" | "\"response.queued\"") => {
                Meaning::Opening
            }
            Some("\"response.completed\"" | "\"response.incomplete\"") => Meaning::Done,
            _ => Meaning::Content,
        }
    }
}

impl Choice<'_> {
    /// Every field of a delta except the role is content: engines add new fields, as they did with
    /// `reasoning_content`.
    fn has_content(&self) -> bool {
        let in_delta =
            |(name, value): (&Cow<'_, str>, &&RawValue)| name != "role" && says(Some(value));
        says(self.text) || self.delta.as_ref().is_some_and(|delta| delta.iter().any(in_delta))
    }
}

/// True if a value is present, not null and not empty.
pub(super) fn says(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| !matches!(value.get(), "null" | "\"\"" | "[]" | "{}"))
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
