//! An OpenAI-compatible gateway whose routing strategies are WebAssembly components.

mod api;
pub mod config;
pub mod decision;
pub mod execution;
pub mod fleet;
mod gateway;
mod server;
pub mod stub;
pub mod telemetry;

pub use gateway::Gateway;
