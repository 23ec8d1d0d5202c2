//! Where a request ends: a strict reading of the bytes of one connection, without any input or output.
//!
//! ```text
//! Head -> End, and a body apart        End -> Head when the request is answered
//!      -> Body, waited for ---> End
//!      -> Chunked ------------> End
//! ```

use std::ops::Range;

use crate::Refusal;

use super::chunked::Chunked;
use super::head::{Head, Length};

/// The request that is being read.
#[derive(Debug)]
pub enum Framing {
    /// Its head.
    Head(Head),
    /// Its body, of which so many bytes are missing. The client waits to be told that it is wanted.
    Body(u64),
    /// Its body.
    Chunked(Chunked),
    /// Nothing more of it is for hyper.
    End,
}

/// What becomes of the bytes that were looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// So many mean nothing.
    pub skip: usize,
    /// So many after them are good.
    pub pass: usize,
    /// They are a head whose body is not looked at, and need not pass with it.
    pub apart: Option<Apart>,
}

/// A body of known length.
#[derive(Debug, PartialEq, Eq)]
pub struct Apart {
    /// Its bytes, which follow on the head.
    pub bytes: u64,
    /// The line that says so, among the bytes that were looked at.
    pub length_at: Range<usize>,
}

impl Apart {
    /// Makes the head among `bytes` say that there is no body: of its length remain zeros.
    pub fn hide(&self, bytes: &mut [u8]) {
        // There are no digits in the name.
        let digits = bytes[self.length_at.clone()].iter_mut().filter(|byte| byte.is_ascii_digit());
        digits.for_each(|digit| *digit = b'0');
    }
}

impl Framing {
    /// A new request.
    pub fn start() -> Self {
        Framing::Head(Head::default())
    }

    /// Whether no body has begun.
    pub fn in_head(&self) -> bool {
        matches!(self, Framing::Head(_))
    }

    /// Judges `bytes`: in the head all bytes of the request so far, later those that follow on what
    /// passed. Nothing passes of a head that is not whole; a verdict ends with the head at the latest.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Verdict, Refusal> {
        match self {
            Framing::Head(head) => {
                let Some(whole) = head.advance(bytes)? else { return Ok(Verdict::default()) };
                let mut apart = None;
                *self = match whole.body {
                    Length::Known(0) => Framing::End,
                    Length::Known(bytes) if whole.expects => Framing::Body(bytes),
                    Length::Known(bytes) => {
                        apart = Some(Apart { bytes, length_at: whole.length_at });
                        Framing::End
                    }
                    Length::Chunked => Framing::Chunked(Chunked::default()),
                };
                Ok(Verdict { skip: whole.start, pass: whole.end - whole.start, apart })
            }
            Framing::Body(left) => {
                let pass = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= pass as u64;
                if *left == 0 {
                    *self = Framing::End;
                }
                Ok(Verdict { pass, ..Verdict::default() })
            }
            Framing::Chunked(chunked) => {
                let pass = chunked.advance(bytes)?;
                if chunked.is_end() {
                    *self = Framing::End;
                }
                Ok(Verdict { pass, ..Verdict::default() })
            }
            Framing::End => Ok(Verdict::default()),
        }
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
