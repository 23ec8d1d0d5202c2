//! Answers as upstreams send them: heads and framed bodies, or [`Malformed`].

mod body;
mod chunked;
mod head;

pub use body::{Decoder, Framing};
pub use chunked::Chunked;
pub use head::{Head, HeadReader};

/// Why an upstream's answer is refused: its bytes are not HTTP/1.1 beyond doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

#[cfg(test)]
mod tests;
