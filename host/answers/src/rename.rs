//! Restores the model name that the client asked for, if the upstream knows the model by another.
//!
//! Only a `"model"` field with exactly the name that was sent upstream is replaced. This is safe on
//! raw bytes: inside a JSON string the quotes around the key would be escaped.

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
    /// The end of the input so far, if it may be the start of a match.
    held: BytesMut,
}

impl Rename {
    /// Replaces `from`, the upstream's name, by `to`, the client's. Both are unquoted.
    pub fn new(from: &str, to: &str) -> Self {
        let quoted = |name: &str| serde_json::Value::from(name).to_string().into_bytes();
        Self { from: quoted(from), to: quoted(to), held: BytesMut::new() }
    }

    /// Takes a chunk and returns the bytes that can be passed on. Holds back only the start of a
    /// possible match. No event ends with one, so a whole event is never delayed.
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
                // The chunk ends within the value: hold it until the rest comes.
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

    /// Returns the bytes still held back. Call it at the end of the answer.
    pub fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

/// Counts the bytes between a key and its value, at most 16. The limit bounds the bytes held back.
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

    #[test]
    fn only_the_start_of_a_match_is_held_back() {
        for (text, held) in [
            ("{\"a\":1}", ""),
            ("{\"model\":\"x", ""),
            ("{\"mod", "\"mod"),
            ("{\"model\": ", "\"model\": "),
            ("{\"model\":\"u", "\"model\":\"u"),
        ] {
            let mut rename = Rename::new("up", "m");
            let passed = rename.feed(Bytes::from_static(text.as_bytes()));
            assert_eq!(passed, text.strip_suffix(held).expect("its end"), "{text}");
            assert_eq!(rename.finish(), held, "{text}");
            assert!(rename.finish().is_empty(), "once");
        }
    }
}
