//! Checks JSON that arrives in pieces, as the body of an answer does, and finds a few of its fields.
//!
//! Each piece is read once, when it arrives, so a long body holds no core at its end. Whether the
//! text is whole is known at any time.
//!
//! It accepts what clients accept: unpaired surrogates, `NaN` and `Infinity` (Python writes and
//! reads them) and numbers of any size. [`crate::json`], for requests, does not.

mod token;

use std::ops::Range;

use crate::json::{DEPTH, plain};

use token::{At, Digits, Escape};

/// Bytes kept of a key.
const KEY: usize = 16;
/// Bytes kept of a scalar value.
const START: usize = 48;

/// A part of the text that has ended.
#[derive(Debug)]
pub enum Found<'a> {
    /// A field of the outermost object.
    Top(Field<'a>),
    /// A field of an object in the array `choices` of the outermost object.
    OfChoice(Field<'a>),
    /// The end of such an object.
    Choice,
}

/// A key and its value.
#[derive(Debug)]
pub struct Field<'a> {
    /// Without quotes, as it is written. Empty if it is longer than 16 bytes.
    pub key: &'a [u8],
    /// The position of the value in the whole text, in bytes.
    pub value: Range<usize>,
    /// The value as it is written. Only the first 48 bytes of a longer string or number; `[` and
    /// `{` for arrays and objects that are not empty.
    pub start: &'a [u8],
}

impl Field<'_> {
    /// False for null and for empty values.
    #[must_use]
    pub fn says(&self) -> bool {
        !matches!(self.start, b"null" | b"\"\"" | b"[]" | b"{}")
    }
}

/// Reads one object or array.
#[derive(Debug)]
pub struct JsonStream {
    at: At,
    /// The open arrays and objects, one bit each: 1 for an object. The innermost is bit 0.
    objects: u128,
    depth: usize,
    /// Bytes read before the current piece.
    read: usize,
    /// The current fields of the outermost object and of a choice.
    fields: [Current; 2],
    /// The field whose scalar value is being read.
    scalar: Option<usize>,
}

#[derive(Debug, Default)]
struct Current {
    key: Head<KEY>,
    from: usize,
    start: Head<START>,
}

/// The first bytes of a text.
#[derive(Debug)]
struct Head<const N: usize> {
    bytes: [u8; N],
    /// Of the whole text.
    length: usize,
}

impl<const N: usize> Default for Head<N> {
    fn default() -> Self {
        Self { bytes: [0; N], length: 0 }
    }
}

impl<const N: usize> Head<N> {
    fn push(&mut self, text: &[u8]) {
        let from = self.length.min(N);
        let more = text.len().min(N - from);
        self.bytes[from..from + more].copy_from_slice(&text[..more]);
        self.length += text.len();
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.length.min(N)]
    }
}

impl Default for JsonStream {
    fn default() -> Self {
        Self {
            at: At::Beginning,
            objects: 0,
            depth: 0,
            read: 0,
            fields: Default::default(),
            scalar: None,
        }
    }
}

impl JsonStream {
    /// True if a whole object or array has been read, and nothing but white space after it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// True if nothing but white space has been read.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.at == At::Beginning
    }

    /// Reads the next piece, which may be cut anywhere. Calls `found` at the end of each part.
    ///
    /// # Errors
    /// Why the text cannot become JSON, now and for every later piece.
    pub fn feed(
        &mut self,
        text: &[u8],
        mut found: impl FnMut(Found<'_>),
    ) -> Result<(), &'static str> {
        let mut at = 0;
        while at < text.len() {
            let read = match self.at {
                At::Text(is_key, Escape::None) => {
                    let length = self.text(&text[at..], is_key);
                    if self.at == At::After {
                        self.ended(self.read + at + length, &mut found);
                    }
                    Ok(length)
                }
                At::Broken(why) => return Err(why),
                _ => self.byte(text[at], at, &mut found),
            };
            match read {
                Ok(length) => at += length,
                Err(why) => self.at = At::Broken(why),
            }
            if let At::After = self.at
                && self.depth == 0
            {
                self.at = At::Done;
            }
        }
        self.read += text.len();
        match self.at {
            At::Broken(why) => Err(why),
            _ => Ok(()),
        }
    }

    /// Reads the inside of a string up to a quote or an escape, both included. Returns its length.
    fn text(&mut self, text: &[u8], is_key: bool) -> usize {
        let mut length = plain(text);
        match text.get(length) {
            None => {}
            Some(b'"') => self.at = if is_key { At::Colon } else { At::After },
            Some(b'\\') => self.at = At::Text(is_key, Escape::Begun),
            Some(_) => self.at = At::Broken("a string holds a control byte"),
        }
        length += usize::from(length < text.len());
        self.keep(&text[..length], is_key);
        length
    }

    /// Keeps a part of a key or a scalar value, if its field is reported.
    fn keep(&mut self, text: &[u8], is_key: bool) {
        if is_key {
            if let Some(level) = self.level() {
                self.fields[level].key.push(text);
            }
        } else if let Some(level) = self.scalar {
            self.fields[level].start.push(text);
        }
    }

    /// The index in `fields` of the current object: 0 for the outermost one, 1 for a choice. None
    /// for others, whose fields are not reported.
    fn level(&self) -> Option<usize> {
        match (self.depth, self.objects & 0b111) {
            (1, 1) => Some(0),
            (3, 0b101) if self.fields[0].key.get() == b"choices\"" => Some(1),
            _ => None,
        }
    }

    /// Reads one byte outside of the plain text of a string. `at` is its position in the piece.
    /// Returns 1, or 0 if the byte has to be read again.
    fn byte(
        &mut self,
        byte: u8,
        at: usize,
        found: &mut impl FnMut(Found<'_>),
    ) -> Result<usize, &'static str> {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let here = self.read + at;
        match self.at {
            At::Text(is_key, escape) => {
                self.keep(&[byte], is_key);
                self.at = At::Text(is_key, escape.after(byte)?);
            }
            At::Number(digits) => match digits.after(byte)? {
                Some(At::Number(more)) => {
                    self.keep(&[byte], false);
                    self.at = At::Number(more);
                }
                Some(literal) => self.at = literal,
                None => {
                    self.ended(here, found);
                    return Ok(0);
                }
            },
            At::Literal(rest) => {
                self.keep(&[byte], false);
                self.at = match rest {
                    [next] if *next == byte => At::After,
                    [next, rest @ ..] if *next == byte => At::Literal(rest),
                    _ => return Err("a value must be here"),
                };
                if self.at == At::After {
                    self.ended(here + 1, found);
                }
            }
            At::Beginning if is_blank || is_mark(byte, here) => {}
            _ if is_blank => {}
            _ => self.structure(byte, here, found)?,
        }
        Ok(1)
    }

    fn structure(
        &mut self,
        byte: u8,
        here: usize,
        found: &mut impl FnMut(Found<'_>),
    ) -> Result<(), &'static str> {
        match (self.at, byte) {
            (At::Beginning, b'{' | b'[') | (At::Value | At::FirstValue, _) => {
                if (self.at, byte) == (At::FirstValue, b']') {
                    return self.close(byte, here, found);
                }
                self.begin(byte, here)
            }
            (At::Beginning, _) => Err("an object or array must begin here"),
            (At::FirstKey, b'}') => self.close(byte, here, found),
            (At::Key | At::FirstKey, b'"') => {
                if let Some(level) = self.level() {
                    self.fields[level].key = Head::default();
                }
                self.at = At::Text(true, Escape::None);
                Ok(())
            }
            (At::Key | At::FirstKey, _) => Err("a key must begin here"),
            (At::Colon, b':') => {
                self.at = At::Value;
                Ok(())
            }
            (At::Colon, _) => Err("a colon must be here"),
            (At::After, b',') => {
                self.at = if self.objects & 1 == 1 { At::Key } else { At::Value };
                Ok(())
            }
            (At::After, b'}' | b']') => self.close(byte, here, found),
            (At::After, _) => Err("a comma or an end must be here"),
            _ => Err("nothing may follow the end"),
        }
    }

    /// Begins a value.
    fn begin(&mut self, byte: u8, here: usize) -> Result<(), &'static str> {
        let level = self.level();
        if let Some(level) = level {
            let field = &mut self.fields[level];
            (field.from, field.start) = (here, Head::default());
            field.start.push(&[byte]);
        }
        self.scalar = level;
        self.at = match byte {
            b'{' | b'[' => {
                if self.depth == DEPTH {
                    return Err("arrays and objects are too deep");
                }
                self.scalar = None;
                self.depth += 1;
                self.objects = self.objects << 1 | u128::from(byte == b'{');
                if byte == b'{' { At::FirstKey } else { At::FirstValue }
            }
            b'"' => At::Text(false, Escape::None),
            b'-' => At::Number(Digits::Minus),
            b'0' => At::Number(Digits::Zero),
            b'1'..=b'9' => At::Number(Digits::Whole),
            b't' => At::Literal(b"rue"),
            b'f' => At::Literal(b"alse"),
            b'n' => At::Literal(b"ull"),
            b'N' => At::Literal(b"aN"),
            b'I' => At::Literal(b"nfinity"),
            _ => return Err("a value must be here"),
        };
        Ok(())
    }

    /// Ends an array or object.
    fn close(
        &mut self,
        byte: u8,
        here: usize,
        found: &mut impl FnMut(Found<'_>),
    ) -> Result<(), &'static str> {
        if (byte == b'}') != (self.objects & 1 == 1) {
            return Err("a comma or an end must be here");
        }
        let is_empty = matches!(self.at, At::FirstKey | At::FirstValue);
        if self.level() == Some(1) {
            found(Found::Choice);
        }
        self.depth -= 1;
        self.objects >>= 1;
        if let Some(level) = self.level()
            && is_empty
        {
            self.fields[level].start.push(&[byte]);
        }
        self.ended(here + 1, found);
        Ok(())
    }

    /// Ends a value at this position.
    fn ended(&mut self, end: usize, found: &mut impl FnMut(Found<'_>)) {
        (self.at, self.scalar) = (At::After, None);
        let Some(level) = self.level() else { return };
        let Current { key, from, start } = &self.fields[level];
        // The key is kept with its last quote.
        let key = if key.length > KEY { b"" } else { key.get() };
        let key = key.strip_suffix(b"\"").unwrap_or_default();
        let field = Field { key, value: *from..end, start: start.get() };
        found(if level == 0 { Found::Top(field) } else { Found::OfChoice(field) });
    }
}

/// True for a byte of the byte order mark at the start of a text.
fn is_mark(byte: u8, at: usize) -> bool {
    "\u{feff}".as_bytes().get(at) == Some(&byte)
}

#[cfg(test)]
#[path = "json_stream_tests.rs"]
mod tests;
