//! `gateway strategy`: tools for the author of a routing strategy. One file per subcommand.

mod bench;
mod inspect;
mod new;
mod ports;
mod sdk;
mod signals;
mod simulate;
mod subject;
mod templates;
mod test;
mod wrap;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum StrategyCommand {
    /// Write a project of a new strategy: source, contract, build command, fixtures, README
    New(new::NewArgs),
    /// Make a component from a core module, such as compilers for C and Zig write
    Wrap(wrap::WrapArgs),
    /// Show a component and its strategy, or why it cannot be loaded
    Inspect(inspect::InspectArgs),
    /// Run a strategy's fixtures, and the checks for every strategy
    Test(test::TestArgs),
    /// Measure a strategy's costs: compilation, instances, calls, memory
    Bench(bench::BenchArgs),
    /// Simulate a fleet under one or several strategies: shares, waiting, failures, cost
    Simulate(simulate::SimulateArgs),
}

pub(super) fn run(command: &StrategyCommand) -> anyhow::Result<ExitCode> {
    match command {
        StrategyCommand::New(args) => new::run(args),
        StrategyCommand::Wrap(args) => wrap::run(args),
        StrategyCommand::Inspect(args) => inspect::run(args),
        StrategyCommand::Test(args) => test::run(args),
        StrategyCommand::Bench(args) => bench::run(args),
        StrategyCommand::Simulate(args) => simulate::run(args),
    }
}
