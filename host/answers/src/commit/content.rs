//! Classifies an event or a whole body: no content yet, content, the end of a stream, or an error.
//!
//! Engines answer 200 before they know whether they can answer at all: vLLM and SGLang then send
//! an error object as the first event (`data: {"error": {...}}`), or as the whole body
//! (`{"object": "error", "message": ..., "code": 400}`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use http1::json_stream::JsonStream;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::count;
use crate::refusal::Words;

use super::long::Seen;

/// Built once: building a finder takes longer than searching a text as short as an event.
type Word = LazyLock<Finder<'static>>;
static CHOICES: Word = LazyLock::new(|| Finder::new("\"choices\""));
static INDEX: Word = LazyLock::new(|| Finder::new("\"index\""));
static FINISH_REASON: Word = LazyLock::new(|| Finder::new("\"finish_reason\""));
static ERROR: Word = LazyLock::new(|| Finder::new("error"));
static DONE: Word = LazyLock::new(|| Finder::new("[DONE]"));
static RESPONSE: Word = LazyLock::new(|| Finder::new("response."));
static SUCCESS: Word = LazyLock::new(|| Finder::new("\"success\""));
static BASE_RESP: Word = LazyLock::new(|| Finder::new("\"base_resp\""));

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
    kind: Option<Kind>,
    /// The choices (`n` in the request) that have begun: one bit per index.
    begun: u128,
    /// The choices that have had a finish reason. A subset of `begun`.
    finished: u128,
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

    /// True if any `"index"` is not that of a choice that has begun. The index of a tool call
    /// counts too: mistaking it for a choice only costs a parse.
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

    /// True if the end marker of this kind of stream is missing. Correct framing does not
    /// make up for it: nginx speaks HTTP/1.0 to its upstreams by default, cannot tell the end of an
    /// answer from a broken connection, and frames both correctly. The caller checks for
    /// [`Meaning::Done`] first.
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

/// True if an incomplete event looks like an error by its name or by its object's first field. An
/// error behind other fields is found only once the event is whole.
pub(super) fn begins_as_error(start: &[u8]) -> bool {
    /// Bytes of the event that are examined.
    const ENOUGH: usize = 256;
    const FAILED: [&[u8]; 3] =
        [b"{\"type\":\"error\"", b"{\"type\":\"response.failed\"", b"{\"object\":\"error\""];
    let start = &start[..start.len().min(ENOUGH)];
    count(2 * start.len());
    let Some((name, data)) = fields(start) else { return false };
    if matches!(name, b"error" | b"response.failed") {
        return true;
    }
    let data: Vec<u8> =
        data.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(32).collect();
    let data = data.strip_prefix(b"[").unwrap_or(&data);
    // The first two bytes of the values that are not errors, as in `reports`.
    let is_nothing =
        |value: &[u8]| matches!(value, b"nu" | b"fa" | b"0," | b"0}" | b"\"\"" | b"[]" | b"{}");
    let value = data.strip_prefix(b"{\"error\":").and_then(|value| value.get(..2));
    value.is_some_and(|value| !is_nothing(value)) || FAILED.iter().any(|f| data.starts_with(f))
}

/// The error that a whole body reports, if it reports one.
pub(super) fn error_in(body: &[u8]) -> Option<Words> {
    ERROR.find(body).or_else(|| SUCCESS.find(body)).or_else(|| BASE_RESP.find(body))?;
    let envelope = Envelope::of(body);
    failed(b"", body, envelope.as_ref()).or_else(|| envelope?.refusal(body))
}

/// The first value of a JSON list.
fn first_of_list(body: &[u8]) -> Option<&[u8]> {
    let list = body.trim_ascii_start().strip_prefix(b"[")?;
    let first = serde_json::Deserializer::from_slice(list).into_iter::<&RawValue>().next()?;
    Some(first.ok()?.get().as_bytes())
}

/// True if an event without its final blank line ends in the middle of a JSON object.
pub(super) fn is_cut(event: &[u8]) -> bool {
    let data = data(event);
    let mut json = JsonStream::default();
    data.starts_with(b"{") && json.feed(&data, |_| {}).is_ok() && !json.is_done()
}

/// The name and the data of an event. None if it has neither, like a comment or `retry: 3`.
fn fields(event: &[u8]) -> Option<(&[u8], Cow<'_, [u8]>)> {
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
struct Envelope<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
    #[serde(borrow, default)]
    success: Option<&'a RawValue>,
    #[serde(borrow, default)]
    base_resp: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// The result of a call, which MiniMax adds to every answer.
#[derive(Deserialize)]
struct BaseResp {
    /// 0: it went well.
    status_code: i64,
    #[serde(default)]
    status_msg: String,
}

impl<'a> Envelope<'a> {
    /// Parses a JSON object. None for anything else, also for an array, which serde would accept as
    /// a sequence of the fields.
    fn of(data: &'a [u8]) -> Option<Self> {
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

    /// The words of a whole body that says it failed, and has no answer: `{"success": false}`, a
    /// list of `errors`, or a `base_resp` with a code.
    fn refusal(&self, body: &[u8]) -> Option<Words> {
        if self.choices.as_ref().is_some_and(|choices| !choices.is_empty()) {
            return None;
        }
        let base = self.base_resp.and_then(|base| serde_json::from_str(base.get()).ok());
        if let Some(BaseResp { status_code: 1.., status_msg }) = base {
            return Some(Words { message: status_msg, ..Words::default() });
        }
        let is_false = self.success.is_some_and(|success| success.get() == "false");
        (is_false || says(self.errors)).then(|| Words::in_body(body))
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
fn says(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| !matches!(value.get(), "null" | "\"\"" | "[]" | "{}"))
}

/// True if the value of an `error` field is an error. Some engines write `false` or 0 for none.
fn reports(value: Option<&RawValue>) -> bool {
    says(value) && value.is_some_and(|value| !matches!(value.get(), "false" | "0"))
}

/// The error in an event or body, in any of the shapes that engines use. `name` is empty for a
/// body.
fn failed(name: &[u8], data: &[u8], envelope: Option<&Envelope<'_>>) -> Option<Words> {
    let named = name == b"error";
    let Some(envelope) = envelope else {
        // Google's OpenAI endpoint wraps its errors in a list.
        if let Some(first) = first_of_list(data)
            && let Some(envelope) = Envelope::of(first)
        {
            return failed(name, first, Some(&envelope));
        }
        return named.then(|| Words {
            message: String::from_utf8_lossy(data).into_owned(),
            ..Words::default()
        });
    };
    let kind = envelope.kind.map(RawValue::get);
    if reports(envelope.error) {
        // All of it: engines also write fields beside the error.
        return Some(Words::in_body(data));
    }
    // OpenRouter: the engine behind it failed, maybe within the answer.
    let choices = envelope.choices.iter().flatten();
    if let Some(error) = choices.filter_map(|choice| choice.error).find(|e| reports(Some(e))) {
        return Some(Words::of(error));
    }
    if kind == Some("\"response.failed\"") {
        let said = envelope.response.map(Words::of);
        return Some(said.unwrap_or_default());
    }
    let is_error =
        envelope.object.map(RawValue::get) == Some("\"error\"") || kind == Some("\"error\"");
    (named || is_error).then(|| Words::in_body(data))
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
