//! A strict JSON reader that builds no values. One pass over the bytes, bounded in depth, finds the
//! positions of an object's values.
//!
//! serde_json does not check values that it is not asked for. Invalid UTF-8, halves of surrogate
//! pairs and numbers too large for a float would get through, and a deployment would be blamed for
//! them.

use std::ops::Range;

use memchr::memchr2;

use crate::{bytes16, count};

/// Limit on nested arrays and objects, the outermost included.
pub const DEPTH: usize = 128;

/// Where reading stopped, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// Offset in bytes.
    pub at: usize,
    /// For people to read.
    pub why: &'static str,
}

/// An error is only the reason, which fits into registers. The position is in the reader.
type Read<T = ()> = Result<T, &'static str>;

/// Reads a whole object, with nothing but white space around it. Calls `field` with the positions
/// of each key (quotes included) and its value.
pub fn object(text: &str, field: impl FnMut(Range<usize>, Range<usize>)) -> Result<(), Broken> {
    let mut reader = Reader::new(text);
    reader.object(field).map_err(|why| Broken { at: reader.at, why })
}

/// Reads an array at the start of `text`, and calls `element` with the position of each element
/// until it returns false. Text after the array is not read.
pub fn elements(text: &str, element: impl FnMut(Range<usize>) -> bool) -> Result<(), Broken> {
    let mut reader = Reader::new(text);
    reader.elements(element).map_err(|why| Broken { at: reader.at, why })
}

/// The open arrays and objects around a value, one bit each: 1 for an object. The outermost is left
/// out.
#[derive(Debug, Default, Clone, Copy)]
struct Open {
    objects: u128,
    depth: usize,
}

/// Steps that run every few bytes are inlined: a call for each key took a tenth more instructions
/// per body.
struct Reader<'a> {
    /// UTF-8.
    text: &'a [u8],
    at: usize,
    open: Open,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0, open: Open::default() }
    }

    fn object(&mut self, mut field: impl FnMut(Range<usize>, Range<usize>)) -> Read {
        self.space();
        self.expect(b'{', "an object must begin here")?;
        if self.space() == b'}' {
            self.at += 1;
        } else {
            loop {
                let start = self.at;
                self.name()?;
                let key = start..self.at;
                self.colon()?;
                let start = self.at;
                self.value()?;
                field(key, start..self.at);
                match self.space() {
                    b',' => self.at += 1,
                    b'}' => break self.at += 1,
                    _ => return Err("a comma or the object's end must be here"),
                }
                self.space();
            }
        }
        self.space();
        if self.at < self.text.len() { Err("nothing may follow the object") } else { Ok(()) }
    }

    fn elements(&mut self, mut element: impl FnMut(Range<usize>) -> bool) -> Read {
        self.expect(b'[', "an array must begin here")?;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            let start = self.at;
            self.value()?;
            if !element(start..self.at) {
                return Ok(());
            }
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',', "a comma or the array's end must be here")?;
            self.space();
        }
    }

    /// The next byte. 0 at the end, which is valid nowhere in JSON.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, why: &'static str) -> Read {
        if self.take(byte) { Ok(()) } else { Err(why) }
    }

    /// Skips white space, and returns the byte after it. The fast path is for JSON without white
    /// space.
    #[inline(always)]
    fn space(&mut self) -> u8 {
        let byte = self.peek();
        if byte > b' ' { byte } else { self.spaces() }
    }

    #[inline(never)]
    fn spaces(&mut self) -> u8 {
        let start = self.at;
        while let b' ' | b'\t' | b'\n' | b'\r' = self.peek() {
            self.at += 1;
        }
        count(self.at - start);
        self.peek()
    }

    /// Reads a key.
    #[inline(always)]
    fn name(&mut self) -> Read {
        self.expect(b'"', "a key must begin here")?;
        self.string()
    }

    /// Reads the colon after a key, and the white space around it.
    #[inline(always)]
    fn colon(&mut self) -> Read {
        self.space();
        self.expect(b':', "a colon must be here")?;
        self.space();
        Ok(())
    }

    /// Reads a key and its colon.
    #[inline(always)]
    fn key(&mut self) -> Read {
        self.name()?;
        self.colon()
    }

    /// Reads a value and everything in it. Nesting is kept in [`Open`], not on the stack.
    fn value(&mut self) -> Read {
        loop {
            let (is_object, end) = match self.peek() {
                b'"' => {
                    self.at += 1;
                    self.string()?;
                    if self.next()? { continue } else { return Ok(()) }
                }
                b'{' => (true, b'}'),
                b'[' => (false, b']'),
                _ => {
                    self.scalar()?;
                    if self.next()? { continue } else { return Ok(()) }
                }
            };
            // The outermost object is one level more.
            if self.open.depth + 1 >= DEPTH {
                return Err(TOO_DEEP);
            }
            self.at += 1;
            if self.space() != end {
                self.open.objects = self.open.objects << 1 | u128::from(is_object);
                self.open.depth += 1;
                if is_object {
                    self.key()?;
                }
                continue;
            }
            self.at += 1;
            if !self.next()? {
                return Ok(());
            }
        }
    }

    /// Goes from the end of a value to the next one. Returns false if the outermost value has
    /// ended.
    #[inline(always)]
    fn next(&mut self) -> Read<bool> {
        while self.open.depth > 0 {
            let is_object = self.open.objects & 1 == 1;
            match self.space() {
                b',' => {
                    self.at += 1;
                    self.space();
                    if is_object {
                        self.key()?;
                    }
                    return Ok(true);
                }
                b'}' if is_object => {}
                b']' if !is_object => {}
                _ => return Err("a comma or an end must be here"),
            }
            self.at += 1;
            self.open.objects >>= 1;
            self.open.depth -= 1;
        }
        Ok(false)
    }

    fn scalar(&mut self) -> Read {
        match self.peek() {
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => Err("a value must be here"),
        }
    }

    fn word(&mut self, word: &[u8]) -> Read {
        if !self.text[self.at..].starts_with(word) {
            return Err("a value must be here");
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads the rest of a string, after its first quote.
    #[inline(always)]
    fn string(&mut self) -> Read {
        // Fast path: most strings are keys and other short words.
        if let Some(chunk) = self.text.get(self.at..).and_then(<[u8]>::first_chunk) {
            let end = self.at + bytes16::first(chunk, is_special);
            if self.text.get(end) == Some(&b'"') {
                self.at = end + 1;
                return Ok(());
            }
        }
        self.text()
    }

    /// The same for a string of any length.
    fn text(&mut self) -> Read {
        loop {
            self.at += plain(&self.text[self.at..]);
            let special = self.text.get(self.at).ok_or("a string does not end")?;
            if *special < b' ' {
                return Err("a string holds a control byte");
            }
            self.at += 1;
            match special {
                b'"' => return Ok(()),
                _ => self.escape()?,
            }
        }
    }

    /// Reads the rest of an escape, after its backslash.
    fn escape(&mut self) -> Read {
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Ok(())
            }
            b'u' => {
                let first = self.unit()?;
                let paired = matches!(first, 0xd800..=0xdbff)
                    && self.take(b'\\')
                    && matches!(self.unit()?, 0xdc00..=0xdfff);
                if matches!(first, 0xd800..=0xdfff) && !paired {
                    return Err("a string holds half of a surrogate pair");
                }
                Ok(())
            }
            _ => Err("a string holds an unknown escape"),
        }
    }

    /// Reads `uXXXX`, and returns the UTF-16 unit.
    fn unit(&mut self) -> Read<u32> {
        let digits = match self.text.get(self.at..self.at + 5) {
            Some([b'u', digits @ ..]) => digits,
            _ => return Err("a string holds half of a surrogate pair"),
        };
        let mut unit = 0;
        for digit in digits {
            let Some(digit) = (*digit as char).to_digit(16) else {
                return Err("a string holds an unknown escape");
            };
            unit = unit << 4 | digit;
        }
        self.at += 5;
        Ok(unit)
    }

    fn number(&mut self) -> Read {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        let mut has_exponent = false;
        if self.take(b'.') {
            self.digits()?;
        }
        if let b'e' | b'E' = self.peek() {
            self.at += 1;
            has_exponent = true;
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        // A shorter number without an exponent always fits into a float.
        if has_exponent || self.at - start > 300 {
            let number = str::from_utf8(&self.text[start..self.at]).ok().map(str::parse::<f64>);
            if !matches!(number, Some(Ok(number)) if number.is_finite()) {
                return Err("a number is too large");
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> Read {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        count(self.at - start);
        if self.at == start { Err("a digit must be here") } else { Ok(()) }
    }
}

/// Counts the bytes before the first quote, backslash or control byte.
pub(crate) fn plain(text: &[u8]) -> usize {
    let length = plain_length(text);
    count(length + 1);
    length
}

#[inline(always)]
fn plain_length(text: &[u8]) -> usize {
    // For longer texts it pays to call memchr.
    let (short, long) = text.split_at(text.len().min(64));
    let (chunks, rest) = short.as_chunks();
    for (i, chunk) in chunks.iter().enumerate() {
        let first = bytes16::first(chunk, is_special);
        if first < chunk.len() {
            return chunk.len() * i + first;
        }
    }
    if let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
        return short.len() - rest.len() + at;
    }
    let end = memchr2(b'"', b'\\', long).unwrap_or(long.len());
    // Without a branch, so that one instruction takes sixteen bytes: the least byte tells if any is
    // a control byte.
    let is_clean = long[..end].iter().fold(u8::MAX, |least, byte| least.min(*byte)) >= b' ';
    let end = if is_clean { Some(end) } else { long.iter().position(|byte| is_special(*byte)) };
    short.len() + end.unwrap_or(long.len())
}

fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < b' ')
}

const TOO_DEEP: &str = "arrays and objects are more than 128 levels deep";

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
