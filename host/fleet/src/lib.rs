//! The state that both layers share: the deployments, their load and health, and the snapshot of
//! weights that the decision layer publishes and the execution layer reads.
//!
//! A deployment's state has two sources: `health` has the results of its probes, and `standing`
//! learns from its requests (ejection, cooling, credential). The request path holds a [`Permit`]
//! for each attempt, and settles it with the outcome.

pub mod admission;
mod attempt_queue;
mod budget;
mod changes;
mod core_view;
mod deployment;
mod ejection;
mod eligible;
mod health;
mod load;
mod meters;
mod names;
mod objections;
mod outcome;
mod permit;
mod place;
mod rate;
mod siblings;
mod slots;
mod slow_start;
mod snapshot;
mod standing;
#[cfg(test)]
mod tests;
mod trial;

pub use attempt_queue::AttemptQueue;
pub use budget::{Active, Budget};
pub use changes::ChangeNotifier;
pub use core_view::{CoreView, Held};
pub use deployment::{Deployment, Fleet, FleetModel};
pub use ejection::{Sibling, may_go};
pub use eligible::{Eligible, Prospect};
pub use health::{Health, Observation, ProbeRequests};
pub use load::{InFlight, Load};
pub use meters::{
    Counter, DeploymentMeters, Durations, ModelMeters, StrategyMeters, StrategyTable, Tally, Waste,
    Wasted,
};
pub use outcome::{FailureKind, Outcome};
pub use permit::Permit;
pub use rate::Rate;
pub use slots::{Busy, Slot, Slots};
pub use slow_start::Ramp;
pub use snapshot::{
    Board, CandidateInfo, Condition, Generation, ReloadStatus, Route, Snapshot, State, StrategyInfo,
};
pub use standing::{Change, Standing, Turn};
pub use trial::{Trial, TrialReport};
