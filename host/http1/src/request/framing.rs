//! Finds where a request ends: a strict reader of the bytes of one connection, without I/O.
//!
//! ```text
//! Head -> End, and a body apart        End -> Head when the request is answered
//!      -> Body, waited for ---> End
//!      -> Chunked ------------> End
//! ```

use std::ops::Range;

use crate::Refusal;

use super::chunked::ChunkedRequest;
use super::head::{Length, RequestHead};

/// The part of a request that is being read.
#[derive(Debug)]
pub enum RequestFraming {
    /// The head.
    Head(RequestHead),
    /// A body with this many bytes still to come. Its client waited for `100 Continue`.
    Body(u64),
    /// A chunked body.
    Chunked(ChunkedRequest),
    /// hyper gets no more bytes of the request.
    End,
}

/// What to do with the bytes that were judged.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Disposition {
    /// Number of bytes to drop.
    pub skip: usize,
    /// Number of bytes that may pass, after the skipped ones.
    pub pass: usize,
    /// Set if the bytes that pass are a head, and its body passes without being judged. The caller
    /// may read that body itself instead of passing it.
    pub apart: Option<Apart>,
    /// Lines of the head that hyper must not see, as positions in the judged bytes, in their order.
    ignored: Vec<Range<usize>>,
}

impl Disposition {
    /// Removes ignored lines from the head in `bytes`, the judged bytes. The bytes before such a
    /// line move over it. More bytes are then skipped, and fewer pass.
    pub fn remove_ignored(&mut self, bytes: &mut [u8]) {
        for line in std::mem::take(&mut self.ignored) {
            let length = line.len();
            bytes.copy_within(self.skip..line.start, self.skip + length);
            self.skip += length;
            self.pass -= length;
            if let Some(Apart { length_at, .. }) = &mut self.apart
                && length_at.start < line.start
            {
                *length_at = length_at.start + length..length_at.end + length;
            }
        }
    }
}

/// A body of known length.
#[derive(Debug, PartialEq, Eq)]
pub struct Apart {
    /// Its length in bytes. It follows the head.
    pub bytes: u64,
    /// The `Content-Length` line, as a position in the judged bytes.
    pub length_at: Range<usize>,
}

impl Apart {
    /// Changes the head in `bytes` to one without a body: every digit of its length becomes 0.
    pub fn hide(&self, bytes: &mut [u8]) {
        // The header's name has no digits.
        let digits = bytes[self.length_at.clone()].iter_mut().filter(|byte| byte.is_ascii_digit());
        digits.for_each(|digit| *digit = b'0');
    }
}

impl RequestFraming {
    /// Begins a new request.
    pub fn start() -> Self {
        RequestFraming::Head(RequestHead::default())
    }

    /// True until the head is complete.
    pub fn in_head(&self) -> bool {
        matches!(self, RequestFraming::Head(_))
    }

    /// Judges `bytes`: in the head all bytes of the request so far, later the bytes after those
    /// that passed. An incomplete head passes nothing, and a call that completes the head passes
    /// nothing after it.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Disposition, Refusal> {
        match self {
            RequestFraming::Head(head) => {
                let Some(whole) = head.advance(bytes)? else { return Ok(Disposition::default()) };
                let mut apart = None;
                *self = match whole.body {
                    Length::Known(0) => RequestFraming::End,
                    Length::Known(bytes) if whole.expects => RequestFraming::Body(bytes),
                    Length::Known(bytes) => {
                        apart = Some(Apart { bytes, length_at: whole.length_at });
                        RequestFraming::End
                    }
                    Length::Chunked => RequestFraming::Chunked(ChunkedRequest::default()),
                };
                let pass = whole.end - whole.start;
                Ok(Disposition { skip: whole.start, pass, apart, ignored: whole.ignored })
            }
            RequestFraming::Body(left) => {
                let pass = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= pass as u64;
                if *left == 0 {
                    *self = RequestFraming::End;
                }
                Ok(Disposition { pass, ..Disposition::default() })
            }
            RequestFraming::Chunked(chunked) => {
                let pass = chunked.advance(bytes)?;
                if chunked.is_end() {
                    *self = RequestFraming::End;
                }
                Ok(Disposition { pass, ..Disposition::default() })
            }
            RequestFraming::End => Ok(Disposition::default()),
        }
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
