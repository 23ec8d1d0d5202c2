//! The decision layer: asks a strategy how to share each model's traffic, off the request path,
//! and publishes what it says.
//!
//! A strategy is behind the trait [`Strategy`]; only [`plugin`] knows that it is WebAssembly.

mod decider;
pub mod plugin;
mod share;
mod strategy;
mod weights;

pub use decider::{Decider, Plan};
pub use strategy::{Candidate, Description, Fault, Price, Strategy};
pub use weights::{BadWeights, RawWeights, Weights};
