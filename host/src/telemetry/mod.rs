//! What operators see: metrics, the access log, the gateway's own log.

mod access_log;
#[cfg(test)]
mod documented;
mod log;
mod metrics;
mod panic;

pub use access_log::{AccessLog, Attempt, Logging, Record, Usage};
pub use log::init as init_log;
pub use metrics::{DeploymentMeters, Metrics, ModelMeters, Place, Shedding, StrategyMeters, Waste};
pub use panic::{Panic, catch};
