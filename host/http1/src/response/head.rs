//! Reads the head of an answer: where it ends, whether it is strict HTTP/1, and how its body is
//! framed. A head that two parsers could read differently is refused.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode, Version};
use httparse::{ParserConfig, Status};

use super::{ChunkedResponse, Decoder, Malformed};
use crate::count;

/// Limit on a head, in bytes.
const LONGEST: usize = 64 * 1024;
/// Limit on the headers of one answer.
const HEADERS: usize = 100;
/// Limit on interim answers (1xx) before the final one.
const INTERIM: u8 = 16;
const START: &[u8] = b"HTTP/1.";

/// The head of a final answer.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status, version and headers, as the upstream sent them.
    pub parts: Parts,
    /// Reads the body. None if there is no body.
    pub decoder: Option<Decoder>,
    /// True if the connection can carry another request after this answer.
    pub keep_alive: bool,
}

/// Reads heads up to that of the final answer. Keeps its position between reads.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Bytes that were examined.
    seen: usize,
    /// Where the current line begins.
    line: usize,
    /// Interim answers so far.
    interim: u8,
}

impl HeadReader {
    /// Takes the head of the final answer, and drops interim answers before it. None if more bytes
    /// are needed.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<ResponseHead>, Malformed> {
        while let Some(end) = self.end(buffer)? {
            (self.seen, self.line) = (0, 0);
            if let Some(head) = parse(buffer.split_to(end).freeze())? {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > INTERIM {
                return Err(Malformed("too many interim answers"));
            }
        }
        Ok(None)
    }

    /// Where the head ends: after the first empty line. None if that has not come.
    fn end(&mut self, buffer: &[u8]) -> Result<Option<usize>, Malformed> {
        let start = buffer.len().min(START.len());
        if buffer[..start] != START[..start] {
            return Err(Malformed("this is not HTTP/1"));
        }
        let new = &buffer[self.seen..];
        for at in memchr::memchr_iter(b'\n', new) {
            let at = self.seen + at;
            if at > LONGEST {
                break;
            }
            if at == self.line || buffer[at - 1] != b'\r' {
                return Err(Malformed("a line ends in LF alone"));
            }
            if at == self.line + 1 {
                count(at + 1 - self.seen);
                return Ok(Some(at + 1));
            }
            self.line = at + 1;
        }
        count(new.len());
        self.seen = buffer.len();
        if self.seen > LONGEST {
            return Err(Malformed("the head is too long"));
        }
        Ok(None)
    }
}

/// Parses a whole head. None for an interim answer.
fn parse(bytes: Bytes) -> Result<Option<ResponseHead>, Malformed> {
    count(bytes.len());
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut answer,
        &bytes,
        &mut headers,
    );
    if !parsed.is_ok_and(|status| status == Status::Complete(bytes.len())) {
        return Err(Malformed("the head is not that of an HTTP answer"));
    }
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Malformed("invalid status code"))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Malformed("a switch to another protocol that was not requested"));
    }
    if status.is_informational() {
        return Ok(None);
    }
    let http_1_0 = answer.version == Some(0);
    let mut said = Said::default();
    let mut map = HeaderMap::with_capacity(answer.headers.len());
    for header in answer.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let name = name.map_err(|_| Malformed("invalid header name"))?;
        said.note(&name, header.value)?;
        // Shares the read buffer: no copy.
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value));
        map.append(name, value.map_err(|_| Malformed("invalid header value"))?);
    }
    let (decoder, keep_alive) = said.framing(status, http_1_0)?;
    let mut parts = Response::new(()).into_parts().0;
    parts.status = status;
    parts.version = if http_1_0 { Version::HTTP_10 } else { Version::HTTP_11 };
    parts.headers = map;
    Ok(Some(ResponseHead { parts, decoder, keep_alive }))
}

/// The framing that the headers announce.
#[derive(Debug, Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Said {
    fn note(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), Malformed> {
        if name == header::CONTENT_LENGTH {
            if self.length.replace(length(value)?).is_some() {
                return Err(Malformed("more than one content length"));
            }
        } else if name == header::TRANSFER_ENCODING {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed("a transfer coding other than chunked"));
            }
            self.chunked = true;
        } else if name == header::CONNECTION {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        Ok(())
    }

    /// The decoder of the body, and true if the connection can be used again.
    fn framing(
        &self,
        status: StatusCode,
        http_1_0: bool,
    ) -> Result<(Option<Decoder>, bool), Malformed> {
        if self.chunked && (self.length.is_some() || http_1_0) {
            return Err(Malformed("chunked coding with a content length or in HTTP/1.0"));
        }
        let keep_alive = !self.close && (!http_1_0 || self.keep_alive);
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            // These statuses never have a body. A server that announces one may send it all the
            // same, so its connection is not used again.
            let unclear = self.chunked || self.length.is_some_and(|length| length > 0);
            return Ok((None, keep_alive && !unclear));
        }
        Ok(match self.length {
            _ if self.chunked => (Some(Decoder::Chunked(ChunkedResponse::default())), keep_alive),
            Some(0) => (None, keep_alive),
            Some(length) => (Some(Decoder::Length(length)), keep_alive),
            None => (Some(Decoder::UntilClose), false),
        })
    }
}

/// Parses a content length: only digits, and at most 18 of them, which cannot overflow.
fn length(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed("invalid content length"));
    }
    Ok(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}
