//! What both layers look at: the deployments, how loaded and how healthy they are, and the snapshot
//! of weights that the decision layer publishes and the execution layer reads.

mod deployment;
mod health;
mod load;
pub mod probe;
mod snapshot;

pub use deployment::{Deployment, Fleet, FleetModel};
pub use health::{Health, Observation};
pub use load::{InFlight, Load};
pub use snapshot::{Board, Generation, ReloadStatus, Route, Snapshot, State, StrategyInfo};
