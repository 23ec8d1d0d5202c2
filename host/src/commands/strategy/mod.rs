//! `gateway strategy`: what the author of a routing strategy needs. One file a subcommand.

mod new;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum StrategyCommand {
    /// Write a project of a new strategy: source, contract, build command, fixtures, README
    New(new::NewArgs),
}

pub(super) fn run(command: &StrategyCommand) -> anyhow::Result<ExitCode> {
    match command {
        StrategyCommand::New(args) => new::run(args),
    }
}
