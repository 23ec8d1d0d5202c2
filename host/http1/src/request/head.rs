//! Judges the head of a request line by line, as it arrives. A line is judged once it is whole, so
//! that the verdict does not depend on how the bytes are cut.

use std::ops::Range;

use memchr::memchr;

use crate::{Refusal, count};

use super::field::{self, Name};
use super::refusals::*;
use super::target;

/// Bytes of the request line, its line end included.
const REQUEST_LINE_LIMIT: usize = 8 << 10;
/// Bytes of the whole head.
pub(super) const HEAD_LIMIT: usize = 64 << 10;
const FIELD_LIMIT: usize = 100;

/// A head that is still arriving. Every call passes all of its bytes, and each byte is examined
/// once.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// Where the head begins: after an empty line, which some clients send after a body.
    start: usize,
    /// Where the current line begins.
    line: usize,
    /// The end of the bytes that were searched for a line end.
    searched: usize,
    fields: usize,
    request_line: bool,
    http10: bool,
    host: bool,
    length: Option<u64>,
    length_at: Range<usize>,
    chunked: bool,
    expects: bool,
    ignored: Vec<Range<usize>>,
}

/// A complete head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// Bytes before it, which are skipped.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
    /// How the body after it ends.
    pub(super) body: Length,
    /// The `Content-Length` line. Empty if there is none.
    pub(super) length_at: Range<usize>,
    /// True if the client waits for `100 Continue` before it sends the body.
    pub(super) expects: bool,
    /// Lines that are ignored, in their order.
    pub(super) ignored: Vec<Range<usize>>,
}

/// How the body of a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// After this many bytes.
    Known(u64),
    /// With the last chunk.
    Chunked,
}

impl RequestHead {
    /// Judges the bytes that are new since the last call. `bytes` has all bytes so far.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Option<Whole>, Refusal> {
        if !self.request_line && !self.begins(bytes)? {
            return Ok(None);
        }
        loop {
            let new = &bytes[self.searched..];
            let Some(found) = memchr(b'\n', new) else {
                count(new.len());
                self.searched = bytes.len();
                return self.within_limits(bytes.len()).map(|()| None);
            };
            let end = self.searched + found + 1;
            self.within_limits(end)?;
            // The line is read once more to be judged.
            count(found + 1 + (end - self.line));
            let at = self.line..end;
            let line = bytes[at.clone()].strip_suffix(b"\r\n").ok_or(BARE_LF)?;
            (self.line, self.searched) = (end, end);
            if !self.request_line {
                self.request_line(line)?;
                self.request_line = true;
            } else if line.is_empty() {
                return self.finish(end).map(Some);
            } else {
                self.field(line, at)?;
            }
        }
    }

    /// Skips an empty line before the head, and refuses other protocols by their first byte.
    /// Returns false if the first byte has not come.
    fn begins(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        if self.start == 0 && bytes.first() == Some(&b'\r') {
            match bytes.get(1) {
                None => return Ok(false),
                Some(b'\n') => (self.start, self.line, self.searched) = (2, 2, 2),
                Some(_) => return Err(METHOD),
            }
        }
        match bytes.get(self.start) {
            None => Ok(false),
            // The first byte of a TLS handshake.
            Some(0x16) => Err(TLS),
            Some(first) if field::is_token(&[*first]) => Ok(true),
            Some(_) => Err(METHOD),
        }
    }

    fn within_limits(&self, end: usize) -> Result<(), Refusal> {
        let length = end - self.start;
        if !self.request_line && length > REQUEST_LINE_LIMIT {
            return Err(REQUEST_LINE_LONG);
        }
        if length > HEAD_LIMIT { Err(HEAD_LARGE) } else { Ok(()) }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line == b"PRI * HTTP/2.0" {
            return Err(HTTP2);
        }
        let (method, rest) = split(line, b' ').ok_or(REQUEST_LINE)?;
        let (target, version) = split(rest, b' ').ok_or(REQUEST_LINE)?;
        if !field::is_token(method) {
            return Err(METHOD);
        }
        self.http10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(VERSION);
            }
            _ => return Err(REQUEST_LINE),
        };
        if matches!(method, b"CONNECT" | b"TRACE") {
            return Err(METHOD_FORBIDDEN);
        }
        target::judge(target)
    }

    fn field(&mut self, line: &[u8], at: Range<usize>) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > FIELD_LIMIT {
            return Err(FIELDS);
        }
        let (name, _, value) = field::split(line)?;
        match name {
            Name::Plain => Ok(()),
            Name::Twin => Err(FIELD_TWIN),
            Name::Upgrade if field::names_websocket(value) => Err(WEBSOCKET),
            // A server may ignore an offer (RFC 9110, 7.8). Java's HttpClient and curl offer h2c.
            Name::Upgrade => {
                self.ignored.push(at);
                Ok(())
            }
            Name::Host => self.host(value),
            Name::ContentLength => self.length(value, at),
            Name::TransferEncoding => self.coding(value),
            Name::Connection => field::connection(value),
            Name::Expect if value.eq_ignore_ascii_case(b"100-continue") => {
                self.expects = true;
                Ok(())
            }
            Name::Expect => Err(EXPECT),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.host, true) {
            return Err(HOST_TWICE);
        }
        if field::is_host(value) { Ok(()) } else { Err(HOST) }
    }

    fn length(&mut self, value: &[u8], at: Range<usize>) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(LENGTH_TWICE);
        }
        self.length_at = at;
        self.length = Some(field::number(value).ok_or(LENGTH)?);
        Ok(())
    }

    fn coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.chunked, true) {
            return Err(CODING_TWICE);
        }
        if self.http10 {
            return Err(CODING_OLD);
        }
        if value.eq_ignore_ascii_case(b"chunked") { Ok(()) } else { Err(CODING) }
    }

    fn finish(&mut self, end: usize) -> Result<Whole, Refusal> {
        if !self.host && !self.http10 {
            return Err(HOST_MISSING);
        }
        let body = match (self.chunked, self.length) {
            (true, Some(_)) => return Err(BOTH),
            (true, None) => Length::Chunked,
            (false, length) => Length::Known(length.unwrap_or(0)),
        };
        let length_at = self.length_at.clone();
        let ignored = std::mem::take(&mut self.ignored);
        Ok(Whole { start: self.start, end, body, length_at, expects: self.expects, ignored })
    }
}

fn split(line: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr(at, line)?;
    Some((&line[..at], &line[at + 1..]))
}
