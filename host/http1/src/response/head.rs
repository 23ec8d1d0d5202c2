//! The head of an answer: where it ends, whether it is HTTP/1 beyond doubt, and how the body behind it
//! is framed. Whatever two readers could read differently is refused.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode, Version};
use httparse::{ParserConfig, Status};

use super::{Chunked, Decoder, Malformed};

/// The longest head.
const LONGEST: usize = 64 * 1024;
/// Headers of one answer.
const HEADERS: usize = 100;
/// Interim answers (1xx) before the final one.
const INTERIM: u8 = 16;
const START: &[u8] = b"HTTP/1.";

/// The head of a final answer.
#[derive(Debug)]
pub struct Head {
    /// As the upstream sent it.
    pub parts: Parts,
    /// What reads the body; None where there is none.
    pub decoder: Option<Decoder>,
    /// Whether the connection can carry another request after this answer.
    pub keep_alive: bool,
}

/// Reads heads until that of the final answer; keeps its place between reads.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Bytes looked at.
    seen: usize,
    /// Where the line begins that is being looked at.
    line: usize,
    /// Interim answers so far.
    interim: u8,
}

impl HeadReader {
    /// Takes the head of the final answer, and interim ones before it. None: more is to come.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Head>, Malformed> {
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

    /// Where the head ends: behind the first empty line.
    fn end(&mut self, buffer: &[u8]) -> Result<Option<usize>, Malformed> {
        let start = buffer.len().min(START.len());
        if buffer[..start] != START[..start] {
            return Err(Malformed("this is not HTTP/1"));
        }
        for at in memchr::memchr_iter(b'\n', &buffer[self.seen..]) {
            let at = self.seen + at;
            if at > LONGEST {
                break;
            }
            if at == self.line || buffer[at - 1] != b'\r' {
                return Err(Malformed("a line ends in LF alone"));
            }
            if at == self.line + 1 {
                return Ok(Some(at + 1));
            }
            self.line = at + 1;
        }
        self.seen = buffer.len();
        if self.seen > LONGEST {
            return Err(Malformed("the head is too long"));
        }
        Ok(None)
    }
}

/// A whole head. None: of an interim answer.
fn parse(bytes: Bytes) -> Result<Option<Head>, Malformed> {
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
    let status = status.ok_or(Malformed("the status is none"))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Malformed("another protocol, which was not asked for"));
    }
    if status.is_informational() {
        return Ok(None);
    }
    let http_1_0 = answer.version == Some(0);
    let mut said = Said::default();
    let mut map = HeaderMap::with_capacity(answer.headers.len());
    for header in answer.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let name = name.map_err(|_| Malformed("a header's name is none"))?;
        said.note(&name, header.value)?;
        // A piece of the read buffer: no copy.
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value));
        map.append(name, value.map_err(|_| Malformed("a header's value is none"))?);
    }
    let (decoder, keep_alive) = said.framing(status, http_1_0)?;
    let mut parts = Response::new(()).into_parts().0;
    parts.status = status;
    parts.version = if http_1_0 { Version::HTTP_10 } else { Version::HTTP_11 };
    parts.headers = map;
    Ok(Some(Head { parts, decoder, keep_alive }))
}

/// What the headers say about framing.
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
                return Err(Malformed("two lengths"));
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

    /// What reads the body, and whether the connection can be used again.
    fn framing(
        &self,
        status: StatusCode,
        http_1_0: bool,
    ) -> Result<(Option<Decoder>, bool), Malformed> {
        if self.chunked && (self.length.is_some() || http_1_0) {
            return Err(Malformed("chunked, and another framing with it"));
        }
        let keep_alive = !self.close && (!http_1_0 || self.keep_alive);
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            // No body follows whatever is said. A server that says so may send one all the same.
            let unclear = self.chunked || self.length.is_some_and(|length| length > 0);
            return Ok((None, keep_alive && !unclear));
        }
        Ok(match self.length {
            _ if self.chunked => (Some(Decoder::Chunked(Chunked::default())), keep_alive),
            Some(0) => (None, keep_alive),
            Some(length) => (Some(Decoder::Length(length)), keep_alive),
            None => (Some(Decoder::UntilClose), false),
        })
    }
}

/// Digits alone, and fewer than could overflow.
fn length(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed("the length is no number"));
    }
    Ok(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}
