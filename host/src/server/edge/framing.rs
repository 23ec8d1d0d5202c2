//! Where a request ends: a strict reading of the bytes of one connection, without any input or output.
//!
//! ```text
//! Head -> Body, of known length -> End      End -> Head when the request is answered
//!      -> Chunked ---------------> End
//! ```

use crate::api::Refusal;

use super::chunked::Chunked;
use super::head::{Head, Length};

/// The request that is being read.
#[derive(Debug)]
pub(super) enum Framing {
    /// Its head.
    Head(Head),
    /// Its body, of which so many bytes are missing.
    Body(u64),
    /// Its body.
    Chunked(Chunked),
    /// It has come whole.
    End,
}

/// What becomes of the bytes that were looked at.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// So many mean nothing.
    pub(super) skip: usize,
    /// So many after them are good.
    pub(super) pass: usize,
}

impl Framing {
    /// A new request.
    pub(super) fn start() -> Self {
        Framing::Head(Head::default())
    }

    /// Whether no body has begun.
    pub(super) fn in_head(&self) -> bool {
        matches!(self, Framing::Head(_))
    }

    /// Judges `bytes`: in the head all bytes of the request so far, later those that follow on what
    /// passed. Nothing passes of a head that is not whole; a verdict ends with the head at the latest.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Verdict, Refusal> {
        match self {
            Framing::Head(head) => {
                let Some(whole) = head.advance(bytes)? else { return Ok(Verdict::default()) };
                *self = match whole.body {
                    Length::Known(0) => Framing::End,
                    Length::Known(length) => Framing::Body(length),
                    Length::Chunked => Framing::Chunked(Chunked::default()),
                };
                Ok(Verdict { skip: whole.start, pass: whole.end - whole.start })
            }
            Framing::Body(left) => {
                let pass = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.took(pass);
                Ok(Verdict { skip: 0, pass })
            }
            Framing::Chunked(chunked) => {
                let pass = chunked.advance(bytes)?;
                if chunked.is_end() {
                    *self = Framing::End;
                }
                Ok(Verdict { skip: 0, pass })
            }
            Framing::End => Ok(Verdict::default()),
        }
    }

    /// Notes bytes of a body of known length that passed without being looked at.
    pub(super) fn took(&mut self, bytes: usize) {
        if let Framing::Body(left) = self {
            *left = left.saturating_sub(bytes as u64);
            if *left == 0 {
                *self = Framing::End;
            }
        }
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
