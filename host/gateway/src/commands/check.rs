//! `gateway check`: every error of both files, or what they come to.

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use config::{
    ClientTimeouts, Concurrency, Config, Ejection, Fallback, Limits, Probing, Shutdown, SlowStart,
    Timeouts, TotalTime,
};
use fleet::{CandidateInfo, Snapshot, StrategyInfo};

use super::FileArgs;

pub(super) fn run(args: &FileArgs) -> anyhow::Result<ExitCode> {
    let loader = args.loader()?;
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
    if generation.strategies.is_empty() {
        writeln!(out, "strategy models.yaml")?;
    }
    for (index, strategy) in generation.strategies.iter().enumerate() {
        let models = generation.fleet.models.iter().map(|model| &model.config);
        let own: Vec<&str> = models
            .filter(|model| index > 0 && model.strategy == index)
            .map(|model| &*model.id)
            .collect();
        let of = if own.is_empty() { String::new() } else { format!(" of {}", own.join(", ")) };
        let StrategyInfo { name, version, parameters, .. } = strategy;
        writeln!(out, "strategy{of} {name} {version} {parameters}")?;
        if let Some(CandidateInfo { strategy, trial }) = strategy.candidate.as_deref() {
            let StrategyInfo { name, version, parameters, .. } = strategy;
            let mode = trial.mode();
            writeln!(out, "  candidate ({mode:?}) {name} {version} {parameters}")?;
        }
    }
    let usual = (generation.config.timeouts, generation.config.total);
    timeouts(usual, Default::default(), "", out)?;
    settings(&generation.config, out)?;
    for (model, route) in generation.fleet.models.iter().zip(&snapshot.routes) {
        writeln!(out, "model {}", model.config.id)?;
        timeouts((usual.0, model.config.total), usual, "  ", out)?;
        for (deployment, weight) in model.deployments.iter().zip(&route.weights) {
            let config = &deployment.config;
            let (name, side) = (&config.name, config.side.as_str());
            writeln!(out, "  {name:<16} {side:<6} {weight:.4}  {}", config.endpoint)?;
            timeouts((config.timeouts, usual.1), usual, "    ", out)?;
            let Concurrency { max, queue, wait } = config.concurrency;
            if config.concurrency != Concurrency::default() {
                writeln!(out, "    concurrency: max {max}, queue {queue}, wait {wait:?}")?;
            }
        }
    }
    Ok(())
}

/// What holds for all models, by the keys of `routing.yaml`.
fn settings(config: &Config, out: &mut impl Write) -> std::io::Result<()> {
    let ClientTimeouts { headers, idle, keep_alive } = config.client_timeouts;
    writeln!(out, "clients: headers {headers:?}, idle {idle:?}, keep_alive {keep_alive:?}")?;
    let Limits { body, bodies, connections, requests } = config.limits;
    let (body, bodies) = (body >> 20, bodies >> 20);
    write!(out, "limits: body_mib {body}, bodies_mib {bodies}, ")?;
    writeln!(out, "connections {connections}, requests {requests}")?;
    let Fallback { attempts, standby, ambiguous, budget } = config.fallback;
    write!(out, "fallback: attempts {attempts}, standby {standby:?}, ambiguous {ambiguous:?}, ")?;
    writeln!(out, "budget {} percent and {} per_second", budget.percent, budget.per_second)?;
    let Ejection { consecutive, percent, window, base, max } = config.ejection;
    let (consecutive, percent) = (consecutive.unwrap_or(0), percent.unwrap_or(0));
    write!(out, "ejection: consecutive {consecutive}, percent {percent} of {window}, ")?;
    writeln!(out, "base {base:?}, max {max:?}")?;
    let SlowStart { duration, from, min_rate } = config.slow_start;
    let duration = duration.unwrap_or_default();
    writeln!(out, "slow_start: duration {duration:?}, from {from}, min_rate {min_rate}")?;
    let Probing { interval, timeout, down_after, up_after } = config.probing;
    let interval = interval.unwrap_or_default();
    write!(out, "health_check: {interval:?}, timeout {timeout:?}, ")?;
    writeln!(out, "down_after {down_after}, up_after {up_after}")?;
    let Shutdown { accept, grace } = config.shutdown;
    writeln!(out, "shutdown: accept {accept:?}, grace {grace:?}")
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
