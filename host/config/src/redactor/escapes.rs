//! A text without its escapes: those of JSON strings (`\/`, `\u002B`) and of URLs (`%2B`).

use std::ops::Range;

use crate::count;

/// The range of each byte in the original.
type Origins = Vec<(u32, u32)>;

/// A text, and where each of its bytes comes from in the original.
pub(super) struct Level<'a> {
    original: &'a [u8],
    /// The text and the range of each byte in the original. None: it is the original.
    unescaped: Option<(Vec<u8>, Origins)>,
}

impl<'a> Level<'a> {
    /// The text as it is.
    pub(super) fn of(original: &'a [u8]) -> Self {
        Self { original, unescaped: None }
    }

    pub(super) fn text(&self) -> &[u8] {
        self.unescaped.as_ref().map_or(self.original, |(text, _)| text)
    }

    /// The range in the original that a range of this text comes from.
    pub(super) fn origin(&self, span: Range<usize>) -> Range<usize> {
        let Some((_, origins)) = &self.unescaped else { return span };
        match (origins.get(span.start), span.end.checked_sub(1).and_then(|at| origins.get(at))) {
            (Some(first), Some(last)) => first.0 as usize..last.1 as usize,
            _ => 0..0,
        }
    }

    /// The text with one more level of escapes replaced. None if it has none, or is longer than
    /// 4 GiB.
    pub(super) fn unescaped(&self) -> Option<Self> {
        let text = self.text();
        count(text.len());
        let first = text.iter().position(|byte| matches!(byte, b'\\' | b'%'))?;
        u32::try_from(self.original.len()).ok()?;
        let (mut out, mut origins) = (Vec::new(), Vec::new());
        out.reserve(text.len());
        origins.reserve(text.len());
        let (mut at, mut changed) = (0, false);
        while at < text.len() {
            let escape = if at < first { None } else { escape(&text[at..]) };
            let (char, length) = match escape {
                Some(escape) => escape,
                None => (Unescaped::Byte(text[at]), 1),
            };
            changed |= length > 1;
            let origin = self.origin(at..at + length);
            let origin = (origin.start as u32, origin.end as u32);
            match char {
                Unescaped::Byte(byte) => {
                    out.push(byte);
                    origins.push(origin);
                }
                Unescaped::Char(char) => {
                    let bytes = char.encode_utf8(&mut [0; 4]).len();
                    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    origins.extend(std::iter::repeat_n(origin, bytes));
                }
            }
            at += length;
        }
        changed.then_some(Self { original: self.original, unescaped: Some((out, origins)) })
    }
}

enum Unescaped {
    Byte(u8),
    Char(char),
}

/// The escape at the start of a text, and its length.
fn escape(text: &[u8]) -> Option<(Unescaped, usize)> {
    let byte = match text {
        [b'%', high, low, ..] => {
            return Some((Unescaped::Byte(hex(*high)? << 4 | hex(*low)?), 3));
        }
        [b'\\', b'u', ..] => return unicode(text),
        [b'\\', byte @ (b'"' | b'\\' | b'/' | b'\''), ..] => *byte,
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f', ..] => b' ',
        _ => return None,
    };
    Some((Unescaped::Byte(byte), 2))
}

/// The character of `\uXXXX`, or of a pair of surrogates.
fn unicode(text: &[u8]) -> Option<(Unescaped, usize)> {
    let unit = |text: &[u8]| match text {
        [b'\\', b'u', digits @ ..] => {
            let digits = digits.first_chunk::<4>()?;
            digits.iter().try_fold(0_u16, |unit, digit| Some(unit << 4 | u16::from(hex(*digit)?)))
        }
        _ => None,
    };
    let first = unit(text)?;
    let second = text.get(6..).and_then(unit);
    let units = std::iter::once(first).chain(second);
    let char = char::decode_utf16(units).next()?.unwrap_or(char::REPLACEMENT_CHARACTER);
    Some((Unescaped::Char(char), if char.len_utf16() == 2 { 12 } else { 6 }))
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|digit| digit as u8)
}
