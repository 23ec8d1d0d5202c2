//! A client error of an upstream (400, 404, 413, 422, ...): passed on as it is, but for what must not
//! leave the gateway. Engines and providers like to repeat the URL or the key they were called with.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, HeaderValue};
use memchr::memmem;
use tokio::time::{Instant, timeout_at};

use crate::config::DeploymentConfig;

use super::upstream::Answer;

/// No error text worth reading is longer; a longer one is replaced.
const LONGEST: usize = 64 * 1024;
const MASK: &[u8] = b"[redacted]";

/// Reads a refusal, at most until `deadline`. None: it broke, took too long, or cannot be looked
/// through: it is too long, or compressed, which nobody asked for.
pub(super) async fn read(answer: &mut Answer, deadline: Instant) -> Option<Bytes> {
    if answer.head.headers.contains_key(CONTENT_ENCODING) {
        return None;
    }
    let (body, mut text) = (&mut answer.body, BytesMut::new());
    while let Some(chunk) = timeout_at(deadline, poll_fn(|cx| body.poll_chunk(cx))).await.ok()? {
        text.extend_from_slice(&chunk.ok()?);
        if text.len() > LONGEST {
            return None;
        }
    }
    Some(text.freeze())
}

/// `text` without the deployment's key and place.
pub(super) fn redact(text: Bytes, config: &DeploymentConfig) -> Bytes {
    secrets(config).iter().fold(text, |text, word| mask(text, word.as_bytes()))
}

/// The same for text.
pub(super) fn redacted(text: String, config: &DeploymentConfig) -> String {
    String::from_utf8_lossy(&redact(text.into(), config)).into_owned()
}

/// Drops the headers that hold the deployment's key or place.
pub(super) fn redact_headers(headers: &mut HeaderMap, config: &DeploymentConfig) {
    let words = secrets(config);
    let tells = |value: &HeaderValue| {
        words.iter().any(|word| memmem::find(value.as_bytes(), word.as_bytes()).is_some())
    };
    let kept = headers.iter().filter(|(_, value)| !tells(value));
    *headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
}

/// What must not leave the gateway of a deployment, the longest of what overlaps first.
fn secrets(config: &DeploymentConfig) -> Vec<String> {
    let origin = &config.endpoint.origin;
    let mut words = vec![config.endpoint.to_string(), origin.to_string(), origin.authority()];
    words.push(format!("{}:{}", origin.host, origin.port));
    // A host of a letter or two would be found in any text.
    if origin.host.len() > 3 {
        words.push(origin.host.clone());
    }
    if let Some(key) = &config.api_key {
        words.insert(0, key.expose().to_owned());
    }
    words.retain(|word| !word.is_empty());
    words
}

fn mask(text: Bytes, word: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    let mut done = 0;
    for at in memmem::find_iter(&text, word) {
        out.extend_from_slice(&text[done..at]);
        out.extend_from_slice(MASK);
        done = at + word.len();
    }
    if done == 0 {
        return text;
    }
    out.extend_from_slice(&text[done..]);
    out.freeze()
}
