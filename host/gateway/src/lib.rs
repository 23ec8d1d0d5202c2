//! The `gateway` binary as a library: command line, run, reload.

mod commands;
mod decider;
mod memory;
mod reload;
mod run;

pub use commands::main;
pub use reload::{Loaded, Loader, Refused, Seen};
pub use run::{RunOptions, Signals, run};
