//! A client error of an upstream (400, 404, 413, 422, ...): passed on as it is, but for what must not
//! leave the gateway. Engines and providers like to repeat the URL or the key they were called with.

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tokio::time::{Instant, timeout_at};

use crate::config::DeploymentConfig;

use super::upstream::Incoming;

/// No error text worth reading is longer; a longer one is replaced.
const LONGEST: usize = 64 * 1024;
const MASK: &[u8] = b"[redacted]";

/// Reads a refusal, at most until `deadline`. None: it broke, took too long, or is too long to be
/// looked through.
pub(super) async fn read(body: &mut Incoming, deadline: Instant) -> Option<Bytes> {
    let mut text = BytesMut::new();
    loop {
        let chunk = std::future::poll_fn(|cx| body.poll_chunk(cx));
        match timeout_at(deadline, chunk).await.ok()? {
            None => return Some(text.freeze()),
            Some(chunk) => text.extend_from_slice(&chunk.ok()?),
        }
        if text.len() > LONGEST {
            return None;
        }
    }
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

/// The same for text.
pub(super) fn redacted(text: String, config: &DeploymentConfig) -> String {
    String::from_utf8_lossy(&redact(text.into(), config)).into_owned()
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
