//! The state that both layers share: the deployments, their load and health, and the snapshot of
//! weights that the decision layer publishes and the execution layer reads.
//!
//! A deployment's state has two sources: `health` has the results of its probes, and `standing`
//! learns from its requests (ejection, cooling). `suspicions` has what several different requests
//! showed: a refused key, a missing model. `quota` counts what a deployment may have in a window of
//! time. `engine` has the load that its engine tells. The request
//! path holds a [`Permit`] for each attempt, and settles it with the outcome. `signals` has the
//! numbers that strategies ask for by name.

mod absence;
pub mod admission;
mod allowance;
mod attempt_queue;
mod budget;
mod changes;
mod core_view;
mod costs;
mod deployment;
mod ejection;
mod eligible;
mod engine;
mod health;
mod hearsay;
mod hedge_budget;
mod limits;
mod line;
mod load;
mod meters;
mod models;
mod names;
mod now;
mod objections;
mod outcome;
mod permit;
mod place;
mod pressure;
mod quota;
mod rate;
mod reading;
mod reports;
mod scope;
mod siblings;
mod signals;
mod slots;
mod slow_start;
mod snapshot;
mod standing;
mod suspicions;
mod tariff;
#[cfg(test)]
mod tests;
mod trial;

pub use attempt_queue::AttemptQueue;
pub use budget::{Active, Budget};
pub use changes::ChangeNotifier;
pub use core_view::{CoreView, Held};
pub use deployment::Deployment;
pub use ejection::{Sibling, may_go};
pub use eligible::{Eligible, Prospect};
pub use engine::{EngineMoment, EngineNumbers, EngineSignals};
pub use health::{Health, Observation, ProbeRequests};
pub use hearsay::Recorded;
pub use hedge_budget::HedgeBudget;
pub use line::{Busy, Wanted, hold_for_any, wait_for_any};
pub use load::{InFlight, Load, epoch};
pub use meters::{
    Counter, DeploymentMeters, Durations, ModelMeters, StrategyMeters, StrategyTable, Tally, Waste,
    Wasted,
};
pub use models::{Fleet, FleetModel};
use now::jitter;
pub use now::now;
pub use outcome::{FailureKind, Outcome};
pub use permit::{Permit, PutOff};
pub use quota::{
    QuotaHold, QuotaNeeds, QuotaReport, QuotaSpent, QuotaUse, Quotas, ToldQuota, Wall,
};
pub use rate::Rate;
pub use reports::Reports;
pub use scope::{Demand, Forbidden, Scope};
pub use signals::{
    AnswerTokens, DeploymentSignals, ModelSignals, PrefixIndex, Prices, RequestSignals,
    SignalSource, Trace,
};
pub use slots::{Entry, PressureReport, Slot, Slots};
pub use slow_start::Ramp;
pub use snapshot::{
    Board, CandidateInfo, Condition, Generation, ReloadStatus, Route, Snapshot, State,
    StrategyInfo, StrategyState,
};
pub use standing::{Change, Standing, Turn};
pub use suspicions::{ENDPOINTS, Suspicion};
pub use tariff::{Consumed, Tariff};
pub use trial::{DecidedRequest, Trial, TrialMeans, TrialOutlook, TrialReport};
