//! Judges a chunked body as it arrives. Its bytes pass unchanged: every server reads a body that
//! passes here in the same way.

use crate::{Refusal, count};

use super::field;
use super::refusals::{CHUNK_END, CHUNK_EXTENSION, CHUNK_SIZE, TRAILER, TRAILERS};

/// Limit on the hexadecimal digits of a size: one more might not fit into 63 bits.
const DIGITS: u8 = 15;
const EXTENSION_LIMIT: usize = 256;
/// In bytes, over all extensions of a body. hyper refuses more than 16 KiB.
const EXTENSIONS_LIMIT: usize = 4 << 10;
const TRAILER_LIMIT: usize = 16;
const TRAILERS_LIMIT: usize = 4 << 10;

/// The state of a chunked body.
#[derive(Debug, Default)]
pub struct ChunkedRequest {
    state: State,
    extensions: usize,
    trailers: usize,
    trailer_bytes: usize,
    /// The current trailer line so far.
    line: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { size: u64, digits: u8 },
    Extension { size: u64, length: usize },
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    Trailer,
    End,
}

impl Default for State {
    fn default() -> Self {
        State::Size { size: 0, digits: 0 }
    }
}

impl ChunkedRequest {
    /// Takes the next bytes, and returns how many of them belong to the body.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::End {
            if let State::Data(left) = self.state {
                let here = bytes.len() - at;
                let taken = usize::try_from(left).map_or(here, |left| left.min(here));
                at += taken;
                self.state = match left - taken as u64 {
                    0 => State::DataCr,
                    left => State::Data(left),
                };
            } else {
                count(1);
                self.state = self.next(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// True once the body is complete.
    pub(super) fn is_end(&self) -> bool {
        self.state == State::End
    }

    fn next(&mut self, byte: u8) -> Result<State, Refusal> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                if digits == DIGITS {
                    return Err(CHUNK_SIZE);
                }
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(CHUNK_SIZE),
            (State::Size { size, .. } | State::Extension { size, .. }, b'\r') => {
                State::SizeLf(size)
            }
            (State::Size { size, .. }, b';') => State::Extension { size, length: 0 },
            (State::Size { .. }, _) => return Err(CHUNK_SIZE),
            (State::Extension { size, length }, b'\t' | b' '..=b'~') => {
                self.extensions += 1;
                if length == EXTENSION_LIMIT || self.extensions > EXTENSIONS_LIMIT {
                    return Err(CHUNK_EXTENSION);
                }
                State::Extension { size, length: length + 1 }
            }
            (State::Extension { .. }, _) => return Err(CHUNK_EXTENSION),
            (State::SizeLf(0), b'\n') => State::Trailer,
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::SizeLf(_), _) => return Err(CHUNK_SIZE),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::default(),
            (State::DataCr | State::DataLf, _) => return Err(CHUNK_END),
            (State::Trailer, byte) => self.trailer(byte)?,
            (State::Data(_) | State::End, _) => return Err(CHUNK_END),
        })
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILERS_LIMIT {
            return Err(TRAILERS);
        }
        self.line.push(byte);
        if byte != b'\n' {
            return Ok(State::Trailer);
        }
        let line = self.line.strip_suffix(b"\r\n").ok_or(TRAILER)?;
        if line.is_empty() {
            return Ok(State::End);
        }
        self.trailers += 1;
        if self.trailers > TRAILER_LIMIT {
            return Err(TRAILERS);
        }
        match field::split(line) {
            Ok((_, name, _)) if !field::decides(name) => {
                self.line.clear();
                Ok(State::Trailer)
            }
            _ => Err(TRAILER),
        }
    }
}
