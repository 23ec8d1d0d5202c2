//! `gateway strategy`: what the author of a routing strategy needs. One file a subcommand.

mod bench;
mod inspect;
mod new;
mod sdk;
mod simulate;
mod subject;
mod templates;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum StrategyCommand {
    /// Write a project of a new strategy: source, contract, build command, fixtures, README
    New(new::NewArgs),
    /// Show what a component is, and why it cannot be loaded where it cannot
    Inspect(inspect::InspectArgs),
    /// Run its fixtures, and the checks that hold for every strategy
    Test(test::TestArgs),
    /// Measure what it costs: to get ready, to be asked, and to keep
    Bench(bench::BenchArgs),
    /// Simulate a fleet under one or several of them: shares, waiting, failures, cost
    Simulate(simulate::SimulateArgs),
}

pub(super) fn run(command: &StrategyCommand) -> anyhow::Result<ExitCode> {
    match command {
        StrategyCommand::New(args) => new::run(args),
        StrategyCommand::Inspect(args) => inspect::run(args),
        StrategyCommand::Test(args) => test::run(args),
        StrategyCommand::Bench(args) => bench::run(args),
        StrategyCommand::Simulate(args) => simulate::run(args),
    }
}
