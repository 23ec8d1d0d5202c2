//! Decodes the chunked coding. The framing is read byte by byte, so that it may be cut anywhere.
//! Extensions and trailers are checked, bounded and dropped.

use bytes::{Buf, Bytes, BytesMut};

use super::Malformed;
use crate::count;

/// Limit on one chunk's extension, in bytes.
const EXTENSION: u32 = 4 * 1024;
/// Limit on all trailers, in bytes.
const TRAILERS: u32 = 16 * 1024;
/// Limit on the digits of a size.
const DIGITS: u32 = 16;
/// In bytes. Chunks of one read up to this size are moved together in the read buffer and passed on
/// as one piece: such a short copy is cheaper than one more piece.
const COPIED: usize = 4 * 1024;

/// The state of the decoder.
#[derive(Debug, Default)]
pub struct ChunkedResponse {
    at: At,
    /// The chunk's size while that is read, then the bytes that are left of the chunk.
    left: u64,
    /// Bytes so far of the current bounded part: digits, extension or trailers.
    seen: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
    Bad(Malformed),
}

impl ChunkedResponse {
    /// True once the last byte of the body has been read.
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Takes payload from `buffer`. None if more bytes are needed, or if the body is done.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
        let (mut at, mut payload) = (0, 0..0);
        while at < buffer.len() && !matches!(self.at, At::Done | At::Bad(_)) {
            if self.at != At::Data {
                count(1);
                self.at = self.frame(buffer[at]).unwrap_or_else(At::Bad);
                at += 1;
                continue;
            }
            let ready = buffer.len() - at;
            let size = usize::try_from(self.left).map_or(ready, |left| left.min(ready));
            if payload.is_empty() {
                payload = at..at + size;
            } else if size <= COPIED {
                count(size);
                buffer.copy_within(at..at + size, payload.end);
                payload.end += size;
            } else {
                break;
            }
            at += size;
            self.left -= size as u64;
            if self.left == 0 {
                self.at = At::DataCr;
            }
        }
        // Payload before an error goes out first. The next call returns the error.
        if payload.is_empty() {
            buffer.advance(at);
            return match self.at {
                At::Bad(why) => Err(why),
                _ => Ok(None),
            };
        }
        let mut taken = buffer.split_to(at);
        taken.truncate(payload.end);
        taken.advance(payload.start);
        Ok(Some(taken.freeze()))
    }

    /// Takes one byte of the framing.
    fn frame(&mut self, byte: u8) -> Result<At, Malformed> {
        Ok(match (self.at, byte) {
            (At::Size, _) if byte.is_ascii_hexdigit() => {
                self.bounded(DIGITS, "a chunk's size is too large")?;
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | u64::from(digit);
                At::Size
            }
            (At::Size, b'\r') if self.seen > 0 => At::SizeLf,
            (At::Size, b';' | b' ' | b'\t') if self.seen > 0 => {
                self.seen = 0;
                At::Extension
            }
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, _) if is_text(byte) => {
                self.bounded(EXTENSION, "a chunk's extension is too long")?;
                At::Extension
            }
            (At::SizeLf, b'\n') => {
                self.seen = 0;
                if self.left == 0 { At::Trailer } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Trailer, b'\r') => At::EndLf,
            (At::EndLf, b'\n') => At::Done,
            (At::Trailer | At::TrailerName, _) if is_token(byte) => {
                self.bounded(TRAILERS, "the trailers are too long")?;
                At::TrailerName
            }
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::TrailerValue, _) if is_text(byte) => {
                self.bounded(TRAILERS, "the trailers are too long")?;
                At::TrailerValue
            }
            (At::TrailerLf, b'\n') => At::Trailer,
            _ => return Err(Malformed("invalid framing of a chunk")),
        })
    }

    fn bounded(&mut self, most: u32, why: &'static str) -> Result<(), Malformed> {
        self.seen += 1;
        if self.seen > most { Err(Malformed(why)) } else { Ok(()) }
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
