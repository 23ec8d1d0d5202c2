//! Lines of a head and of trailers, and the few of them that decide where a request ends or goes.

use memchr::memchr;

use crate::api::Refusal;

use super::refusals::{CONNECTION, FIELD, FIELD_NAME, FIELD_VALUE, FOLD};

/// Headers that others decide by: no `Connection` header may drop them, no trailer may add them, and
/// none may come with an underscore, which some servers read as a hyphen.
const DECIDING: [&[u8]; 18] = [
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
    b"x-real-ip",
    b"x-request-id",
    b"x-http-method-override",
    b"x-original-url",
];
const DECIDING_PREFIX: &[u8] = b"x-forwarded-";

/// What a header means to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// Nothing.
    Plain,
    /// Like one that decides, with an underscore.
    Twin,
    Connection,
    ContentLength,
    Expect,
    Host,
    TransferEncoding,
    Upgrade,
}

impl Name {
    pub(super) fn of(name: &[u8]) -> Self {
        let known: (&[u8], Name) = match name.len() {
            4 => (b"host", Name::Host),
            6 => (b"expect", Name::Expect),
            7 => (b"upgrade", Name::Upgrade),
            10 => (b"connection", Name::Connection),
            14 => (b"content-length", Name::ContentLength),
            17 => (b"transfer-encoding", Name::TransferEncoding),
            _ => (b"", Name::Plain),
        };
        if name.eq_ignore_ascii_case(known.0) {
            return known.1;
        }
        if memchr(b'_', name).is_some() && decides(name) { Name::Twin } else { Name::Plain }
    }
}

/// Whether others decide by a header of this name, be it written with hyphens or underscores.
pub(super) fn decides(name: &[u8]) -> bool {
    let same = |a: &u8, b: &u8| a.to_ascii_lowercase() == *b || (*a == b'_' && *b == b'-');
    let starts =
        |known: &[u8]| name.len() >= known.len() && name.iter().zip(known).all(|(a, b)| same(a, b));
    starts(DECIDING_PREFIX)
        || DECIDING.iter().any(|known| known.len() == name.len() && starts(known))
}

/// Name and value of a line.
pub(super) fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(FOLD);
    }
    let colon = memchr(b':', line).ok_or(FIELD)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        return Err(FIELD_NAME);
    }
    // Without a branch, so that many bytes are looked at at once.
    let control = |byte: &u8| (*byte < b' ' && *byte != b'\t') | (*byte == 0x7f);
    if value.iter().fold(false, |found, byte| found | control(byte)) {
        return Err(FIELD_VALUE);
    }
    Ok((name, trim(value)))
}

/// Judges what a `Connection` header names.
pub(super) fn connection(value: &[u8]) -> Result<(), Refusal> {
    let names = value.split(|byte| *byte == b',').map(trim);
    let good = |name: &[u8]| name.is_empty() || is_token(name) && !decides(name);
    if names.into_iter().all(good) { Ok(()) } else { Err(CONNECTION) }
}

/// Whether this is the `tchar`s of RFC 9110, at least one.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TOKEN[*byte as usize])
}

const TOKEN: [bool; 256] = letters_and(b"!#$%&'*+-.^_`|~");

/// Which bytes are letters, digits, or one of `marks`.
pub(super) const fn letters_and(marks: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
}

/// Whether this is a host, with or without a port: a name, an address, or an address in brackets.
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
    let in_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(byte);
    !host.is_empty() && host.iter().all(in_host) && is_port(port)
}

fn is_port(text: &[u8]) -> bool {
    match text.split_first() {
        None => true,
        Some((b':', digits)) => {
            let number = str::from_utf8(digits).ok().map(str::parse::<u16>);
            digits.is_empty()
                || digits.iter().all(u8::is_ascii_digit) && matches!(number, Some(Ok(_)))
        }
        Some(_) => false,
    }
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
