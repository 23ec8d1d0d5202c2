//! What the author of a strategy needs before the gateway gets it: what it is, whether it does as it
//! should, and what it costs. The subcommands of `gateway strategy` are the hands of this.

pub mod bench;
pub mod checks;
pub mod fixtures;
mod parameters;
mod question;
pub mod table;

pub use parameters::{Parameter, parameters, typed};
