//! `gateway check`: every error of both files, or what they come to.

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use crate::config::{Timeouts, TotalTime};
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
    let usual = (generation.config.timeouts, generation.config.total);
    timeouts(usual, Default::default(), "", out)?;
    for (model, route) in generation.fleet.models.iter().zip(&snapshot.routes) {
        writeln!(out, "model {}", model.config.id)?;
        timeouts((usual.0, model.config.total), usual, "  ", out)?;
        for (deployment, weight) in model.deployments.iter().zip(&route.weights) {
            let config = &deployment.config;
            let (name, side) = (&config.name, config.side.as_str());
            writeln!(out, "  {name:<16} {side:<6} {weight:.4}  {}", config.endpoint)?;
            timeouts((config.timeouts, usual.1), usual, "    ", out)?;
        }
    }
    Ok(())
}

/// A line of what is not as `usual`, where something is not.
fn timeouts(
    own: (Timeouts, TotalTime),
    usual: (Timeouts, TotalTime),
    indent: &str,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let named = |(timeouts, total): (Timeouts, TotalTime)| {
        let Timeouts { connect, first_byte, idle, pool_idle } = timeouts;
        let names = ["connect", "first_byte", "idle", "total", "pool_idle"];
        names.into_iter().zip([connect, first_byte, idle, total.0, pool_idle])
    };
    let pairs = named(own).zip(named(usual));
    let differing = pairs.filter(|(own, usual)| own != usual).map(|(own, _)| own);
    let show = |(name, time): (&str, Duration)| format!("{name} {} s", time.as_secs_f64());
    let shown: Vec<String> = differing.map(show).collect();
    if shown.is_empty() {
        return Ok(());
    }
    writeln!(out, "{indent}timeouts: {}", shown.join(", "))
}
