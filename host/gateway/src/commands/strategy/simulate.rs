//! `gateway strategy simulate`: compares strategies on a simulated fleet.

use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use config::{self, Diagnostics, Sandbox, schema};
use contract::{Role, Strategy, Surroundings};
use lab::Replayed;
use lab::simulation::{Contestant, Cores, GatewayStrategy, Scenario, plot, simulate, table};
use sandbox::{LoadError, Opened, locate};

use super::subject;

/// Deadline of a strategy's calls. It is long, because time is simulated and a slow machine must
/// not change the results.
const CALL: Duration = Duration::from_secs(10);
/// The limits of compilation and size are generous, because no traffic waits.
const COMPILE: Duration = Duration::from_secs(600);
const COMPONENT: u64 = 1 << 30;

/// Simulate a fleet under one or several strategies: shares, waiting, failures, cost
#[derive(Debug, Args)]
pub(in crate::commands) struct SimulateArgs {
    /// Strategies as in routing.yaml, or with parameters: fixed, ./mine.wasm, 'spill={high: 0.9}'
    #[arg(required = true, value_name = "STRATEGY")]
    strategies: Vec<String>,
    /// The fleet and its requests, a file like those of config/scenarios
    #[arg(long, value_name = "FILE")]
    scenario: PathBuf,
    /// Seed; default: the scenario's own
    #[arg(long)]
    seed: Option<u64>,
    /// The folder of strategies that are not built in
    #[arg(long, env = "PLUGINS_DIR", default_value = "plugins")]
    plugins: PathBuf,
    /// Write all numbers to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with the table and the plots to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the main plot to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write a plot with a row for each strategy to this file
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
}

pub(super) fn run(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let mut scenario = Scenario::read(&args.scenario)?;
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    let contestants = args.strategies.iter().map(|text| contestant(text, &args.plugins, &scenario));
    let mut contestants = contestants.collect::<anyhow::Result<Vec<_>>>()?;
    let report = simulate(&scenario, &mut contestants)
        .with_context(|| args.scenario.display().to_string())?;
    let out = &mut stdout().lock();
    write!(out, "{}", table::table(&report))?;
    for strategy in &report.strategies {
        if let Some(fault) = &strategy.last_fault {
            let (name, faults) = (&strategy.name, strategy.faults);
            writeln!(out, "{name} gave no valid answer {faults} times, the last: {fault}")?;
        }
    }
    write(args.json.as_deref(), || Ok(serde_json::to_string_pretty(&report)? + "\n"))?;
    write(args.html.as_deref(), || Ok(plot::page(&report)))?;
    write(args.svg.as_deref(), || Ok(plot::svg(&report)))?;
    write(args.summary.as_deref(), || Ok(plot::summary(&report)))?;
    Ok(ExitCode::SUCCESS)
}

/// Loads and configures a strategy given as `NAME` or `NAME={...}`.
fn contestant(text: &str, plugins: &Path, scenario: &Scenario) -> anyhow::Result<Contestant> {
    let (reference, parameters) = match text.find("={") {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, "{}"),
    };
    let source = locate(reference, plugins)?;
    let sandbox = Sandbox {
        call: CALL,
        request: CALL,
        compile: COMPILE,
        component: COMPONENT,
        ..Sandbox::default()
    };
    let host = subject::host()?.with_budgets(scenario.known_budgets());
    let opened = host.load(&source, None, &sandbox)?;
    let name = format!("parameters of {reference}");
    let document = config::text(&name, parameters, &|_| None)?;
    let parameters = schema::value(&document, &[], &opened.description().parameters);
    let parameters = parameters.map_err(Diagnostics::new)?;
    let gateways = (0..scenario.gateways)
        .map(|number| Ok(strategy(opened.again()?, &parameters, scenario, number)?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let strategy = &gateways[0].strategy;
    let signals = strategy.description().told(strategy.on_path().is_some());
    Ok(Contestant { name: text.to_owned(), gateways, signals })
}

/// The strategy of the gateway of this number. It has a store of its own, which its cores share.
fn strategy(
    opened: Opened,
    parameters: &Value,
    scenario: &Scenario,
    number: u8,
) -> Result<GatewayStrategy, LoadError> {
    let surroundings = Arc::new(Replayed::new(scenario.seed.wrapping_add(number.into())));
    let configured = |opened: Opened| -> Result<Box<dyn Strategy>, LoadError> {
        let opened = opened.with_surroundings(Arc::clone(&surroundings) as Arc<dyn Surroundings>);
        Ok(Box::new(opened.configure(parameters, scenario.places(), Role::Live, 0)?))
    };
    let others = (1..scenario.cores).map(|_| opened.beside()).collect::<Result<Vec<_>, _>>()?;
    let first = configured(opened)?;
    let others = others.into_iter().map(configured).collect::<Result<_, _>>()?;
    Ok(GatewayStrategy { strategy: Box::new(Cores::new(first, others)), surroundings })
}

fn write(path: Option<&Path>, text: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, text()?).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
#[path = "simulate_scenarios.rs"]
mod scenarios;

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough to include the start of bursts and outages.
    const DURATION: Duration = Duration::from_secs(135);

    #[test]
    fn every_built_in_strategy_runs_on_every_shipped_scenario() {
        let unknown = locate("?", Path::new("none")).expect_err("no name");
        let LoadError::Unknown { built_in, .. } = unknown else { panic!("{unknown}") };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/scenarios");
        let files: Vec<PathBuf> = fs::read_dir(folder)
            .expect("the folder of scenarios")
            .map(|file| file.expect("a file").path())
            .filter(|path| path.is_file())
            .collect();
        assert_eq!(files.len(), 20, "{files:?}");
        for file in files {
            let mut scenario = Scenario::read(&file).unwrap_or_else(|errors| panic!("{errors}"));
            scenario.duration = DURATION;
            let ready = |name: &&str| contestant(name, Path::new("none"), &scenario).expect(name);
            let mut contestants: Vec<_> = built_in.iter().map(ready).collect();
            let report = simulate(&scenario, &mut contestants).expect("not too many requests");
            for strategy in &report.strategies {
                let name = (&strategy.name, file.display());
                assert_eq!(strategy.faults, 0, "{name:?}: {:?}", strategy.last_fault);
                assert_eq!(strategy.ok + strategy.failed, strategy.requests, "{name:?}");
                assert!(strategy.ok * 10 > strategy.requests * 8, "{name:?}: {strategy:?}");
            }
        }
    }
}
