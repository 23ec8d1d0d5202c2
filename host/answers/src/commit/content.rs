//! What an event or a whole answer says: content, nothing yet, the end, or that it failed.
//!
//! Engines answer 200 before they know whether they can answer at all: vLLM and SGLang then send
//! an error object as the first event (`data: {"error": {...}}`), or as the whole body
//! (`{"object": "error", "message": ..., "code": 400}`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::StatusCode;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What looks for a word is made once: for a text as short as an event that takes longer than the search.
type Word = LazyLock<Finder<'static>>;
static CHOICES: Word = LazyLock::new(|| Finder::new("\"choices\""));
static INDEX: Word = LazyLock::new(|| Finder::new("\"index\""));
static FINISH_REASON: Word = LazyLock::new(|| Finder::new("\"finish_reason\""));
static ERROR: Word = LazyLock::new(|| Finder::new("error"));
static DONE: Word = LazyLock::new(|| Finder::new("[DONE]"));
static RESPONSE: Word = LazyLock::new(|| Finder::new("response."));

/// What one event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A comment, a keep-alive, a role, a usage report: the answer may still fail unseen.
    Opening,
    /// Something the client waits for: text, reasoning, a tool call, audio, a finish reason, or
    /// anything in a shape that is not known.
    Content,
    /// The last event: the stream is whole whatever comes after it.
    Done,
    /// The engine failed.
    Error(Reported),
}

/// An error that an engine reports inside an answer of status 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The client error it amounts to, where it is one: 400, 404, 413 or 422.
    pub status: Option<StatusCode>,
    /// In the engine's words; may hold its address.
    pub message: String,
}

/// What is known of a stream's last event: all that the end of a body leaves open.
#[derive(Debug, Default)]
pub(super) struct Ending {
    kind: Option<Kind>,
    /// The choices (`n` of them) that have begun, and those that have had their finish reason, by their
    /// index.
    begun: u128,
    finished: u128,
    /// Some of the stream was not looked into.
    blind: bool,
}

/// How a stream says that it is whole, but for `[DONE]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By a finish reason of each choice.
    Choices,
    /// By an event of its own.
    Responses,
    /// It is not known.
    Unknown,
}

impl Ending {
    /// Takes one event. It is parsed only where it may tell something new: every event of every stream
    /// passes here.
    pub(super) fn note(&mut self, event: &[u8]) {
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

    /// Whether an event begins and finishes no choice, at a quick look. A first event may have no choice
    /// yet: Azure's has the results of its content filter. A choice without an index is the first one.
    fn knows(&self, event: &[u8]) -> bool {
        match self.kind {
            None => false,
            Some(Kind::Responses) => true,
            Some(Kind::Unknown) if CHOICES.find(event).is_none() => true,
            Some(_) => {
                let first = self.begun & bit(0) != 0;
                first && !has_finish_reason(event) && !self.has_new_index(event)
            }
        }
    }

    /// Whether any `"index"`, be it of a choice or of a tool call, is not one of a choice that has begun.
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

    /// Passes over an event that is too long to be looked into.
    pub(super) fn pass_over(&mut self) {
        self.blind = true;
    }

    /// Whether all content has come: of each choice that has begun.
    pub(super) fn is_sure(&self) -> bool {
        self.begun != 0 && self.begun == self.finished
    }

    /// Whether the last event is missing, though the body ended as it should. So it does where a proxy
    /// stands before the engine that cannot tell an end from a break: nginx, which speaks HTTP/1.0 to
    /// its upstreams by default.
    pub(super) fn is_missing(&self) -> bool {
        match self.kind {
            _ if self.blind => false,
            Some(Kind::Choices) => self.begun != self.finished,
            Some(Kind::Responses) => true,
            Some(Kind::Unknown) | None => false,
        }
    }
}

/// The place of a choice among those that are followed. Nobody asks for more than 128; those that did
/// would share the last bit.
fn bit(index: u32) -> u128 {
    1 << index.min(u128::BITS - 1)
}

/// Whether anything but null may stand behind an unescaped `"finish_reason"`.
fn has_finish_reason(event: &[u8]) -> bool {
    let key = &*FINISH_REASON;
    let value =
        |at| event[at + key.needle().len()..].iter().find(|byte| !matches!(byte, b':' | b' '));
    key.find_iter(event).any(|at| value(at) != Some(&b'n'))
}

/// What an event means to a client that has had no content yet.
pub(super) fn first(event: &[u8]) -> Meaning {
    let Some((name, data)) = fields(event) else { return Meaning::Opening };
    if data.trim_ascii() == b"[DONE]" {
        return Meaning::Done;
    }
    let envelope = Envelope::of(&data);
    if let Some(error) = failed(name, &data, envelope.as_ref()) {
        return Meaning::Error(error);
    }
    envelope.map_or(Meaning::Content, |envelope| envelope.meaning())
}

/// What an event means once content has come: the first look is cheap, because every event of
/// every stream passes here.
pub(super) fn later(event: &[u8]) -> Meaning {
    const LAST: [&[u8]; 3] = [b"completed", b"failed", b"incomplete"];
    let is_last =
        |at| LAST.iter().any(|kind| event[at + RESPONSE.needle().len()..].starts_with(kind));
    let doubtful = ERROR.find(event).is_some()
        || DONE.find(event).is_some()
        || RESPONSE.find_iter(event).any(is_last);
    if doubtful { first(event) } else { Meaning::Content }
}

/// What an event means that is too long to be looked into, by its beginning. One that begins as an error
/// is one: nothing of it could be passed on without what the engine says of itself.
pub(super) fn of_long(start: &[u8]) -> Meaning {
    match begins_as_error(start) {
        true => Meaning::Error(Reported::new(None, None, "")),
        false => Meaning::Content,
    }
}

/// Whether an event that is not whole yet may turn out to be an error: one by its name, or an object whose
/// first field says so. An error behind other fields is seen only once it is whole.
pub(super) fn begins_as_error(start: &[u8]) -> bool {
    /// So much of an event tells.
    const ENOUGH: usize = 256;
    const FAILED: [&[u8]; 3] =
        [b"{\"type\":\"error\"", b"{\"type\":\"response.failed\"", b"{\"object\":\"error\""];
    let Some((name, data)) = fields(&start[..start.len().min(ENOUGH)]) else { return false };
    if matches!(name, b"error" | b"response.failed") {
        return true;
    }
    let data: Vec<u8> =
        data.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(32).collect();
    // As `says` has it: these are no errors.
    let is_nothing = |value: &[u8]| matches!(value, b"nu" | b"\"\"" | b"[]" | b"{}");
    let value = data.strip_prefix(b"{\"error\":").and_then(|value| value.get(..2));
    value.is_some_and(|value| !is_nothing(value)) || FAILED.iter().any(|f| data.starts_with(f))
}

/// The error that a whole body is, if it is one.
pub(super) fn error_in(body: &[u8]) -> Option<Reported> {
    ERROR.find(body)?;
    failed(b"", body, Envelope::of(body).as_ref())
}

/// Whether `body` is one whole JSON value.
pub(super) fn is_whole(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// Whether the last event of a stream, which lacks its blank line, stops in the middle of a value.
pub(super) fn is_cut(event: &[u8]) -> bool {
    fields(event).is_some_and(|(_, data)| data.starts_with(b"{") && stops_early(&data))
}

/// Whether JSON values, one behind the other, stop in the middle of one. What is no JSON does not.
pub(super) fn stops_early(body: &[u8]) -> bool {
    let mut values =
        serde_json::Deserializer::from_slice(body).into_iter::<serde::de::IgnoredAny>();
    values.any(|value| value.is_err_and(|error| error.is_eof()))
}

/// The name and the data of an event; None where it has neither (a comment, `retry: 3`).
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

/// The fields by which an answer of any of the endpoints is judged.
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
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
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
}

impl<'a> Envelope<'a> {
    /// None: it is no JSON object. To serde an array would do for one, field by field.
    fn of(data: &'a [u8]) -> Option<Self> {
        data.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(data).ok())?
    }

    /// Chat and completions by their choices, responses by their type, everything else is content.
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
    /// A delta may carry fields that are not known yet (`reasoning_content` once was): all but the
    /// role are content.
    fn has_content(&self) -> bool {
        let in_delta =
            |(name, value): (&Cow<'_, str>, &&RawValue)| name != "role" && says(Some(value));
        says(self.text) || self.delta.as_ref().is_some_and(|delta| delta.iter().any(in_delta))
    }
}

/// Whether a value is there and not empty.
fn says(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| !matches!(value.get(), "null" | "\"\"" | "[]" | "{}"))
}

fn failed(name: &[u8], data: &[u8], envelope: Option<&Envelope<'_>>) -> Option<Reported> {
    let named = name == b"error";
    let Some(envelope) = envelope else {
        return named.then(|| Reported::new(None, None, &String::from_utf8_lossy(data)));
    };
    let kind = envelope.kind.map(RawValue::get);
    if says(envelope.error) {
        return envelope.error.map(Reported::from_value);
    }
    if kind == Some("\"response.failed\"") {
        let response =
            envelope.response.and_then(|r| serde_json::from_str::<Envelope<'_>>(r.get()).ok());
        let error = response.and_then(|response| response.error.map(Reported::from_value));
        return Some(error.unwrap_or_else(|| Reported::new(None, None, "")));
    }
    let is_error =
        envelope.object.map(RawValue::get) == Some("\"error\"") || kind == Some("\"error\"");
    (named || is_error).then(|| Reported::new(envelope.code, None, &text(envelope.message)))
}

impl Reported {
    /// From the value of an `error` field: an object or a string.
    fn from_value(value: &RawValue) -> Self {
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(borrow, default)]
            message: Option<&'a RawValue>,
            #[serde(borrow, default)]
            code: Option<&'a RawValue>,
            #[serde(borrow, default)]
            status: Option<&'a RawValue>,
        }
        match serde_json::from_str::<Raw<'_>>(value.get()) {
            Ok(raw) => Self::new(raw.code, raw.status, &text(raw.message)),
            Err(_) => Self::new(None, None, &text(Some(value))),
        }
    }

    fn new(code: Option<&RawValue>, status: Option<&RawValue>, message: &str) -> Self {
        let number = |value: Option<&RawValue>| value?.get().trim_matches('"').parse::<u16>().ok();
        let status = number(code).or_else(|| number(status)).filter(|status| {
            // What a client can mend; anything else is the deployment's own.
            matches!(status, 400 | 404 | 413 | 422)
        });
        Self {
            status: status.and_then(|status| StatusCode::from_u16(status).ok()),
            message: message.to_owned(),
        }
    }
}

/// The text of a JSON string; anything else as it is written.
fn text(value: Option<&RawValue>) -> String {
    let Some(value) = value else { return String::new() };
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carries_nothing_is_an_opening() {
        for event in [
            ": keep-alive\n\n",
            "retry: 3000\n\n",
            "\n",
            r#"data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"data: {"choices":[{"delta":{"role":"assistant","tool_calls":[]}}],"error":null}"#,
            r#"data: {"choices":[],"usage":{"prompt_tokens":1}}"#,
            r#"data: {"choices":[{"text":"","finish_reason":null}]}"#,
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}",
            r#"data: {"type":"response.in_progress"}"#,
        ] {
            assert_eq!(first(event.as_bytes()), Meaning::Opening, "{event}");
        }
    }

    #[test]
    fn what_a_client_waits_for_is_content() {
        for event in [
            r#"data: {"choices":[{"delta":{"content":"a"}}]}"#,
            r#"data:{"choices":[{"delta":{"reasoning_content":"a"}}]}"#,
            r#"data: {"choices":[{"delta":{"role":"assistant","tool_calls":[{"index":0}]}}]}"#,
            r#"data: {"choices":[{"delta":{"audio":{"id":"a"}}}]}"#,
            r#"data: {"choices":[{"text":" "}]}"#,
            r#"data: {"type":"response.output_item.added"}"#,
            r#"data: {"choices":"odd"}"#,
            "data: 1\ndata: 2",
            r#"data: ["text", "error"]"#,
            "data: hello",
        ] {
            assert_eq!(first(event.as_bytes()), Meaning::Content, "{event}");
        }
        for (event, meaning) in [
            ("data: [DONE]\n\n", Meaning::Done),
            (r#"data: {"type":"response.completed"}"#, Meaning::Done),
            (r#"data: {"choices":[{"delta":{},"finish_reason": "stop"}]}"#, Meaning::Content),
        ] {
            assert_eq!(first(event.as_bytes()), meaning, "{event}");
            assert_eq!(later(event.as_bytes()), meaning, "{event}");
        }
    }

    #[test]
    fn an_error_is_seen_in_every_shape_that_engines_give_it() {
        let cases = [
            (
                r#"data: {"error":{"message":"too long","type":"BadRequestError","code":400}}"#,
                400,
                "too long",
            ),
            (r#"data: {"error":{"message":"oom","code":"internal"}}"#, 0, "oom"),
            (r#"data: {"error":"gone"}"#, 0, "gone"),
            (r#"data: {"object":"error","message":"no","code":422}"#, 422, "no"),
            ("event: error\ndata: {\"type\":\"error\",\"message\":\"no\"}", 0, "no"),
            ("event: error\ndata: no", 0, "no"),
            (r#"data: {"type":"response.failed","response":{"error":{"message":"no"}}}"#, 0, "no"),
            (r#"data: {"type":"response.failed","response":{}}"#, 0, ""),
            (
                r#"data: {"choices":[{"delta":{"content":""}}],"error":{"message":"no","code":500}}"#,
                0,
                "no",
            ),
        ];
        for (event, status, message) in cases {
            for meaning in [first(event.as_bytes()), later(event.as_bytes())] {
                let Meaning::Error(error) = meaning else { panic!("{event}: {meaning:?}") };
                assert_eq!(error.message, message, "{event}");
                assert_eq!(error.status.map_or(0, |status| status.as_u16()), status, "{event}");
            }
        }
    }

    #[test]
    fn a_stream_is_finished_when_each_choice_that_has_begun_is() {
        let event = |index: &str, reason: &str| {
            let choice = format!(
                r#"{{{index}"delta":{{"tool_calls":[{{"index":7}}]}},"finish_reason":{reason}}}"#
            );
            format!("data: {{\"choices\":[{choice}]}}\n\n").into_bytes()
        };
        let mut choices = Ending::default();
        assert!(!choices.is_sure(), "nothing has begun");
        choices.note(b": wait\n\n");
        choices.note(b"data: [DONE]\n\n");
        choices.note(br#"data: {"choices":[],"usage":{}}"#);
        assert!(!choices.is_sure(), "still nothing");
        for (index, reason, finished) in [
            (r#""index":0,"#, "null", false),
            (r#""index":1,"#, r#""""#, false),
            (r#""index":0,"#, r#""stop""#, false),
            (r#""index":1,"#, r#""length""#, true),
            ("", "null", true),
            (r#""index":"odd","#, "null", true),
            (r#""index":400,"#, "null", false),
            (r#""index":400,"#, r#""stop""#, true),
        ] {
            choices.note(&event(index, reason));
            assert_eq!(choices.is_sure(), finished, "{index} {reason}");
        }
        let both =
            br#"data: {"choices":[{"index":2,"text":"a"},{"index":3,"finish_reason":"stop"}]}"#;
        choices.note(both);
        assert!(!choices.is_sure(), "2 is not");
    }

    #[test]
    fn a_stream_of_a_known_kind_lacks_its_end_until_that_comes() {
        let missing = |events: &[&str]| {
            let mut ending = Ending::default();
            events.iter().for_each(|event| ending.note(event.as_bytes()));
            ending.is_missing()
        };
        let text =
            r#"data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#;
        let stop = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let usage = r#"data: {"choices":[],"usage":{}}"#;
        assert!(missing(&[text]) && missing(&[": wait", text, text, usage]));
        assert!(missing(&[r#"data: {"choices":[],"prompt_filter_results":[]}"#, text]));
        assert!(!missing(&[text, stop]) && !missing(&[text, text, stop, usage]));
        assert!(missing(&[r#"data: {"type":"response.created"}"#]));
        let second = text.replace("0,", "1,");
        assert!(missing(&[text, &second, stop, usage]), "the second is not finished");
        let both = [text, &second, &second, stop, &stop.replace("0,", "1,"), usage];
        assert!(!missing(&both));
        assert!(!missing(&[]) && !missing(&[usage]) && !missing(&["data: {\"token\":\"a\"}"]));
        assert!(!missing(&["data: hello", "data: {\"type\":\"progress\"}"]));
        let mut ending = Ending::default();
        ending.note(text.as_bytes());
        ending.pass_over();
        assert!(!ending.is_missing(), "it may have been in what was not looked into");
    }

    #[test]
    fn text_about_errors_is_no_error() {
        let event =
            br#"data: {"choices":[{"delta":{"content":"\"error\": [DONE] event: error"}}]}"#;
        assert_eq!(later(event), Meaning::Content);
        assert_eq!(error_in(br#"{"choices":[],"error":null}"#), None);
        assert_eq!(error_in(br#"["error"]"#), None);
        assert_eq!(error_in(br#"{"a":{"error":{"message":"nested"}}}"#), None);
        assert!(error_in(br#"{"error":{"message":"no"}}"#).is_some());
    }
}
