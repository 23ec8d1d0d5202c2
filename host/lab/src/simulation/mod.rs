//! What strategies would do to a fleet: a simulation that jumps from one thing that happens to the next.
//!
//! A [`Scenario`] says which deployments there are, how fast and how reliable, and what requests come. Each
//! strategy goes through the same requests and the same luck, on top of the gateway's own rules (the draw, fallback,
//! places and lines, moving averages, ejection), of which the parts that are pure are the gateway's own. A [`Report`]
//! sets side by side what it came to. The same seed gives the same report, to the byte.
//!
//! Nothing here knows WebAssembly, a clock or a network: strategies are behind
//! [`Strategy`](contract::Strategy).

mod attempt;
mod cache;
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

pub use report::{DeploymentReport, Quantiles, Report, Series, StrategyReport};
pub use scenario::Scenario;
pub use workload::TooMany;

use contract::Strategy;

/// A strategy that takes part.
pub struct Contestant {
    /// What reports call it.
    pub name: String,
    /// Configured with [`Scenario::places`].
    pub strategy: Box<dyn Strategy>,
}

/// Takes every strategy through the scenario.
///
/// # Errors
/// If the scenario has more requests than a simulation holds.
pub fn simulate(scenario: &Scenario, contestants: &mut [Contestant]) -> Result<Report, TooMany> {
    let requests = workload::requests(scenario)?;
    let mut report = Report::new(scenario, &requests);
    for Contestant { name, strategy } in contestants {
        let done = run::Run::new(scenario, &requests, strategy.as_mut()).run();
        report.add(name, scenario, &requests, &done);
    }
    Ok(report)
}
