//! Judges an answer that is no success, by its status and its words. The body is read before the
//! next deployment is tried. By the status alone, a prompt that is too long for this engine looks
//! like a request that is wrong everywhere.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use hyper::http::response::Parts;
use memchr::memmem;
use serde::Deserialize;
use tokio::time::Instant;

use answers::refusal::{Sense, Words};
use fleet::Deployment;
use routing::{Cause, Failure};

use crate::upstream::Answer;

use super::limits;
use super::refusal;
use super::request::Request;

/// Longest pause within the body of an answer whose status leads to the next deployment anyway. Its
/// words are worth less than the time of the request.
const BRIEF: Duration = Duration::from_secs(1);
/// Most names in a message that are looked for in the request.
const NAMES: usize = 8;
/// In bytes. Longest beginning and end of a request in which names are looked for.
const SEARCHED: usize = 128 * 1024;

/// An answer that says that the request is wrong.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) head: Parts,
    /// The whole body. None: it cannot be shown.
    pub(super) text: Option<Bytes>,
}

/// What an answer that is no success says of the request.
#[derive(Debug)]
pub(super) enum Judged {
    /// It is wrong.
    Rejection(Box<Rejection>),
    /// The deployment does not know the question for usage that the gateway added.
    UsageRefused,
}

/// Reads an answer that is no success, until `end` at the latest. `wished`: the gateway has asked
/// for the usage of a stream.
///
/// # Errors
/// If the answer says anything but that the request is wrong.
pub(super) async fn judge(
    mut answer: Answer,
    deployment: &Deployment,
    request: &Request,
    end: Instant,
    wished: bool,
) -> Result<Judged, Failure> {
    let status = answer.head.status;
    let retry_after = limits::wait(&answer.head.headers);
    if status.as_u16() < 400 {
        return Err(Failure { retry_after, ..Cause::Unexpected(status).into() });
    }
    let idle = deployment.config.timeouts.idle;
    let idle = if may_be_passed_on(status) { idle } else { idle.min(BRIEF) };
    let text = refusal::read(&mut answer, idle, end).await;
    if wished && matches!(status.as_u16(), 400 | 422) && text.as_deref().is_some_and(names_usage) {
        return Ok(Judged::UsageRefused);
    }
    let words = text.as_deref().map(Words::in_body).unwrap_or_default();
    let sent = &deployment.config.provider_model_id;
    let sense = Sense::of(Some(status.as_u16()), &words, sent);
    let named = status == StatusCode::NOT_FOUND && names_a_part(&words, &request.body, sent);
    match Cause::of_answer(status, sense, named) {
        Cause::Rejected(_) => {
            Ok(Judged::Rejection(Box::new(Rejection { head: answer.head, text })))
        }
        cause => {
            let body = text.filter(|text| is_error_object(&answer.head, text));
            let failure = Failure { retry_after, ..cause.into() };
            Err(Failure { body, ..failure.with(words) })
        }
    }
}

/// True if an error names the fields by which usage is asked for.
fn names_usage(text: &[u8]) -> bool {
    ["stream_options", "include_usage"]
        .iter()
        .any(|name| memmem::find(text, name.as_bytes()).is_some())
}

/// True if an answer of this status may be passed on to the client as it is.
fn may_be_passed_on(status: StatusCode) -> bool {
    matches!(Cause::of_answer(status, None, true), Cause::Rejected(_))
}

/// True if clients can read the body as an error of the API.
fn is_error_object(head: &Parts, text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, rename = "error")]
        _error: Object<'a>,
    }
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow, rename = "message")]
        _message: Cow<'a, str>,
    }
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let is_json = kind.starts_with(b"application/json");
    // An array would be read as a list of the fields.
    is_json && text.starts_with(b"{") && serde_json::from_slice::<Body<'_>>(text).is_ok()
}

/// True if a message names something of the request other than its model, such as a previous
/// response or a file. Only words that look like an id count.
fn names_a_part(words: &Words, body: &[u8], sent: &str) -> bool {
    let is_id = |word: &&str| {
        word.len() >= 4 && *word != sent && word.contains(['_', '-', '0', '1', '2', '3', '4'])
    };
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let ids = words.message.split(|c| !inside(c)).map(|word| word.trim_matches('.'));
    let (start, end) = (&body[..body.len().min(SEARCHED)], body.len().saturating_sub(SEARCHED));
    ids.filter(is_id).take(NAMES).any(|id| {
        let quoted = format!("\"{id}\"");
        let is_in = |part| memmem::find(part, quoted.as_bytes()).is_some();
        is_in(start) || is_in(&body[end..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_request_names_is_told_from_what_an_engine_lacks() {
        let body = br#"{"model":"m-1","previous_response_id":"resp_12","input":"a b-c"}"#;
        for (message, named) in [
            ("Previous response with id 'resp_12' not found.", true),
            ("Response resp_12 does not exist.", true),
            ("Response resp_1 does not exist.", false),
            ("The model `m-1` does not exist.", false),
            ("Not Found", false),
            ("nothing at /v1/responses", false),
        ] {
            let words = Words { message: message.into(), ..Words::default() };
            assert_eq!(names_a_part(&words, body, "m-1"), named, "{message}");
        }
    }
}
