//! Errors that engines report in events, and in whole bodies of status 200.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::count;
use crate::refusal::Words;

use super::content::{ERROR, Envelope, Word, fields, says};

static SUCCESS: Word = LazyLock::new(|| Finder::new("\"success\""));
static BASE_RESP: Word = LazyLock::new(|| Finder::new("\"base_resp\""));

/// The result of a call, which MiniMax adds to every answer.
#[derive(Deserialize)]
struct BaseResp {
    /// 0: it went well.
    status_code: i64,
    #[serde(default)]
    status_msg: String,
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

impl Envelope<'_> {
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

/// True if the value of an `error` field is an error. Some engines write `false` or 0 for none.
fn reports(value: Option<&RawValue>) -> bool {
    says(value) && value.is_some_and(|value| !matches!(value.get(), "false" | "0"))
}

/// The error in an event or body, in any of the shapes that engines use. `name` is empty for a
/// body.
pub(super) fn failed(name: &[u8], data: &[u8], envelope: Option<&Envelope<'_>>) -> Option<Words> {
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
