//! `gateway strategy bench`: measures the costs of a strategy.

use std::io::{self, Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use config::Sandbox;
use lab::workbench::bench::{self, CallCosts, Costs, Memory, Samples};
use lab::workbench::{table, typed};
use sandbox::LoadError;

use super::subject::{Subject, explain};

/// Build profile of this gateway, which the numbers depend on.
const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// Deadline of measured calls. It exceeds the gateway's own, so that slow calls are measured, too.
const CALL: Duration = Duration::from_secs(10);
/// Time of measured compilations, on the clock. Those of a busy machine take long.
const COMPILE: Duration = Duration::from_secs(3600);

/// Measure a strategy's costs: compilation, instances, calls, memory
#[derive(Debug, Args)]
pub(in crate::commands) struct BenchArgs {
    #[command(flatten)]
    subject: Subject,
    /// Its parameters, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    parameters: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct BenchReport {
    strategy: String,
    version: String,
    profile: &'static str,
    #[serde(flatten)]
    costs: Costs,
}

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let strategy = args.subject.open()?;
    let description = strategy.description();
    let parameters = typed(&args.parameters, &description.parameters)?;
    let sandbox = Sandbox { call: CALL, request: CALL, compile: COMPILE, ..args.subject.sandbox() };
    let costs = bench::run(&args.subject.source()?, &sandbox, &parameters);
    let costs = costs.map_err(|error| match error.downcast_ref::<LoadError>() {
        Some(error) => explain(error),
        None => error,
    })?;
    let (name, version) = (description.name.clone(), description.version.clone());
    let report = BenchReport { strategy: name, version, profile: PROFILE, costs };
    let mut out = stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        false => report.write(&mut out)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl BenchReport {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { strategy, version, costs, .. } = self;
        writeln!(out, "{strategy} {version}, times in microseconds")?;
        if cfg!(debug_assertions) {
            writeln!(out, "this gateway is a debug build: its times mean nothing")?;
        }
        let heading = ["", "DEPLOYMENTS", "P50", "P99", "SAMPLES"].map(str::to_owned);
        let row = |what: &str, deployments: String, times: &Samples| {
            let Samples { p50_us, p99_us, samples } = times;
            let [p50, p99] = [p50_us, p99_us].map(|time| format!("{time:.2}"));
            [what.to_owned(), deployments, p50, p99, samples.to_string()]
        };
        let ready = [
            row("compile", String::new(), &costs.compile),
            row("fresh instance", "8".to_owned(), &costs.instance),
        ];
        let calls = costs.calls.iter().map(|CallCosts { function, deployments, times }| {
            row(function, deployments.to_string(), times)
        });
        for line in table::rows(std::iter::once(heading).chain(ready).chain(calls)) {
            writeln!(out, "{line}")?;
        }
        let Memory { linear, resident } = costs.memory;
        let resident = match resident {
            Some(resident) => format!("{} KiB of the process", resident >> 10),
            None => "resident memory unknown".to_owned(),
        };
        writeln!(out, "memory of an instance: {} KiB linear, {resident}", linear >> 10)
    }
}
