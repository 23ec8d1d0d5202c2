//! The chunked coding. What frames the chunks is read byte by byte, so that it may be cut anywhere;
//! extensions and trailers are checked, bounded and dropped.

use bytes::{Buf, Bytes, BytesMut};

use super::Malformed;

/// Bytes of one chunk's extension.
const EXTENSION: u32 = 4 * 1024;
/// Bytes of all trailers.
const TRAILERS: u32 = 16 * 1024;
/// Digits of a size.
const DIGITS: u32 = 16;
/// Chunks of one read are passed on as one piece, moved together in the read buffer, up to this size
/// each: to copy so little is cheaper than to pass on one more piece.
const COPIED: usize = 4 * 1024;

/// Where the reader stands.
#[derive(Debug, Default)]
pub struct Chunked {
    at: At,
    /// The size while it is read, then what is left of the chunk.
    left: u64,
    /// Bytes of the part that is bounded: digits, extension, trailers.
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

impl Chunked {
    /// Whether the last byte of the body has been read.
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Takes what `buffer` has of the body. None: more is to come, or the body is done.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
        let (mut at, mut payload) = (0, 0..0);
        while at < buffer.len() && !matches!(self.at, At::Done | At::Bad(_)) {
            if self.at != At::Data {
                self.at = self.frame(buffer[at]).unwrap_or_else(At::Bad);
                at += 1;
                continue;
            }
            let ready = buffer.len() - at;
            let size = usize::try_from(self.left).map_or(ready, |left| left.min(ready));
            if payload.is_empty() {
                payload = at..at + size;
            } else if size <= COPIED {
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

    /// One byte that is not payload.
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
            _ => return Err(Malformed("the chunks are not framed as chunks are")),
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
