//! A discrete-event simulation of a fleet under different strategies.
//!
//! A [`Scenario`] has the deployments, with their speed and reliability, and the requests. Every
//! strategy gets the same requests and the same luck. The gateway's rules apply: draw, fallback,
//! places and lines, moving averages, ejection. Where these rules are pure, the simulation runs the
//! gateway's own code. A [`Report`] compares the results. The same seed gives the same report, byte
//! for byte.
//!
//! The simulation itself uses neither WebAssembly nor a clock nor a network. It calls strategies
//! through the trait [`Strategy`](contract::Strategy).

mod attempt;
mod cache;
mod cores;
mod decide;
mod engine;
mod events;
pub mod plot;
mod random;
mod record;
mod report;
mod run;
mod scenario;
mod site;
pub mod table;
#[cfg(test)]
mod tests;
mod workload;

pub use cores::Cores;
pub use report::{DeploymentReport, Quantiles, Report, Series, StrategyReport};
pub use scenario::Scenario;
pub use workload::TooMany;

use std::sync::Arc;

use contract::{SignalSet, Strategy};

use crate::Replayed;

/// A strategy that takes part in a simulation.
pub struct Contestant {
    /// Name of the strategy in reports.
    pub name: String,
    /// The strategy, configured with [`Scenario::places`].
    pub strategy: Box<dyn Strategy>,
    /// The strategy's time and chance.
    pub surroundings: Arc<Replayed>,
    /// The signals that it asks for. Others are not recorded.
    pub signals: SignalSet,
}

/// Runs the scenario once with every strategy.
///
/// # Errors
/// If the scenario has more requests than a simulation holds.
pub fn simulate(scenario: &Scenario, contestants: &mut [Contestant]) -> Result<Report, TooMany> {
    let requests = workload::requests(scenario)?;
    let mut report = Report::new(scenario, &requests);
    for Contestant { name, strategy, surroundings, signals } in contestants {
        let run = run::Run::new(scenario, &requests, strategy.as_mut(), surroundings, *signals);
        let done = run.run();
        report.add(name, scenario, &requests, &done);
    }
    Ok(report)
}
