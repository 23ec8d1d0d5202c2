//! A strict reader of JSON that builds nothing: one pass over the bytes, bounded in depth, that says
//! where the values of an object stand.
//!
//! serde_json skips over what it is not asked for without looking at it: bytes that are no UTF-8, halves
//! of surrogate pairs and numbers beyond any float get through it, and are a deployment's fault then.

use std::ops::Range;

use memchr::memchr2;

/// Arrays and objects inside each other.
pub(super) const DEPTH: usize = 128;

/// Where reading stopped, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) why: &'static str,
}

type Read<T = ()> = Result<T, Broken>;

/// Reads an object whole, nothing before or after it, and shows each of its fields: where the key's
/// string stands and where the value stands.
pub(super) fn object(text: &str, mut field: impl FnMut(Range<usize>, Range<usize>)) -> Read {
    let mut reader = Reader { text: text.as_bytes(), at: 0, open: Open::default() };
    reader.space();
    reader.expect(b'{', "an object must begin here")?;
    reader.space();
    if !reader.take(b'}') {
        loop {
            let key = reader.key()?;
            let start = reader.at;
            reader.value()?;
            field(key, start..reader.at);
            reader.space();
            if reader.take(b'}') {
                break;
            }
            reader.expect(b',', "a comma or the object's end must be here")?;
            reader.space();
        }
    }
    reader.space();
    if reader.at < text.len() {
        Err(reader.broken("nothing may follow the object"))
    } else {
        Ok(())
    }
}

/// Reads an array, nothing before or after it, and shows where each of its elements stands, until `element`
/// says that it has seen enough.
pub(super) fn elements(text: &str, mut element: impl FnMut(Range<usize>) -> bool) -> Read {
    let mut reader = Reader { text: text.as_bytes(), at: 0, open: Open::default() };
    reader.expect(b'[', "an array must begin here")?;
    reader.space();
    if reader.take(b']') {
        return Ok(());
    }
    loop {
        let start = reader.at;
        reader.value()?;
        if !element(start..reader.at) {
            return Ok(());
        }
        reader.space();
        if reader.take(b']') {
            return Ok(());
        }
        reader.expect(b',', "a comma or the array's end must be here")?;
        reader.space();
    }
}

/// What is open around a value, a bit each: the object that is read is not among it.
#[derive(Debug, Default, Clone, Copy)]
struct Open {
    objects: u128,
    depth: usize,
}

struct Reader<'a> {
    /// UTF-8.
    text: &'a [u8],
    at: usize,
    open: Open,
}

impl Reader<'_> {
    fn broken(&self, why: &'static str) -> Broken {
        Broken { at: self.at, why }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, why: &'static str) -> Read {
        if self.take(byte) { Ok(()) } else { Err(self.broken(why)) }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// A key, up to its value.
    fn key(&mut self) -> Read<Range<usize>> {
        let start = self.at;
        self.expect(b'"', "a key must begin here")?;
        self.string()?;
        let key = start..self.at;
        self.space();
        self.expect(b':', "a colon must be here")?;
        self.space();
        Ok(key)
    }

    /// A value and everything in it. What is open is kept in bits, not on the stack.
    fn value(&mut self) -> Read {
        loop {
            let opened = match self.peek() {
                Some(b'{') => Some((true, b'}')),
                Some(b'[') => Some((false, b']')),
                _ => None,
            };
            match opened {
                None => self.scalar()?,
                Some((is_object, end)) => {
                    self.at += 1;
                    self.space();
                    if !self.take(end) {
                        self.push(is_object)?;
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                    // Empty, and as deep as any other.
                    if self.open.depth + 1 >= DEPTH {
                        return Err(self.broken(TOO_DEEP));
                    }
                }
            }
            if !self.next()? {
                return Ok(());
            }
        }
    }

    fn push(&mut self, is_object: bool) -> Read {
        // One is the object that holds all.
        if self.open.depth + 1 >= DEPTH {
            return Err(self.broken(TOO_DEEP));
        }
        self.open.objects = self.open.objects << 1 | u128::from(is_object);
        self.open.depth += 1;
        Ok(())
    }

    /// Goes from the end of a value to the next one. False: the outermost value has ended.
    fn next(&mut self) -> Read<bool> {
        while self.open.depth > 0 {
            let is_object = self.open.objects & 1 == 1;
            self.space();
            if self.take(b',') {
                self.space();
                if is_object {
                    self.key()?;
                }
                return Ok(true);
            }
            let end = if is_object { b'}' } else { b']' };
            self.expect(end, "a comma or an end must be here")?;
            self.open.objects >>= 1;
            self.open.depth -= 1;
        }
        Ok(false)
    }

    fn scalar(&mut self) -> Read {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string()
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => Err(self.broken("a value must be here")),
        }
    }

    fn word(&mut self, word: &[u8]) -> Read {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.broken("a value must be here"));
        }
        self.at += word.len();
        Ok(())
    }

    /// The rest of a string, behind its quote.
    fn string(&mut self) -> Read {
        loop {
            let rest = &self.text[self.at..];
            let end = special(rest);
            match rest.get(end) {
                None => return Err(self.broken("a string does not end")),
                Some(b'"') => {
                    self.at += end + 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += end + 1;
                    self.escape()?;
                }
                Some(_) => return Err(self.broken("a string holds a control byte")),
            }
        }
    }

    /// The rest of an escape, behind its backslash.
    fn escape(&mut self) -> Read {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                let first = self.unit()?;
                let paired = matches!(first, 0xd800..=0xdbff)
                    && self.take(b'\\')
                    && matches!(self.unit()?, 0xdc00..=0xdfff);
                if matches!(first, 0xd800..=0xdfff) && !paired {
                    return Err(self.broken("a string holds half of a surrogate pair"));
                }
                Ok(())
            }
            _ => Err(self.broken("a string holds an unknown escape")),
        }
    }

    /// `uXXXX`
    fn unit(&mut self) -> Read<u32> {
        let digits = match self.text.get(self.at..self.at + 5) {
            Some([b'u', digits @ ..]) => digits,
            _ => return Err(self.broken("a string holds half of a surrogate pair")),
        };
        let mut unit = 0;
        for digit in digits {
            let Some(digit) = (*digit as char).to_digit(16) else {
                return Err(self.broken("a string holds an unknown escape"));
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
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            has_exponent = true;
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        // Nothing shorter is too large for a float.
        if has_exponent || self.at - start > 300 {
            let number = str::from_utf8(&self.text[start..self.at]).ok().map(str::parse::<f64>);
            if !matches!(number, Some(Ok(number)) if number.is_finite()) {
                return Err(self.broken("a number is too large"));
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> Read {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.broken("a digit must be here")) } else { Ok(()) }
    }
}

/// Bytes before the first quote, backslash or control byte.
///
/// Most strings are keys and other short words, for which it does not pay to call memchr; for a long text it does.
fn special(text: &[u8]) -> usize {
    const SHORT: usize = 32;
    let short = &text[..text.len().min(SHORT)];
    let (words, rest) = short.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let found = special_in(u64::from_le_bytes(*word));
        if found != 0 {
            return 8 * i + found.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=31);
    let start = 8 * words.len();
    if let Some(at) = rest.iter().position(is_special) {
        return start + at;
    }
    let long = &text[short.len()..];
    let end = memchr2(b'"', b'\\', long).unwrap_or(long.len());
    // Without a branch, and so that one instruction has sixteen bytes: the least of them says it of all.
    let is_clean = long[..end].iter().fold(u8::MAX, |least, byte| least.min(*byte)) >= b' ';
    let end = if is_clean { Some(end) } else { long.iter().position(is_special) };
    short.len() + end.unwrap_or(long.len())
}

/// The highest bit of the first byte of eight that is a quote, a backslash or a control byte, and maybe bits
/// above it. After <https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>.
fn special_in(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 32) | is(b'"') | is(b'\\')) & (ONES << 7)
}

const TOO_DEEP: &str = "arrays and objects are more than 128 levels deep";

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
