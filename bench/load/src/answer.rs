//! Reads one HTTP/1.1 answer, piece by piece as it arrives, and counts the events in it.

use std::io::{self, ErrorKind};

use memchr::memmem;

/// The beginning of each event of a stream, and its last event.
const EVENT: &[u8] = b"data: ";
const LAST: &[u8] = b"[DONE]";

/// The part of an answer that has arrived.
#[derive(Default)]
pub(crate) struct Answer {
    /// 0 until the head is complete.
    pub(crate) status: u16,
    /// Events of the stream so far, without the last one (`[DONE]`).
    pub(crate) events: u64,
    /// The connection must not be used again.
    pub(crate) closes: bool,
    /// `[DONE]` has arrived.
    ended: bool,
    state: State,
    /// The part of the head, or of a chunk's line, that has arrived.
    line: Vec<u8>,
    /// The end of the last piece, because an event's beginning may lie across two pieces.
    tail: Vec<u8>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Head,
    /// Bytes left.
    Length(u64),
    ChunkLine,
    /// Bytes left of the chunk.
    Chunk(u64),
    /// Bytes left of the line break after a chunk.
    ChunkEnd(u64),
    /// The line after the last chunk, or a trailer.
    Trailer,
    ToTheClose,
    Done,
}

impl Answer {
    /// Takes the next piece. Returns true once the answer is complete. Further bytes are an error.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.head(bytes)?,
                State::ChunkLine | State::Trailer => self.line(bytes)?,
                State::Length(left) => {
                    let (body, rest) = take(bytes, left);
                    self.count(body);
                    self.state = match left - body.len() as u64 {
                        0 => State::Done,
                        left => State::Length(left),
                    };
                    rest
                }
                State::Chunk(left) => {
                    let (body, rest) = take(bytes, left);
                    self.count(body);
                    self.state = match left - body.len() as u64 {
                        0 => State::ChunkEnd(2),
                        left => State::Chunk(left),
                    };
                    rest
                }
                State::ChunkEnd(left) => {
                    let (end, rest) = take(bytes, left);
                    self.state = match left - end.len() as u64 {
                        0 => State::ChunkLine,
                        left => State::ChunkEnd(left),
                    };
                    rest
                }
                State::ToTheClose => {
                    self.count(bytes);
                    &[]
                }
                State::Done => return Err(invalid("more than one answer")),
            };
        }
        Ok(self.state == State::Done)
    }

    /// Takes the end of the connection. Returns whether it completes the answer.
    pub(crate) fn end(&self) -> bool {
        matches!(self.state, State::ToTheClose | State::Done)
    }

    /// Whether the answer is complete with status 200. A stream must have its last event.
    pub(crate) fn is_good(&self) -> bool {
        self.end() && self.status == 200 && (self.events == 0 || self.ended)
    }

    /// Takes the bytes of the head.
    fn head<'b>(&mut self, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        let before = self.line.len();
        self.line.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) =
            response.parse(&self.line).map_err(|error| invalid(&error.to_string()))?
        else {
            return Ok(&[]);
        };
        self.status = response.code.unwrap_or_default();
        self.state = State::ToTheClose;
        for header in response.headers {
            let value =
                str::from_utf8(header.value).map_err(|error| invalid(&error.to_string()))?;
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(|_| invalid("content-length"))?;
                self.state = if length == 0 { State::Done } else { State::Length(length) };
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                self.state = State::ChunkLine;
            } else if header.name.eq_ignore_ascii_case("connection") {
                self.closes = value.eq_ignore_ascii_case("close");
            }
        }
        self.line.clear();
        Ok(&bytes[length - before..])
    }

    /// Takes the bytes of a line between chunks, and acts on the complete line.
    fn line<'b>(&mut self, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.line.extend_from_slice(bytes);
            return Ok(&[]);
        };
        self.line.extend_from_slice(&bytes[..=end]);
        self.state = if self.state == State::Trailer {
            if self.line == b"\r\n" { State::Done } else { State::Trailer }
        } else {
            match httparse::parse_chunk_size(&self.line) {
                Ok(httparse::Status::Complete((_, 0))) => State::Trailer,
                Ok(httparse::Status::Complete((_, size))) => State::Chunk(size),
                _ => return Err(invalid("chunk size")),
            }
        };
        self.line.clear();
        Ok(&bytes[end + 1..])
    }

    /// Counts the events that begin in `body`, the next piece of the body.
    fn count(&mut self, body: &[u8]) {
        let begun = self.tail.len();
        self.tail.extend_from_slice(body);
        // A beginning that ends in the old tail was counted before.
        let marks = |mark: &[u8]| {
            let from = begun.saturating_sub(mark.len() - 1);
            memmem::find_iter(&self.tail[from..], mark).count() as u64
        };
        self.events += marks(EVENT);
        if marks(LAST) > 0 {
            self.ended = true;
            self.events -= 1;
        }
        let kept = self.tail.len().saturating_sub(EVENT.len().max(LAST.len()) - 1);
        self.tail.drain(..kept);
    }
}

/// Splits `bytes` after at most `most` bytes.
fn take(bytes: &[u8], most: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(most).map_or(bytes.len(), |most| most.min(bytes.len())))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("a bad answer: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

    #[test]
    fn counts_events_wherever_a_piece_ends() {
        for size in 1..=STREAM.len() {
            let mut answer = Answer::default();
            let mut whole = false;
            for piece in STREAM.chunks(size) {
                assert!(!whole, "whole before its end");
                whole = answer.feed(piece).expect("a good answer");
            }
            assert!(whole && answer.is_good());
            assert_eq!((answer.status, answer.events), (200, 2), "in pieces of {size}");
        }
    }

    #[test]
    fn counts_an_event_that_two_chunks_share() {
        let mut answer = Answer::default();
        let stream = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            3\r\ndat\r\n6\r\na: 1\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
        assert!(answer.feed(stream).expect("a good answer"));
        assert_eq!(answer.events, 1);
    }

    #[test]
    fn a_stream_without_its_end_is_not_good() {
        let mut answer = Answer::default();
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata: 1\n\n";
        assert!(!answer.feed(head).expect("a good answer"));
        assert!(answer.end() && answer.closes && !answer.is_good());
    }

    #[test]
    fn takes_a_length() {
        let mut answer = Answer::default();
        assert!(
            !answer.feed(b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\na").expect("a good answer")
        );
        assert!(answer.feed(b"b").expect("a good answer"));
        assert!(!answer.is_good());
        assert!(answer.feed(b"c").is_err());
    }
}
