//! `gateway check`: every error of both files, or what they come to.

use std::io::{Write, stdout};
use std::process::ExitCode;

use crate::fleet::Snapshot;
use crate::reload::Loader;

use super::FileArgs;

pub(super) fn run(args: &FileArgs) -> anyhow::Result<ExitCode> {
    let loader = Loader::new(args.paths(), args.plugins.clone())?;
    match loader.load(None) {
        Ok(loaded) => {
            summary(&loaded.snapshot, &mut stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refused) => {
            eprintln!("{}", refused.diagnostics);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn summary(snapshot: &Snapshot, out: &mut impl Write) -> std::io::Result<()> {
    let generation = &snapshot.generation;
    let strategy = &generation.strategy;
    write!(out, "strategy {}", strategy.name)?;
    if let Some(version) = &strategy.version {
        write!(out, " {version} {}", strategy.parameters)?;
    }
    writeln!(out)?;
    for (model, route) in generation.fleet.models.iter().zip(&snapshot.routes) {
        writeln!(out, "model {}", model.config.id)?;
        for (deployment, weight) in model.deployments.iter().zip(&route.weights) {
            let config = &deployment.config;
            let (name, side) = (&config.name, config.side.as_str());
            writeln!(out, "  {name:<16} {side:<6} {weight:.4}  {}", config.endpoint)?;
        }
    }
    Ok(())
}
