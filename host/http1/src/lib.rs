//! HTTP/1.1 and JSON as functions of bytes: no socket, no clock, no runtime.
//!
//! - [`request`]: strict reading of clients' requests: heads, targets, framing.
//! - [`response`]: reading of upstreams' answers: heads, chunked bodies.
//! - [`headers`]: which header fields cross the gateway. [`outgoing`]: the head of an upstream
//!   request.
//! - [`json`] and [`scan`]: find the positions of a body's values without building them.
//!   [`json_stream`] checks an answer while it arrives.
//!
//! Input that two parsers could read differently is refused: a client's request with a [`Refusal`],
//! an upstream's answer as [`Malformed`](response::Malformed).

mod bytes16;
mod folded;
pub mod headers;
pub mod json;
pub mod json_stream;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/mod.rs"]
pub mod oracle;
pub mod outgoing;
mod refusal;
pub mod request;
pub mod response;
mod scan;
mod usage_wish;

#[cfg(any(test, fuzzing))]
use pieces::work::count;

/// Counts the bytes that are looked at, in tests and fuzz targets only.
#[cfg(not(any(test, fuzzing)))]
#[inline(always)]
fn count(_bytes: usize) {}

pub use folded::{Costly, Rivals};
pub use refusal::Refusal;
pub use scan::{Fields, Scan, ScanError, scan};
pub use usage_wish::UsageWish;
