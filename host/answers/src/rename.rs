//! Restores the model name that the client asked for, if the upstream knows the model by another.
//!
//! Only a `"model"` field with exactly the name that was sent upstream is replaced, in any spelling
//! that JSON allows (`up\/m`, `\u043c`). This is safe on raw bytes: a key's first quote has no
//! backslash before it, and inside a JSON string every quote has one.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::count;

const KEY: &[u8] = b"\"model\"";
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));
/// In bytes: the longest spelling of one byte of a name in a JSON string.
const LONGEST_ESCAPE: usize = 6;

/// Replaces `"model": "<upstream's name>"` in an answer that comes in chunks. It looks at every
/// byte a fixed number of times, however the answer is cut.
#[derive(Debug)]
pub struct Rename {
    /// The upstream's name.
    from: String,
    /// The upstream's name as a JSON string, as most upstreams write it.
    quoted: Vec<u8>,
    /// The client's name as a JSON string.
    to: Vec<u8>,
    at: At,
    /// The byte before the next chunk.
    last: u8,
    /// The start of a string that may be the upstream's name. Empty unless [`At::Name`].
    held: BytesMut,
}

/// The part of an answer that the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Any text. It ends with this many bytes of the key.
    Key(usize),
    /// The text between key and value. True after the colon.
    Colon(bool),
    /// A string that is the value of `"model"`. True after a backslash.
    Name(bool),
}

/// The output for one chunk.
struct Out<'a> {
    chunk: &'a Bytes,
    /// The output from the first difference on. None while the output equals the chunk.
    changed: Option<BytesMut>,
    /// How far into the chunk `changed` reaches.
    done: usize,
    /// Where the current name begins in the chunk. 0 if it began in an earlier chunk.
    name: usize,
}

impl Out<'_> {
    fn changed(&mut self, until: usize) -> &mut BytesMut {
        let changed = self.changed.get_or_insert_with(|| BytesMut::with_capacity(self.chunk.len()));
        changed.extend_from_slice(&self.chunk[self.done..until]);
        self.done = until;
        changed
    }

    fn until(mut self, end: usize) -> Bytes {
        if self.changed.is_none() {
            return self.chunk.slice(..end);
        }
        self.changed(end).split().freeze()
    }
}

impl Rename {
    /// Replaces `from`, the upstream's name, by `to`, the client's. Both are unquoted.
    pub fn new(from: &str, to: &str) -> Self {
        let quoted = |name: &str| serde_json::Value::from(name).to_string().into_bytes();
        Self {
            from: from.to_owned(),
            quoted: quoted(from),
            to: quoted(to),
            at: At::Key(0),
            last: 0,
            held: BytesMut::new(),
        }
    }

    /// Takes a chunk and returns the bytes that can be passed on. Holds back only the start of a
    /// name. No event ends with one, so a whole event is never delayed.
    pub fn feed(&mut self, chunk: Bytes) -> Bytes {
        let mut out = Out { chunk: &chunk, changed: None, done: 0, name: 0 };
        let mut at = 0;
        while at < chunk.len() {
            at = match self.at {
                At::Key(0) => self.find(&chunk, at),
                At::Name(_) => self.name(&mut out, at),
                At::Key(_) | At::Colon(_) => {
                    count(1);
                    self.at = self.at.after(chunk[at]);
                    out.name = at;
                    at + 1
                }
            };
        }
        let Some(last) = chunk.last() else { return chunk };
        self.last = *last;
        let end = if let At::Name(_) = self.at { out.name } else { chunk.len() };
        self.held.extend_from_slice(&chunk[end..]);
        out.until(end)
    }

    /// Returns the bytes still held back. Call it at the end of the answer.
    pub fn finish(&mut self) -> Bytes {
        self.at = At::Key(0);
        self.held.split().freeze()
    }

    /// Searches the key. Returns the position behind it, or the end of the chunk.
    fn find(&mut self, chunk: &[u8], from: usize) -> usize {
        let is_escaped = |at: usize| at.checked_sub(1).map_or(self.last, |at| chunk[at]) == b'\\';
        let Some(found) = FINDER.find(&chunk[from..]).map(|found| from + found) else {
            count(chunk.len() - from);
            let begun = |length: &usize| {
                chunk[from..].ends_with(&KEY[..*length]) && !is_escaped(chunk.len() - length)
            };
            self.at = At::Key((1..KEY.len()).rev().find(begun).unwrap_or(0));
            return chunk.len();
        };
        let end = found + KEY.len();
        count(end - from);
        if is_escaped(found) {
            // Its last quote may begin a key.
            return end - 1;
        }
        self.at = At::Colon(false);
        end
    }

    /// Takes the name up to its last quote, from position `from` on. Returns the position behind
    /// it.
    fn name(&mut self, out: &mut Out<'_>, from: usize) -> usize {
        // The first quote is in front of `from`.
        let longest = LONGEST_ESCAPE * self.from.len() + 2;
        let held = self.held.len();
        let mut escaped = self.at == At::Name(true);
        let mut end = from;
        loop {
            let Some(byte) = out.chunk.get(end) else {
                count(end - from);
                self.at = At::Name(escaped);
                return end;
            };
            end += 1;
            let closes = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            if closes || held + end - out.name > longest {
                count(end - from);
                let is_name = closes && self.is_name(&out.chunk[out.name..end]);
                self.replace(out, end, is_name);
                self.at = At::Key(0);
                return end;
            }
        }
    }

    /// True if the held bytes and `end` together are the upstream's name.
    fn is_name(&self, end: &[u8]) -> bool {
        let is = |string: &[u8]| {
            string == self.quoted
                || (string.contains(&b'\\')
                    && serde_json::from_slice::<String>(string).is_ok_and(|s| s == self.from))
        };
        count(self.held.len() + end.len());
        if self.held.is_empty() { is(end) } else { is(&[&self.held, end].concat()) }
    }

    /// Puts the client's name in the place of the upstream's, which ends at `end`. A string that is
    /// not that name goes out as it came.
    fn replace(&mut self, out: &mut Out<'_>, end: usize, is_name: bool) {
        if is_name {
            out.changed(out.name).extend_from_slice(&self.to);
            out.done = end;
            self.held.clear();
        } else if !self.held.is_empty() {
            out.changed(0).extend_from_slice(&self.held);
            self.held.clear();
        }
    }
}

impl At {
    /// The state after a byte that comes between the beginning of the key and its value.
    fn after(self, byte: u8) -> Self {
        match self {
            At::Key(begun) if byte == KEY[begun] => {
                if begun + 1 == KEY.len() {
                    At::Colon(false)
                } else {
                    At::Key(begun + 1)
                }
            }
            At::Colon(_) if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => self,
            At::Colon(false) if byte == b':' => At::Colon(true),
            At::Colon(true) if byte == b'"' => At::Name(false),
            // A quote that ends no key may begin one.
            _ => At::Key(usize::from(byte == b'"')),
        }
    }
}

#[cfg(test)]
mod tests {
    use pieces::work;

    use super::*;

    fn renamed(text: &[u8], from: &str, size: usize) -> Vec<u8> {
        let (mut rename, mut out) = (Rename::new(from, "m"), Vec::new());
        for chunk in text.chunks(size) {
            out.extend_from_slice(&rename.feed(Bytes::copy_from_slice(chunk)));
        }
        out.extend_from_slice(&rename.finish());
        out
    }

    #[test]
    fn the_name_comes_back_however_the_answer_is_cut() {
        let text =
            br#"{"model":"up/x","c":"\"model\":\"up/x\"","y":{"model": "up/x"},"model":"up/xy"}"#;
        let want = br#"{"model":"m","c":"\"model\":\"up/x\"","y":{"model": "m"},"model":"up/xy"}"#;
        for size in 1..=text.len() {
            assert_eq!(renamed(text, "up/x", size), want, "in chunks of {size}");
        }
    }

    #[test]
    fn every_spelling_of_the_name_is_found() {
        for (from, spelling) in [
            ("up/m", r#""model":"up\/m""#),
            ("up/m", "\"model\" :\r\n\t\"\\u0075p/m\""),
            ("м", r#""model":"\u043c""#),
            ("м", "\"model\":                    \"м\""),
            ("a\"\\b", r#""model":"a\u0022\\b""#),
            ("😀", r#""model":"\ud83d\uDE00""#),
        ] {
            for size in 1..=spelling.len() {
                let out = renamed(spelling.as_bytes(), from, size);
                assert!(out.ends_with(b"\"m\""), "{spelling} {size} {out:?}");
            }
        }
    }

    #[test]
    fn other_text_is_left_as_it_is() {
        for text in [
            r#""model":"up\\/m""#,
            r#""model" "up/m""#,
            r#""model","up/m""#,
            r#""a \"model":"up/m""#,
            r#""model":{"up/m":1}"#,
            r#""model":"up/m"#,
            r#""model":"\ud83d""#,
            "\"model\":\"",
            "\"mode",
        ] {
            for size in 1..=text.len() {
                assert_eq!(renamed(text.as_bytes(), "up/m", size), text.as_bytes(), "{size}");
            }
        }
    }

    #[test]
    fn the_work_is_a_multiple_of_the_bytes() {
        let from = "u".repeat(255) + "м";
        for part in ["\"model\":\"", "\"model\":\"u", "\"model\"", "\"mode", "\"model\":\"\\u0075"]
        {
            for more in ["", &"u".repeat(300)] {
                let part = part.to_owned() + more;
                let text = part.repeat((1 << 19) / part.len());
                for size in [1, 9, 1000, 1 << 16] {
                    let out = work::bounded(3, text.len(), (0, 0), || {
                        renamed(text.as_bytes(), &from, size)
                    });
                    assert_eq!(out, text.as_bytes());
                }
            }
        }
    }
}
