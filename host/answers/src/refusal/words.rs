//! The error object of an engine, in any of the shapes that engines write it in.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{floor, wait};

/// Longest text without an error object that counts as a message, in bytes. A longer one is a page.
const LONGEST_TEXT: usize = 1024;
/// Most levels of objects around the error itself.
const LEVELS: usize = 4;

/// What an engine says of a failure, in its own words. They are not redacted, and may contain
/// addresses and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// The text for people. Empty if there is none.
    pub message: String,
    /// The `type`: `invalid_request_error`.
    pub kind: Option<String>,
    /// The parameter at fault.
    pub param: Option<String>,
    /// The `code`, if it is a word: `insufficient_quota`. Google calls it `status`.
    pub code: Option<String>,
    /// The status in the body, 400 to 599. It may differ from the status of the answer.
    pub status: Option<u16>,
    /// The time that the engine asks to wait, at most a day.
    pub wait: Option<Duration>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    msg: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    param: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error_type: Option<&'a RawValue>,
    /// Google's list of details, one of which may be a [`Detail`].
    #[serde(borrow, default)]
    details: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "retry_after_seconds", alias = "retryAfter")]
    retry_after: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow, rename = "retryDelay")]
    retry_delay: Cow<'a, str>,
}

impl Words {
    /// The words in the body of an answer that is an error. A short text that is not JSON counts as
    /// the message, a page of HTML does not.
    #[must_use]
    pub fn in_body(body: &[u8]) -> Self {
        let Ok(text) = str::from_utf8(body) else { return Self::default() };
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.starts_with(['{', '[']) {
            return serde_json::from_str::<&RawValue>(text)
                .map(|value| Self::in_value(value, LEVELS))
                .unwrap_or_default();
        }
        let message = match text.len() <= LONGEST_TEXT && !text.starts_with('<') {
            true => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
            false => String::new(),
        };
        let wait = wait::in_message(&message);
        Self { message, wait, ..Self::default() }
    }

    /// The words in a value: an error object, a string, a list of either, or an object around them.
    pub(crate) fn of(value: &RawValue) -> Self {
        Self::in_value(value, LEVELS)
    }

    fn in_value(value: &RawValue, levels: usize) -> Self {
        let text = value.get().trim_start();
        if levels == 0 || text.starts_with('"') {
            let message = string(Some(value));
            let wait = wait::in_message(&message[..floor(&message, LONGEST_TEXT)]);
            return Self { message, wait, ..Self::default() };
        }
        if text.starts_with('[') {
            // Google wraps errors of its OpenAI endpoint in a list, FastAPI lists what is invalid.
            let first = serde_json::from_str::<Vec<&RawValue>>(text).unwrap_or_default();
            return first.first().map_or_else(Self::default, |v| Self::in_value(v, levels - 1));
        }
        let Ok(raw) = serde_json::from_str::<Raw<'_>>(text) else { return Self::default() };
        let own = Self::of_object(&raw);
        let inner = [raw.error, raw.errors, raw.detail].into_iter().flatten().find(says);
        match inner {
            // TGI: `{"error": "...", "error_type": "..."}`.
            Some(inner) => Self::in_value(inner, levels - 1).or(own),
            None => own,
        }
    }

    fn of_object(raw: &Raw<'_>) -> Self {
        let word =
            |value: Option<&RawValue>| Some(string(Some(value?))).filter(|text| !text.is_empty());
        let number = |value: Option<&RawValue>| {
            let number = value?.get().trim_matches('"').parse::<u16>().ok()?;
            (400..600).contains(&number).then_some(number)
        };
        let letters = |text: &String| text.parse::<f64>().is_err();
        let code = word(raw.code.filter(says)).filter(letters);
        let message = string(raw.message.or(raw.msg));
        let told = |value: &RawValue| wait::in_field(value.get().trim_matches('"'));
        Self {
            wait: raw
                .retry_after
                .and_then(told)
                .or_else(|| in_details(raw.details?))
                .or_else(|| wait::in_message(&message[..floor(&message, LONGEST_TEXT)])),
            message,
            kind: word(raw.kind.or(raw.error_type).filter(says)),
            param: word(raw.param.filter(says)),
            code: code.or_else(|| word(raw.status.filter(says)).filter(letters)),
            status: number(raw.code).or_else(|| number(raw.status)),
        }
    }

    /// These words, completed by those of the object around them.
    fn or(self, outer: Self) -> Self {
        Self {
            message: if self.message.is_empty() { outer.message } else { self.message },
            kind: self.kind.or(outer.kind),
            param: self.param.or(outer.param),
            code: self.code.or(outer.code),
            status: self.status.or(outer.status),
            wait: self.wait.or(outer.wait),
        }
    }
}

/// The wait in the first of Google's details that has one.
fn in_details(details: &RawValue) -> Option<Duration> {
    let details: Vec<&RawValue> = serde_json::from_str(details.get()).ok()?;
    let delay = |detail: &&RawValue| {
        let Detail { retry_delay } = serde_json::from_str(detail.get()).ok()?;
        wait::duration(&retry_delay)
    };
    details.iter().find_map(delay)
}

/// True if a value is present and says something.
fn says(value: &&RawValue) -> bool {
    !matches!(value.get(), "null" | "\"\"" | "[]" | "{}" | "false")
}

/// The text of a JSON string, or the raw JSON of any other value. Empty for None.
fn string(value: Option<&RawValue>) -> String {
    let Some(value) = value.filter(says) else { return String::new() };
    let text: Result<Cow<'_, str>, _> = serde_json::from_str(value.get());
    text.map_or_else(|_| value.get().to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str) -> Words {
        Words::in_body(body.as_bytes())
    }

    /// A body, and its message, type, code and status.
    type Shape =
        (&'static str, &'static str, Option<&'static str>, Option<&'static str>, Option<u16>);

    const SHAPES: [Shape; 14] = [
        // OpenAI, vLLM since 0.10, SGLang, llama.cpp
        (
            r#"{"error":{"message":"no","type":"t","param":"p","code":"c"}}"#,
            "no",
            Some("t"),
            Some("c"),
            None,
        ),
        (r#"{"error":{"message":"no","code":400}}"#, "no", None, None, Some(400)),
        // vLLM before
        (
            r#"{"object":"error","message":"no","type":"t","code":400}"#,
            "no",
            Some("t"),
            None,
            Some(400),
        ),
        // Ollama's own API, LM Studio
        (r#"{"error":"no"}"#, "no", None, None, None),
        // TGI
        (r#"{"error":"no","error_type":"overloaded"}"#, "no", Some("overloaded"), None, None),
        // Anthropic
        (r#"{"type":"error","error":{"type":"t","message":"no"}}"#, "no", Some("t"), None, None),
        // Gemini
        (
            r#"[{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}]"#,
            "no",
            None,
            Some("RESOURCE_EXHAUSTED"),
            Some(429),
        ),
        // OpenRouter
        (
            r#"{"error":{"message":"no","code":"503","metadata":{}},"user_id":"u"}"#,
            "no",
            None,
            None,
            Some(503),
        ),
        // FastAPI
        (r#"{"detail":"no"}"#, "no", None, None, None),
        (r#"{"detail":[{"loc":["body"],"msg":"no","type":"t"}]}"#, "no", Some("t"), None, None),
        (r#"{"detail":{"error":{"message":"no"}}}"#, "no", None, None, None),
        // Mistral
        (
            r#"{"object":"error","message":"no","type":"t","code":"3051"}"#,
            "no",
            Some("t"),
            None,
            None,
        ),
        // plain text
        ("no\n", "no", None, None, None),
        (r#""no""#, "no", None, None, None),
    ];

    #[test]
    fn every_shape_of_an_error_is_read() {
        for (body, message, kind, code, status) in SHAPES {
            let found = words(body);
            let got = (&*found.message, found.kind.as_deref(), found.code.as_deref(), found.status);
            assert_eq!(got, (message, kind, code, status), "{body}");
        }
        assert_eq!(words(r#"{"error":{"message":"no","param":"p"}}"#).param.as_deref(), Some("p"));
    }

    #[test]
    fn a_wait_is_read_where_it_is_told() {
        for (body, wait) in [
            (r#"{"error":{"message":"Please try again in 20s. Visit","code":"c"}}"#, Some(20.0)),
            (r#"{"error":"retry after 2 seconds"}"#, Some(2.0)),
            (r#"{"error":{"message":"no","retry_after":1.5}}"#, Some(1.5)),
            (r#"{"message":"no","retryAfter":"3"}"#, Some(3.0)),
            (
                r#"[{"error":{"code":429,"message":"no","details":[
                    {"@type":"type.googleapis.com/google.rpc.Help","links":[]},
                    {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}]"#,
                Some(34.5),
            ),
            (r#"{"error":{"message":"no","details":{"retryDelay":"34s"}}}"#, None),
            (r#"{"error":{"message":"no","retry_after":"soon"}}"#, None),
            (r#"{"error":{"message":"no","retry_after":-1}}"#, None),
        ] {
            assert_eq!(words(body).wait, wait.map(Duration::from_secs_f64), "{body}");
        }
    }

    #[test]
    fn a_body_without_words_has_none() {
        for body in
            ["", "{}", "[]", "<html>no</html>", "{\"error\":{}}", "{\"error\":", "{\"error\":null}"]
        {
            assert_eq!(words(body), Words::default(), "{body}");
        }
        assert_eq!(words(&"x".repeat(2 * LONGEST_TEXT)), Words::default());
        assert_eq!(Words::in_body(b"\xff\xfe"), Words::default());
    }

    #[test]
    fn objects_without_end_are_cheap() {
        let deep = format!("{}1{}", r#"{"error":"#.repeat(100), "}".repeat(100));
        assert!(words(&deep).message.len() < deep.len());
    }
}
