//! The body of an answer, taken out of what was read.

use bytes::{Bytes, BytesMut};

use super::{Chunked, Malformed};

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// By its length.
    Length,
    /// By the last chunk.
    Chunked,
    /// By the end of the connection, which an upstream that dies also gives.
    UntilClose,
}

/// Takes a body out of what was read.
#[derive(Debug)]
pub enum Decoder {
    /// So many bytes are left.
    Length(u64),
    /// In chunks.
    Chunked(Chunked),
    /// All there is.
    UntilClose,
}

impl Decoder {
    /// Takes what `buffer` has of the body. None: more is to come, or the body is done.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
        match self {
            Decoder::Chunked(chunked) => chunked.decode(buffer),
            _ if buffer.is_empty() => Ok(None),
            Decoder::UntilClose => Ok(Some(buffer.split().freeze())),
            Decoder::Length(left) => {
                let ready = buffer.len();
                let size = usize::try_from(*left).map_or(ready, |left| left.min(ready));
                *left -= size as u64;
                Ok(Some(buffer.split_to(size).freeze()))
            }
        }
    }

    /// Whether the last byte of the body has been taken.
    pub fn is_done(&self) -> bool {
        match self {
            Decoder::Length(left) => *left == 0,
            Decoder::Chunked(chunked) => chunked.is_done(),
            Decoder::UntilClose => false,
        }
    }

    /// How the end of the body is known.
    #[must_use]
    pub fn framing(&self) -> Framing {
        match self {
            Decoder::Length(_) => Framing::Length,
            Decoder::Chunked(_) => Framing::Chunked,
            Decoder::UntilClose => Framing::UntilClose,
        }
    }
}
