//! Requests as clients send them: one strict reading, or a refusal.

mod chunked;
mod field;
mod framing;
mod head;
pub mod refusals;
mod target;

pub use chunked::Chunked;
pub use framing::{Apart, Framing, Verdict};
pub use head::Head;
