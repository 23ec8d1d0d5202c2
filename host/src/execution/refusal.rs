//! A client error of an upstream (400, 404, 413, 422, ...): passed on as it is, but for what must not
//! leave the gateway. Engines and providers like to repeat the URL or the key they were called with.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tokio::time::{Instant, timeout_at};

use crate::config::DeploymentConfig;

use super::attempt::Begun;

/// No error text worth reading is longer; a longer one is replaced.
const LONGEST: usize = 64 * 1024;
const MASK: &[u8] = b"[redacted]";

/// Reads the rest of a refusal, at most until `deadline`. None: it broke, took too long, or is too
/// long to be looked through.
pub(super) async fn read(begun: Begun, deadline: Instant) -> Option<Bytes> {
    let Begun { first, mut rest, .. } = begun;
    let mut text = BytesMut::new();
    let mut take = |chunk: Bytes| {
        text.extend_from_slice(&chunk);
        text.len() <= LONGEST
    };
    if !first.is_none_or(&mut take) {
        return None;
    }
    while let Some(chunk) = timeout_at(deadline, poll_fn(|cx| rest.poll_chunk(cx))).await.ok()? {
        if !take(chunk.ok()?) {
            return None;
        }
    }
    Some(text.freeze())
}

/// `text` without the deployment's key and place.
pub(super) fn redact(text: Bytes, config: &DeploymentConfig) -> Bytes {
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
    words
        .iter()
        .filter(|word| !word.is_empty())
        .fold(text, |text, word| mask(text, word.as_bytes()))
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
