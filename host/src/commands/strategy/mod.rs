//! `gateway strategy`: what the author of a routing strategy needs. One file a subcommand.

mod new;
mod simulate;
mod sdk;
mod templates;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum StrategyCommand {
    /// Write a project of a new strategy: source, contract, build command, fixtures, README
    New(new::NewArgs),
    /// Simulate a fleet under one or several of them: shares, waiting, failures, cost
    Simulate(simulate::SimulateArgs),
}

pub(super) fn run(command: &StrategyCommand) -> anyhow::Result<ExitCode> {
    match command {
        StrategyCommand::New(args) => new::run(args),
        StrategyCommand::Simulate(args) => simulate::run(args),
    }
}
