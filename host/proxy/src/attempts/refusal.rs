//! The body of an upstream's error (400, 404, 413, 422, ...), read within bounds and rid of secrets:
//! engines and providers often repeat the URL or the key that they were called with.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use tokio::time::{Instant, timeout_at};

use answers::refusal::Words;
use config::Redactor;
use routing::Failure;

use crate::upstream::Answer;

use super::attempt::is_encoded;

/// Largest error body that is passed on, in bytes. A larger one is replaced.
const LONGEST: usize = 64 * 1024;

/// Reads the body of a refusal. It may pause for at most `idle`, and must end by `end`. None: it
/// broke or was too slow, or secrets cannot be found in it, because it is too long or compressed.
pub(super) async fn read(answer: &mut Answer, idle: Duration, end: Instant) -> Option<Bytes> {
    if is_encoded(&answer.head.headers) {
        return None;
    }
    let (body, mut text) = (&mut answer.body, BytesMut::new());
    loop {
        let due = end.min(Instant::now() + idle);
        let chunk = timeout_at(due, poll_fn(|cx| body.poll_chunk(cx))).await.ok()?;
        let Some(chunk) = chunk else { return Some(text.freeze()) };
        text.extend_from_slice(&chunk.ok()?);
        if text.len() > LONGEST {
            return None;
        }
    }
}

/// Longest message of an engine that clients are told, in characters.
const LONGEST_MESSAGE: usize = 1000;

/// Of a longer message only the beginning is read, in bytes.
const READ_OF_MESSAGE: usize = 16 * 1024;

/// An engine's words as clients may see them. They are cut after redaction, because the redactor does
/// not find half a key. A word that is cut before redaction is left out.
pub(super) fn words(said: Words, redactor: &Redactor) -> Words {
    let clean = |mut text: String| -> String {
        if text.len() > READ_OF_MESSAGE {
            text.truncate(text.floor_char_boundary(READ_OF_MESSAGE));
            let last = text.rfind(char::is_whitespace).unwrap_or(0);
            text.truncate(last);
        }
        redactor.redact_text(text).chars().take(LONGEST_MESSAGE).collect()
    };
    let word = |word: Option<String>| word.map(clean);
    Words {
        message: clean(said.message),
        kind: word(said.kind),
        param: word(said.param),
        code: word(said.code),
        status: said.status,
        wait: said.wait,
    }
}

/// Removes secrets from what a failure says.
pub(super) fn redact(failure: &mut Failure, redactor: &Redactor) {
    failure.said = failure.said.take().map(|said| Box::new(words(*said, redactor)));
    failure.body = failure.body.take().map(|body| redactor.redact(body));
}

/// Drops headers that contain a key or an address.
pub(super) fn redact_headers(headers: &mut HeaderMap, redactor: &Redactor) {
    let kept = headers.iter().filter(|(_, value)| !redactor.finds_any(value.as_bytes()));
    *headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
}
