//! The execution layer: takes one snapshot per request, draws deployments in weighted order, and
//! attempts them until one answers.
//!
//! ```text
//! scan (model, stream) -> draw -> attempt -> upstream
//!                           ^        | failed before a byte went to the client
//!                           +--------+ else: relay, chunk by chunk
//! ```

mod attempt;
#[cfg(feature = "bench")]
pub mod bench;
mod body;
mod choice;
mod commit;
mod draw;
mod facts;
mod failure;
mod fallback;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod journal;
mod json;
mod refusal;
mod relay;
mod rename;
mod request;
mod scan;
mod turns;
mod upstream;
mod usage;

pub use body::{Body, BoxError};
pub use draw::draw;
pub use failure::{Cause, Exhausted, Failure, Phase};
pub use fallback::{Answer, Executor};
pub use headers::drop_forwarding;
pub use journal::{Desk, Journal};
pub use request::Request;
pub use scan::{Scan, ScanError, scan};
