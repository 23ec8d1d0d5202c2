//! Telemetry for operators: metrics, the access log, the gateway's own log.

mod access_log;
#[cfg(test)]
pub(crate) mod documented;
mod lines;
mod log;
mod metrics;
mod panic;

pub use access_log::{AccessLog, AttemptRecord, Logging, Record};
pub use log::{LevelFilter, flush as flush_log, init as init_log};
pub use metrics::Metrics;
pub(crate) use metrics::Position;
pub use panic::{Panic, catch};
