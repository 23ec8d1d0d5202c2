//! An OpenAI-compatible gateway whose routing strategies are WebAssembly components.
//!
//! The layers, each depending on those behind it:
//! `main -> commands -> run -> reload, server -> api -> execution -> decision -> fleet -> strategy -> config`.

mod admission;
mod api;
mod commands;
pub mod config;
pub mod decision;
mod descriptors;
pub mod execution;
mod flat;
pub mod fleet;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gateway;
mod memory;
mod reload;
mod run;
mod server;
pub mod simulation;
mod sixteen;
mod spares;
pub mod stop;
pub mod strategy;
pub mod stub;
pub mod telemetry;
mod timeout;
mod tls;
pub mod workbench;

pub use commands::main;
#[cfg(feature = "bench")]
pub use execution::bench;
pub use gateway::Gateway;
pub use reload::{Loaded, Loader, Refused, Seen};
pub use run::{Options, Signals, run};
