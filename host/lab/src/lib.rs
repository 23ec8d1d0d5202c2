//! Tools for strategies without traffic: a simulator, and the tests and measurements of `gateway
//! strategy`.

mod replayed;
pub mod simulation;
pub mod workbench;

pub use replayed::Replayed;
