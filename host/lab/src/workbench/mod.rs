//! Tools for the author of a strategy, before it serves traffic: its parameters, tests and costs.
//! The subcommands of `gateway strategy` are the interface to this module.

pub mod bench;
pub mod checks;
pub mod fixtures;
mod parameters;
mod question;
pub mod table;

pub use parameters::{Parameter, parameters, typed};
