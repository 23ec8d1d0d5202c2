//! Reads the body of an upstream's error (400, 404, 413, 422, ...) within bounds, and removes
//! secrets. Engines and providers often repeat the URL or the key that they were called with.

use std::future::poll_fn;
use std::sync::Arc;
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
const READ_OF_MESSAGE: usize = 8 * 1024;
/// The same of a code, a type and a parameter.
const READ_OF_WORD: usize = 256;
/// Longest body that is masked on a serving core, in bytes. Masking takes up to 40 ns for each byte.
const MASKED_HERE: usize = 8 * 1024;
/// Bytes of header values that are searched for secrets. Headers beyond them are dropped.
const SEARCHED: usize = 8 * 1024;

/// An engine's words as clients may see them. They are cut after redaction, because the redactor does
/// not find half a key. A word that is cut before redaction is left out.
pub(super) fn words(said: Words, redactor: &Redactor) -> Words {
    let clean = |mut text: String, longest: usize| -> String {
        if text.len() > longest {
            text.truncate(text.floor_char_boundary(longest));
            let last = text.rfind(char::is_whitespace).unwrap_or(0);
            text.truncate(last);
        }
        redactor.redact_text(text).chars().take(LONGEST_MESSAGE).collect()
    };
    let word = |word: Option<String>| word.map(|word| clean(word, READ_OF_WORD));
    Words {
        message: clean(said.message, READ_OF_MESSAGE),
        kind: word(said.kind),
        param: word(said.param),
        code: word(said.code),
        status: said.status,
        wait: said.wait,
    }
}

/// Removes secrets from what a failure says.
pub(super) async fn redact(failure: &mut Failure, redactor: &Arc<Redactor>) {
    failure.said = failure.said.take().map(|said| Box::new(words(*said, redactor)));
    failure.body = match failure.body.take() {
        Some(body) => mask(body, redactor).await,
        None => None,
    };
}

/// Masks secrets in a body. A long one is masked on a thread of its own, so that the core serves others
/// meanwhile. None: the thread failed.
pub(super) async fn mask(body: Bytes, redactor: &Arc<Redactor>) -> Option<Bytes> {
    if body.len() <= MASKED_HERE {
        return Some(redactor.redact(body));
    }
    let redactor = Arc::clone(redactor);
    tokio::task::spawn_blocking(move || redactor.redact(body)).await.ok()
}

/// Drops headers that contain a key or an address.
pub(super) fn redact_headers(headers: &mut HeaderMap, redactor: &Redactor) {
    let mut left = SEARCHED;
    let kept = headers.iter().filter(|(_, value)| is_clean(value.as_bytes(), redactor, &mut left));
    *headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
}

/// True if headers that a gateway or a server added itself (`x-`) contain a key or an address, or are
/// too long to tell. Some tell where they sent a request: LiteLLM's `x-litellm-model-api-base`.
pub(super) fn tells(headers: &HeaderMap, redactor: &Redactor) -> bool {
    let mut left = SEARCHED;
    let added = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-"));
    added.map(|(_, value)| value).any(|value| !is_clean(value.as_bytes(), redactor, &mut left))
}

/// True if no secret is in a value. `left`: bytes that may still be searched.
fn is_clean(value: &[u8], redactor: &Redactor, left: &mut usize) -> bool {
    match left.checked_sub(value.len()) {
        Some(rest) => {
            *left = rest;
            !redactor.finds_any(value)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masks the URL of one deployment.
    fn redactor() -> Arc<Redactor> {
        let folder = tempfile::tempdir().expect("a folder");
        let models = folder.path().join("models.yaml");
        std::fs::write(&models, "models: [{id: m, base_url: 'https://inside.example/v1'}]\n")
            .expect("written");
        let routing = folder.path().join("none");
        let paths = config::Paths { models, routing, routing_required: false };
        Arc::new(Redactor::new(&config::load(&paths, &|_| None).expect("good").models))
    }

    #[tokio::test]
    async fn a_long_body_is_masked_like_a_short_one() {
        let redactor = redactor();
        for length in [10, MASKED_HERE, LONGEST - 100] {
            let body = format!("{} at https://inside.example/v1", "x".repeat(length));
            let masked = mask(Bytes::from(body), &redactor).await.expect("masked");
            let masked = String::from_utf8(masked.to_vec()).expect("text");
            assert!(!masked.contains("inside") && masked.contains("x at "), "{length}");
        }
    }

    #[test]
    fn headers_too_long_to_search_are_dropped() {
        let redactor = redactor();
        let mut headers = HeaderMap::new();
        let mut insert = |name: &'static str, value: String| {
            headers.insert(name, value.parse().expect("a value"));
        };
        insert("x-a", "good".into());
        insert("x-b", "at inside.example".into());
        insert("x-c", "c".repeat(SEARCHED));
        assert!(tells(&headers, &redactor));
        redact_headers(&mut headers, &redactor);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-a"]);
        assert!(!tells(&headers, &redactor));
    }

    #[test]
    fn words_are_cut_between_words() {
        let long = "word ".repeat(READ_OF_MESSAGE) + "https://inside.example";
        let code = Some("c".repeat(READ_OF_WORD + 1));
        let said = words(Words { message: long, code, ..Words::default() }, &redactor());
        assert!(said.message.len() <= LONGEST_MESSAGE && said.message.starts_with("word word"));
        assert_eq!(said.code.as_deref(), Some(""), "a word that is cut may be half a key");
    }
}
