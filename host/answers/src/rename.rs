//! Gives the client the model name it asked for, where the upstream knows the model by another.
//!
//! Only the exact value that was sent up is translated back, and only as a `"model"` field. That is
//! safe on raw bytes: inside a JSON string the quotes around the key would be escaped.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

const KEY: &[u8] = b"\"model\"";
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));

/// Replaces `"model": "<upstream's name>"` in an answer that comes in chunks.
#[derive(Debug)]
pub struct Rename {
    /// The upstream's name as a JSON string.
    from: Vec<u8>,
    /// The client's name as a JSON string.
    to: Vec<u8>,
    /// The end of the last chunk, while it may be the start of a match.
    held: BytesMut,
}

impl Rename {
    /// From the upstream's name to the client's.
    pub fn new(from: &str, to: &str) -> Self {
        let quoted = |name: &str| serde_json::Value::from(name).to_string().into_bytes();
        Self { from: quoted(from), to: quoted(to), held: BytesMut::new() }
    }

    /// Takes a chunk; returns what can be passed on. Only the start of a possible match is held
    /// back, which no event of a stream ends with.
    pub fn feed(&mut self, chunk: Bytes) -> Bytes {
        let text = if self.held.is_empty() {
            chunk
        } else {
            self.held.extend_from_slice(&chunk);
            self.held.split().freeze()
        };
        let (mut out, mut done, mut from) = (BytesMut::new(), 0, 0);
        let held = loop {
            let Some(at) = FINDER.find(&text[from..]).map(|at| from + at) else {
                let tail = text.len().saturating_sub(KEY.len() - 1).max(from);
                break (tail..text.len()).find(|i| KEY.starts_with(&text[*i..]));
            };
            let value = at + KEY.len() + blanks(&text[at + KEY.len()..]);
            let rest = &text[value..];
            if rest.starts_with(&self.from) {
                out.extend_from_slice(&text[done..value]);
                out.extend_from_slice(&self.to);
                done = value + self.from.len();
                from = done;
            } else if self.from.starts_with(rest) {
                break Some(at);
            } else {
                from = at + KEY.len();
            }
        };
        let end = held.unwrap_or(text.len());
        self.held.extend_from_slice(&text[end..]);
        if done == 0 {
            return text.slice(..end);
        }
        out.extend_from_slice(&text[done..end]);
        out.freeze()
    }

    /// What is still held back at the end of the answer.
    pub fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

/// Bytes between a key and its value. Bounded, so that an endless run of blanks is not held back.
fn blanks(text: &[u8]) -> usize {
    text.iter().take(16).take_while(|b| matches!(b, b':' | b' ')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_back_however_the_answer_is_cut() {
        let text =
            br#"{"model":"up/x","c":"\"model\":\"up/x\"","y":{"model": "up/x"},"model":"up/xy"}"#;
        let want = br#"{"model":"m","c":"\"model\":\"up/x\"","y":{"model": "m"},"model":"up/xy"}"#;
        for size in 1..=text.len() {
            let mut rename = Rename::new("up/x", "m");
            let mut out = BytesMut::new();
            for chunk in text.chunks(size) {
                out.extend_from_slice(&rename.feed(Bytes::copy_from_slice(chunk)));
            }
            out.extend_from_slice(&rename.finish());
            assert_eq!(out, want.as_slice(), "in chunks of {size}");
        }
    }
}
