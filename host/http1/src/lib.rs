//! HTTP/1.1 and JSON as functions of bytes: no socket, no clock, no runtime.
//!
//! - [`request`]: the strict reading of what clients send: heads, targets, framing.
//! - [`response`]: the reading of what upstreams send: heads, chunked bodies.
//! - [`headers`]: which header fields cross the gateway; [`outgoing`]: the head of an upstream request.
//! - [`json`] and [`scan`]: where the values of a body stand, found without building them.
//!
//! Whatever two readers could read differently is refused with a [`Refusal`] (a client's request) or
//! as [`Malformed`](response::Malformed) (an upstream's answer).

mod bytes16;
pub mod headers;
pub mod json;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/mod.rs"]
pub mod oracle;
pub mod outgoing;
mod refusal;
pub mod request;
pub mod response;
mod scan;

pub use refusal::Refusal;
pub use scan::{Fields, Scan, ScanError, scan};
