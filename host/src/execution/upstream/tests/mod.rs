//! The reader of answers without sockets (bytes in, an answer or a refusal out), and the pool.

#![allow(clippy::unwrap_used)]

mod answers;
mod pool;
mod splits;

use bytes::BytesMut;

use super::Malformed;
use super::body::Decoder;
use super::head::{Head, HeadReader};

/// What was made of some bytes.
#[derive(Debug, Default, PartialEq)]
struct Read {
    status: Option<u16>,
    headers: Vec<(String, Vec<u8>)>,
    keep_alive: bool,
    body: Vec<u8>,
    end: End,
    /// Bytes behind the end.
    behind: usize,
}

#[derive(Debug, Default, PartialEq)]
enum End {
    /// More is to come.
    #[default]
    Open,
    Whole,
    Refused(&'static str),
}

/// Reads an answer that comes in these pieces.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let (mut read, mut buffer) = (Read::default(), BytesMut::new());
    let (mut reader, mut decoder) = (HeadReader::default(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if let Err(Malformed(why)) = advance(&mut read, &mut reader, &mut decoder, &mut buffer) {
            read.end = End::Refused(why);
            break;
        }
    }
    if read.end == End::Whole {
        read.behind = buffer.len();
    }
    read
}

fn advance(
    read: &mut Read,
    reader: &mut HeadReader,
    decoder: &mut Option<Decoder>,
    buffer: &mut BytesMut,
) -> Result<(), Malformed> {
    if read.status.is_none() {
        let Some(Head { parts, decoder: body, keep_alive }) = reader.take(buffer)? else {
            return Ok(());
        };
        read.status = Some(parts.status.as_u16());
        let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
            (name.to_string(), value.as_bytes().to_vec())
        };
        read.headers = parts.headers.iter().map(header).collect();
        read.keep_alive = keep_alive;
        *decoder = body;
    }
    let Some(decoder) = decoder else {
        read.end = End::Whole;
        return Ok(());
    };
    while read.end == End::Open {
        match decoder.decode(buffer)? {
            Some(chunk) => read.body.extend_from_slice(&chunk),
            None if decoder.is_done() => read.end = End::Whole,
            None => break,
        }
        if decoder.is_done() {
            read.end = End::Whole;
        }
    }
    Ok(())
}
