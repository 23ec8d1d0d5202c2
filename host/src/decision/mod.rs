//! The decision layer: asks a strategy how to share each model's traffic, off the request path,
//! and publishes what it says.
//!
//! A strategy is behind the traits of [`strategy`](crate::strategy); only [`plugin`] knows that it is
//! WebAssembly. One that wants to see each request is asked for it by [`weigh`].

mod decider;
mod plan;
pub mod plugin;
mod share;
mod weigh;

pub use decider::Decider;
#[cfg(test)]
pub(crate) use decider::tests as moody;
pub use plan::{Failed, Plan, Seat};
pub use weigh::weigh;
