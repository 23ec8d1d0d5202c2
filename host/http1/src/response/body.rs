//! Takes the body of an answer from the read buffer.

use bytes::{Bytes, BytesMut};

use super::{ChunkedResponse, Malformed};

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is no body.
    Empty,
    /// By its length.
    Length,
    /// By the last chunk.
    Chunked,
    /// By the end of the connection. A crash of the upstream ends it in the same way.
    UntilClose,
}

/// Decodes a body by its framing.
#[derive(Debug)]
pub enum Decoder {
    /// This many bytes are left.
    Length(u64),
    /// The body is chunked.
    Chunked(ChunkedResponse),
    /// All bytes up to the end of the connection.
    UntilClose,
}

impl Decoder {
    /// Takes body bytes from `buffer`. None if more bytes are needed, or if the body is done.
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

    /// True once the last byte of the body has been taken. Never true for [`Decoder::UntilClose`].
    pub fn is_done(&self) -> bool {
        match self {
            Decoder::Length(left) => *left == 0,
            Decoder::Chunked(chunked) => chunked.is_done(),
            Decoder::UntilClose => false,
        }
    }

    /// How the end of the body is known.
    #[must_use]
    pub fn framing(&self) -> ResponseFraming {
        match self {
            Decoder::Length(_) => ResponseFraming::Length,
            Decoder::Chunked(_) => ResponseFraming::Chunked,
            Decoder::UntilClose => ResponseFraming::UntilClose,
        }
    }
}
