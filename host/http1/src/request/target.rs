//! Judges the target of a request: its path and query must mean the same to every server.

use memchr::memmem;

use crate::Refusal;

use super::field::{self, Bytes, letters_and, span};
use super::refusals::{TARGET_BYTE, TARGET_DOTS, TARGET_ESCAPE, TARGET_FORM};

/// After this prefix a slash may be encoded: ids of models contain slashes, and SDKs encode them.
const MODELS: &[u8] = b"/v1/models/";

/// The characters of RFC 3986 that a path may contain.
static PATH: Bytes = letters_and(b"/-_~!$&'()*+,;=:@", &[(b'.', DOT), (b'%', ESCAPE)]);
/// The characters of a query, and a few more that clients do not encode.
static QUERY: Bytes = letters_and(b"/-._~!$&'()*+,;=:@?[]{}|", &[(b'%', ESCAPE)]);

const DOT: u8 = 2;
const ESCAPE: u8 = 4;

/// Accepts a path with an optional query, with or without `http://host` before it (RFC 9112,
/// 3.2.2). Refuses any other target, and paths that servers could read differently.
pub(super) fn judge(target: &[u8]) -> Result<(), Refusal> {
    let target = match target.first() {
        Some(b'/') => target,
        _ => after_authority(target).ok_or(TARGET_FORM)?,
    };
    let (end, in_path) = span(target, &PATH);
    let (path, query) = target.split_at(end);
    let (end, in_query) = span(query, &QUERY);
    if !matches!(query.first(), None | Some(b'?')) || end < query.len() {
        return Err(TARGET_BYTE);
    }
    if (in_path | in_query) & ESCAPE != 0 {
        escapes(path, |byte| is_plain(byte) || byte == b'/' && path.starts_with(MODELS))?;
        escapes(query, |_| true)?;
    }
    if in_path & DOT != 0 && has_dots(path) { Err(TARGET_DOTS) } else { Ok(()) }
}

/// Path and query of an http URL. None if the target is not an http URL, or its authority is not a
/// host and port.
fn after_authority(target: &[u8]) -> Option<&[u8]> {
    let is = |scheme: &[u8]| {
        target.get(..scheme.len())?.eq_ignore_ascii_case(scheme).then_some(scheme.len())
    };
    let start = is(b"http://").or_else(|| is(b"https://"))?;
    let rest = &target[start..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    field::is_host(&rest[..end]).then_some(&rest[end..])
}

/// True if an encoded byte of a path is harmless when a server decodes it.
fn is_plain(byte: u8) -> bool {
    !byte.is_ascii_control() && !matches!(byte, b'/' | b'\\' | b'.')
}

fn escapes(text: &[u8], allowed: impl Fn(u8) -> bool) -> Result<(), Refusal> {
    for at in memchr::memchr_iter(b'%', text) {
        let digits = text.get(at + 1..at + 3).and_then(|digits| str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(byte)) if allowed(byte) => {}
            _ => return Err(TARGET_ESCAPE),
        }
    }
    Ok(())
}

/// True if a segment is `.` or `..`. An encoded slash ends a segment, too.
fn has_dots(path: &[u8]) -> bool {
    let dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    if path.split(|byte| *byte == b'/').any(dots) {
        return true;
    }
    let lower = path.to_ascii_lowercase();
    let ends = memmem::find_iter(&lower, b"%2f").chain([lower.len()]);
    let mut start = 0;
    for end in ends {
        let mut segments = lower[start..end].split(|byte| *byte == b'/');
        if segments.any(dots) {
            return true;
        }
        start = (end + 3).min(lower.len());
    }
    false
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
