//! A discrete-event simulation of a fleet under different strategies.
//!
//! A [`Scenario`] has the deployments, with their speed and reliability, and the requests. Every
//! strategy gets the same requests and the same luck. The gateway's rules apply: draw, fallback,
//! places and lines, moving averages, ejection. Where these rules are pure, the simulation runs the
//! gateway's own code. A [`Report`] compares the results. The same seed gives the same report, byte
//! for byte.
//!
//! Several gateways may share the engines. Each has its own view of them: its attempts in flight,
//! averages, learned limits, ejections, scrapes and instances of the strategy.
//!
//! The simulation itself uses neither WebAssembly nor a clock nor a network. It calls strategies
//! through the trait [`Strategy`](contract::Strategy).

mod attempt;
mod cache;
mod cores;
mod decide;
mod engine;
mod engine_view;
mod events;
mod gateway;
mod machine;
mod money;
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
pub use report::{
    BudgetReport, DeploymentReport, Quantiles, Report, SecondAttempts, Series, StrategyReport,
};
pub use scenario::Scenario;
pub use workload::TooMany;

use std::sync::Arc;

use contract::{SignalSet, Strategy};

use crate::Replayed;

/// A strategy that takes part in a simulation.
pub struct Contestant {
    /// Name of the strategy in reports.
    pub name: String,
    /// The strategy of each gateway: [`Scenario::gateways`].
    pub gateways: Vec<GatewayStrategy>,
    /// The signals that it asks for. Others are not recorded.
    pub signals: SignalSet,
}

/// The strategy as one gateway has it. Gateways share nothing.
pub struct GatewayStrategy {
    /// The strategy, configured with [`Scenario::places`].
    pub strategy: Box<dyn Strategy>,
    /// The strategy's time and chance.
    pub surroundings: Arc<Replayed>,
}

/// A strategy in a run, with its time and chance.
type Asked<'a> = (&'a mut dyn Strategy, &'a Replayed);

impl GatewayStrategy {
    fn asked(&mut self) -> Asked<'_> {
        (self.strategy.as_mut(), &self.surroundings)
    }
}

/// Runs the scenario once with every strategy.
///
/// # Panics
/// If a contestant has no strategy for one of the gateways.
///
/// # Errors
/// If the scenario has more requests than a simulation holds.
pub fn simulate(scenario: &Scenario, contestants: &mut [Contestant]) -> Result<Report, TooMany> {
    let requests = workload::requests(scenario)?;
    let mut report = Report::new(scenario, &requests);
    for Contestant { name, gateways, signals } in contestants {
        let strategies = gateways.iter_mut().map(GatewayStrategy::asked);
        let done = run::Run::new(scenario, &requests, strategies, *signals).run();
        report.add(name, scenario, &requests, &done);
    }
    Ok(report)
}
