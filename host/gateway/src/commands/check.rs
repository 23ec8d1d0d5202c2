//! `gateway check`: prints every error of both files, or a summary of models and weights.

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use config::{Concurrency, Config, Timeouts, TotalTime, TrialMode};
use fleet::{CandidateInfo, Snapshot, StrategyInfo};

use super::own_address::deployments_at;
use super::{FileArgs, probe};

/// The path of the API in the printed URLs.
const ASKED: &str = "/chat/completions";

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Also ask each deployment for its models: shows wrong URLs, keys and names
    #[arg(long)]
    probe: bool,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let loader = args.files.loader()?;
    match loader.load(None) {
        Ok(loaded) => {
            for warning in &loaded.snapshot.generation.config.warnings {
                eprintln!("{warning}");
            }
            // As `serve` takes them.
            let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            let host = variable("HOST").unwrap_or_else(|| "127.0.0.1".into());
            let port = variable("PORT").and_then(|port| port.parse().ok()).unwrap_or(8080);
            let config = &loaded.snapshot.generation.config;
            for warning in deployments_at(config, &host, port) {
                eprintln!("warning: {warning}, if it listens there");
            }
            summary(&loaded.snapshot, &mut stdout().lock())?;
            if args.probe {
                return probe::run(&loaded.snapshot.generation.fleet, &mut stdout().lock());
            }
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
            let mode = match trial.mode() {
                TrialMode::Shadow => "shadow: true".to_owned(),
                TrialMode::Canary(share) => format!("canary: {share}"),
            };
            writeln!(out, "  candidate ({mode}) {name} {version} {parameters}")?;
        }
    }
    let config = &generation.config;
    settings(config, out)?;
    let usual = config.timeouts;
    for (model, route) in generation.fleet.models.iter().zip(&snapshot.routes) {
        writeln!(out, "model {}", model.config.id)?;
        if model.config.total != config.total {
            let TotalTime(total) = model.config.total;
            writeln!(out, "  timeouts: {{total: {}}}", total.as_secs_f64())?;
        }
        for (deployment, weight) in model.deployments.iter().zip(&route.weights) {
            let config = &deployment.config;
            let (name, side) = (&config.name, config.side.as_str());
            let url = config.endpoint.url(ASKED);
            writeln!(out, "  {name:<16} {side:<6} {weight:.4}  {url}")?;
            timeouts(config.timeouts, usual, out)?;
            if config.concurrency != Concurrency::default() {
                let concurrency = serde_json::to_value(config.concurrency).unwrap_or_default();
                writeln!(out, "    concurrency: {}", flow(&concurrency))?;
            }
        }
    }
    Ok(())
}

/// Writes the settings for all models in the syntax of `routing.yaml`.
fn settings(config: &Config, out: &mut impl Write) -> std::io::Result<()> {
    for (key, value) in config.settings() {
        writeln!(out, "{key}: {}", flow(&value))?;
    }
    Ok(())
}

/// Writes a line with the time-outs that differ from `usual`, if any do.
fn timeouts(own: Timeouts, usual: Timeouts, out: &mut impl Write) -> std::io::Result<()> {
    let named = |Timeouts { connect, first_byte, idle, pool_idle }| {
        let names = ["connect", "first_byte", "idle", "pool_idle"];
        names.into_iter().zip([connect, first_byte, idle, pool_idle])
    };
    let differing = named(own).zip(named(usual)).filter(|(own, usual)| own != usual);
    let shown: Vec<_> =
        differing.map(|((name, time), _)| format!("{name}: {}", time.as_secs_f64())).collect();
    if shown.is_empty() {
        return Ok(());
    }
    writeln!(out, "    timeouts: {{{}}}", shown.join(", "))
}

/// Formats a value as YAML on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let shown = fields.iter().filter(|(_, value)| !value.is_null());
            let shown: Vec<_> =
                shown.map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{{}}}", shown.join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        // YAML takes a bare `*` for an alias.
        Value::String(text) if text.contains('*') => format!("'{text}'"),
        Value::String(text) => text.clone(),
        // Prints `5`, not `5.0`.
        Value::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |n| n.to_string())
        }
        other => other.to_string(),
    }
}
