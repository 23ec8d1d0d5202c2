//! Reads the lines of heads and trailers, and knows the few headers that decide where a request
//! ends or goes.

use memchr::memchr;

use crate::{Refusal, bytes16};

use super::refusals::{CONNECTION, FIELD, FIELD_NAME, FIELD_VALUE, FOLD};

/// Headers that servers base decisions on. A `Connection` header must not drop them, a trailer must
/// not add them, and they must not be spelled with underscores, which some servers read as hyphens.
const DECIDING: [&[u8]; 19] = [
    b"api-key",
    b"authorization",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"proxy-authorization",
    b"transfer-encoding",
    b"via",
    b"x-api-key",
    b"x-gateway-side",
    b"x-real-ip",
    b"x-request-id",
    b"x-http-method-override",
    b"x-original-url",
];
const DECIDING_PREFIX: &[u8] = b"x-forwarded-";

/// The meaning of a header for the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// No meaning: the header passes.
    Plain,
    /// A deciding header, spelled with an underscore.
    Twin,
    Connection,
    ContentLength,
    Expect,
    Host,
    TransferEncoding,
    Upgrade,
}

impl Name {
    /// `name` must be a token.
    fn of(name: &[u8], has_underscore: bool) -> Self {
        let known: (&[u8], Name) = match name.len() {
            4 => (b"host", Name::Host),
            6 => (b"expect", Name::Expect),
            7 => (b"upgrade", Name::Upgrade),
            10 => (b"connection", Name::Connection),
            14 => (b"content-length", Name::ContentLength),
            17 => (b"transfer-encoding", Name::TransferEncoding),
            _ => (b"", Name::Plain),
        };
        // Setting bit 0x20 lower-cases ASCII letters. No other byte of a token becomes a letter or
        // a hyphen, so the comparison is exact.
        let same = |(a, b): (&u8, &u8)| a | 0x20 == *b;
        if name.len() == known.0.len() && name.iter().zip(known.0).all(same) {
            return known.1;
        }
        if has_underscore && decides(name) { Name::Twin } else { Name::Plain }
    }
}

/// True if servers base decisions on a header of this name, spelled with hyphens or underscores.
pub(super) fn decides(name: &[u8]) -> bool {
    let same = |a: &u8, b: &u8| a.to_ascii_lowercase() == *b || (*a == b'_' && *b == b'-');
    let starts =
        |known: &[u8]| name.len() >= known.len() && name.iter().zip(known).all(|(a, b)| same(a, b));
    starts(DECIDING_PREFIX)
        || DECIDING.iter().any(|known| known.len() == name.len() && starts(known))
}

/// Splits a line into the meaning of its name, the name, and the value.
pub(super) fn split(line: &[u8]) -> Result<(Name, &[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(FOLD);
    }
    let (end, marks) = match line.first_chunk().map(letters).filter(|end| line[*end] == b':') {
        Some(end) => (end, 0),
        None => span(line, &TOKEN),
    };
    let (name, rest) = line.split_at(end);
    let value = match rest.split_first() {
        Some((b':', value)) if !name.is_empty() => value,
        _ => return Err(if line.contains(&b':') { FIELD_NAME } else { FIELD }),
    };
    // The whole line is searched, because few lines are too short for a search by sixteen bytes.
    if has_control(line) {
        return Err(FIELD_VALUE);
    }
    Ok((Name::of(name, marks & UNDERSCORE != 0), name, value.trim_ascii()))
}

/// Counts the letters and hyphens at the start of sixteen bytes, up to 15. Most names consist of
/// them.
fn letters(text: &[u8; 16]) -> usize {
    let other = |byte: u8| ((byte | 0x20).wrapping_sub(b'a') >= 26) & (byte != b'-');
    bytes16::first(text, other).min(15)
}

/// True if `line` contains a control byte other than a tab.
fn has_control(line: &[u8]) -> bool {
    let is_control = |byte: u8| ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f);
    let any = |chunk: &[u8; 16]| bytes16::any(chunk, is_control);
    match line.last_chunk() {
        // The last sixteen bytes overlap the chunks: some are searched twice.
        Some(last) => line.as_chunks().0.iter().any(any) || any(last),
        None => line.iter().any(|byte| is_control(*byte)),
    }
}

/// Refuses a `Connection` header that names a deciding header, or something that is no token.
pub(super) fn connection(value: &[u8]) -> Result<(), Refusal> {
    let names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let good = |name: &[u8]| name.is_empty() || is_token(name) && !decides(name);
    if names.into_iter().all(good) { Ok(()) } else { Err(CONNECTION) }
}

/// True if an `Upgrade` header offers a websocket. Its client accepts no other answer.
pub(super) fn names_websocket(value: &[u8]) -> bool {
    let mut protocols = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    protocols.any(|protocol| {
        let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"websocket")
    })
}

/// True for one or more `tchar`s of RFC 9110.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && span(text, &TOKEN).0 == text.len()
}

const UNDERSCORE: u8 = 2;
static TOKEN: Bytes = letters_and(b"!#$%&'*+-.^`|~", &[(b'_', UNDERSCORE)]);

/// A class for each byte value: 0 if it is not allowed, else bits that describe it.
pub(super) type Bytes = [u8; 256];

/// A table with 1 for letters, digits and `plain`, and with the given bits for `marked`.
pub(super) const fn letters_and(plain: &[u8], marked: &[(u8, u8)]) -> Bytes {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        bytes[byte] = (byte as u8).is_ascii_alphanumeric() as u8;
        byte += 1;
    }
    let mut at = 0;
    while at < plain.len() {
        bytes[plain[at] as usize] = 1;
        at += 1;
    }
    let mut at = 0;
    while at < marked.len() {
        bytes[marked[at].0 as usize] = marked[at].1;
        at += 1;
    }
    bytes
}

/// Counts the allowed bytes at the start of `text`, and joins their bits. In texts this short, one
/// pass takes no longer than a single search for one of the bytes.
pub(super) fn span(text: &[u8], may: &Bytes) -> (usize, u8) {
    let (mut at, mut seen) = (0, 0);
    while let Some(byte) = text.get(at) {
        match may[*byte as usize] {
            0 => break,
            marks => seen |= marks,
        }
        at += 1;
    }
    (at, seen)
}

static HOST: Bytes = letters_and(b"-._~:", &[]);

/// True for a host with or without a port: a name, an address, or an address in brackets.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = memchr(b']', rest) else { return false };
            let inside = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if end == 0 || !rest[..end].iter().all(inside) {
                return false;
            }
            (&rest[..end], &rest[end + 1..])
        }
        None => value.split_at(memchr(b':', value).unwrap_or(value.len())),
    };
    !host.is_empty() && span(host, &HOST).0 == host.len() && is_port(port)
}

fn is_port(text: &[u8]) -> bool {
    match text.split_first() {
        None => true,
        Some((b':', digits)) => {
            digits.is_empty() || number(digits).is_some_and(|port| port <= u16::MAX.into())
        }
        Some(_) => false,
    }
}

/// Parses a number as in RFC 9110: only digits. None above 63 bits, because servers in other
/// languages hold it in a signed integer.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let mut number: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    (!digits.is_empty() && number <= i64::MAX as u64).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A model of [`split`], byte by byte.
    fn plainly(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(FOLD);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(FIELD)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let mark = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(mark) {
            return Err(FIELD_NAME);
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(FIELD_VALUE);
        }
        Ok((name, value.trim_ascii()))
    }

    proptest! {
        #[test]
        fn a_line_is_split_alike_sixteen_bytes_at_a_time(
            name in prop::collection::vec(
                prop_oneof![20 => prop::sample::select(&b"aZz-"[..]), 1 => any::<u8>()], 0..20),
            between in prop::sample::select(vec![&b":"[..], b": ", b"", b" :", b"::"]),
            value in prop::collection::vec(
                prop_oneof![20 => Just(b'v'), 1 => any::<u8>(), 1 => Just(b'\t')], 0..40),
        ) {
            let line = [&name[..], between, &value[..]].concat();
            prop_assert_eq!(split(&line).map(|(_, name, value)| (name, value)), plainly(&line));
        }

        #[test]
        fn a_name_is_known_however_it_is_written(upper in any::<u32>(), at in 0..6_usize) {
            let known = ["host", "expect", "upgrade", "connection", "content-length", "transfer-encoding"];
            let case = |(i, byte): (usize, u8)| if upper >> i & 1 == 1 { byte.to_ascii_uppercase() } else { byte };
            let name: Vec<u8> = known[at].bytes().enumerate().map(case).collect();
            prop_assert_eq!(Name::of(&name, false), Name::of(known[at].as_bytes(), false));
            prop_assert_ne!(Name::of(&name, false), Name::Plain);
            prop_assert_eq!(Name::of(&name[1..], false), Name::Plain);
        }
    }
}
