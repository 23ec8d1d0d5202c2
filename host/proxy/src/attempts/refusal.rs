//! A client error of an upstream (400, 404, 413, 422, ...): passed on as it is, but for what must not
//! leave the gateway. Engines and providers like to repeat the URL or the key they were called with.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;
use tokio::time::{Instant, timeout_at};

use config::Redactor;

use crate::upstream::Answer;

/// No error text worth reading is longer; a longer one is replaced.
const LONGEST: usize = 64 * 1024;

/// Reads a refusal, waiting for each piece for `idle` and at most until `end`. None: it broke, took too
/// long, or cannot be looked through: it is too long, or compressed, which nobody asked for.
pub(super) async fn read(answer: &mut Answer, idle: Duration, end: Instant) -> Option<Bytes> {
    if answer.head.headers.contains_key(CONTENT_ENCODING) {
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

/// Longest message of an engine that is told, in characters.
const LONGEST_MESSAGE: usize = 1000;

/// What an engine said, as clients may know it. Cut last: half a key is not found.
pub(super) fn words(said: String, redactor: &Redactor) -> String {
    redactor.redact_text(said).chars().take(LONGEST_MESSAGE).collect()
}

/// Drops the headers that tell what must not be told.
pub(super) fn redact_headers(headers: &mut HeaderMap, redactor: &Redactor) {
    let kept = headers.iter().filter(|(_, value)| !redactor.finds_any(value.as_bytes()));
    *headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
}
