//! Reads the answers of upstreams: heads and framed bodies, or [`Malformed`].

mod body;
mod chunked;
mod head;

pub use body::{Decoder, ResponseFraming};
pub use chunked::ChunkedResponse;
pub use head::{HeadReader, ResponseHead};

/// Why an upstream's answer is refused: its bytes are not strict HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

#[cfg(test)]
mod tests;
