//! Reads the requests of clients: each has one strict reading, or is refused.

mod chunked;
mod field;
mod framing;
mod head;
pub mod refusals;
mod target;

pub use chunked::ChunkedRequest;
pub use framing::{Apart, Disposition, RequestFraming};
pub use head::RequestHead;
