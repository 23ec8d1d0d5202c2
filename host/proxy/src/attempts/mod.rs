//! The attempts of a request. A request uses one snapshot throughout. It tries deployments in
//! weighted order, one at a time, until one answers.
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
mod burst;
mod choice;
mod complaint;
mod dropped;
mod fallback;
mod hedge;
mod journal;
mod limits;
mod load;
mod means;
mod refusal;
mod relay;
mod request;
mod verdict;
mod waiting;

pub(crate) use body::{Body, BoxError};
pub(crate) use choice::Denied;
pub(crate) use fallback::{Answer, Executor, Unanswered, live};
pub(crate) use journal::{Desk, Journal, RequestOutcome};
pub(crate) use request::Request;
pub(crate) use waiting::Early;
