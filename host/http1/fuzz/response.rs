//! Fuzz oracle of the reader of answers, without sockets.

use bytes::BytesMut;
use http::header::{HeaderName, HeaderValue};

use pieces::{Pieces, dechunk, work};

use crate::response::{Decoder, HeadReader, Malformed, ResponseHead};

/// The result of reading some bytes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Read {
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) keep_alive: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
    /// Bytes after the end of the answer.
    pub(crate) behind: usize,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) enum End {
    /// More bytes are needed.
    #[default]
    Open,
    Whole,
    Refused(&'static str),
}

/// Reads an answer that comes in these pieces.
pub(crate) fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
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
        let Some(ResponseHead { parts, decoder: body, keep_alive }) = reader.take(buffer)? else {
            return Ok(());
        };
        read.status = Some(parts.status.as_u16());
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
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

/// Bytes that may be looked at for each byte of an answer, however it is cut: a head is searched for
/// its end and parsed, and small chunks are moved together.
const WORK: usize = 2;

/// Checks that the result does not depend on how the bytes are cut, and that a plain reader finds
/// the same status, headers and body. The input comes in pieces.
pub fn upstream(input: &[u8]) {
    let pieces = Pieces::of(input);
    let text = pieces.text();
    let whole = read([text]);
    for way in pieces.ways() {
        assert_eq!(work::bounded(WORK, text.len(), (1, 0), || read(way)), whole);
    }
    let Some(status) = whole.status else { return };
    let (start, said) = plain_head(text);
    assert_eq!(said.status, status);
    let mut headers = whole.headers.clone();
    headers.sort();
    assert_eq!(said.headers, headers);
    let all = |name| said.headers.iter().filter(move |(known, _)| known == name);
    let chunked = all("transfer-encoding").count() > 0;
    let length = all("content-length").map(|(_, value)| String::from_utf8_lossy(value).parse());
    let lengths: Vec<usize> = length.map(|length| length.expect("a number")).collect();
    assert!(lengths.len() + usize::from(chunked) <= 1, "framed twice");
    let rest = &text[start..];
    match (whole.end, lengths.first()) {
        (End::Refused(_), _) => {}
        (End::Whole, _) if matches!(status, 204 | 304) => {
            assert_eq!((whole.body.len(), whole.behind), (0, rest.len()));
        }
        (End::Whole, None) => {
            let (body, behind) = dechunk(rest).expect("a whole body");
            assert!(chunked && body == whole.body && behind.len() == whole.behind);
        }
        (End::Whole, Some(length)) => {
            assert_eq!((&rest[..*length], rest.len() - length), (&*whole.body, whole.behind));
        }
        (End::Open, Some(length)) => assert!(rest.len() < *length && *rest == whole.body),
        (End::Open, None) if chunked => assert!(dechunk(rest).is_none()),
        (End::Open, None) => assert!(!whole.keep_alive && *rest == whole.body),
    }
}

/// The head of the final answer, its headers sorted.
struct Said {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
}

/// The head of the final answer, and where it ends.
fn plain_head(text: &[u8]) -> (usize, Said) {
    let mut start = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut answer = httparse::Response::new(&mut headers);
        let end = answer.parse(&text[start..]).expect("a head").unwrap();
        start += end;
        let status = answer.code.expect("a status");
        if status < 200 {
            continue;
        }
        let header =
            |header: &httparse::Header<'_>| (header.name.to_ascii_lowercase(), header.value.into());
        let mut headers: Vec<_> = answer.headers.iter().map(header).collect();
        headers.sort();
        return (start, Said { status, headers });
    }
}
