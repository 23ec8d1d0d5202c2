//! `gateway strategy test`: runs a strategy's fixtures, and the checks for every strategy.

use std::io::{self, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use lab::workbench::checks::{self, CheckOptions, Finding};
use lab::workbench::fixtures::{self, Fixtures};
use lab::workbench::typed;
use sandbox::Opened;

use super::subject::Subject;

/// Run a strategy's fixtures, and the checks for every strategy
#[derive(Debug, Args)]
pub(in crate::commands) struct TestArgs {
    #[command(flatten)]
    subject: Subject,
    /// File of its cases; default: fixtures.yaml beside the component or in its project's folder
    #[arg(long)]
    fixtures: Option<PathBuf>,
    /// Parameters for the generated fleets, as JSON; default: {} and those of the fixtures
    #[arg(long, value_name = "JSON")]
    parameters: Option<String>,
    /// Seed of the generated fleets
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of generated fleets
    #[arg(long, default_value_t = 100)]
    fleets: u64,
}

pub(super) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    // What the strategy logs is often all that it tells of a trap.
    proxy::telemetry::init_log(proxy::telemetry::LevelFilter::INFO);
    let strategy = args.subject.open()?;
    let file = match &args.fixtures {
        Some(file) => Some(file.clone()),
        None => fixtures::find(&args.subject.source()?, &args.subject.plugins),
    };
    let (out, mut tally) = (&mut stdout().lock(), CheckCounts::default());
    let fixtures = match &file {
        Some(file) => Some(Fixtures::read(file)?),
        None => None,
    };
    match file.zip(fixtures.as_ref()) {
        Some((file, fixtures)) => {
            writeln!(out, "fixtures of {}", file.display())?;
            for case in &fixtures.cases {
                tally.tell(out, &case.name, "", fixtures.run(case, &strategy))?;
            }
        }
        None => {
            writeln!(out, "no fixtures: no fixtures.yaml beside it or in its project's folder")?
        }
    }
    let options = CheckOptions {
        seed: args.seed,
        fleets: args.fleets,
        parameters: parameters(args, &strategy, fixtures.as_ref())?,
        sandbox: args.subject.sandbox(),
    };
    writeln!(out, "checks on {} generated fleets, seed {}", options.fleets, options.seed)?;
    for Finding { check, verdict } in checks::run(&strategy, &options) {
        let numbers = verdict.clone().unwrap_or_default();
        tally.tell(out, check, &numbers, verdict)?;
    }
    writeln!(out, "{} passed, {} failed", tally.passed, tally.failed)?;
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Parameters for the generated fleets, which use them in turn.
fn parameters(
    args: &TestArgs,
    strategy: &Opened,
    fixtures: Option<&Fixtures>,
) -> anyhow::Result<Vec<Value>> {
    let schema = &strategy.description().parameters;
    if let Some(given) = &args.parameters {
        return Ok(vec![typed(given, schema)?]);
    }
    let mut all: Vec<Value> = typed("{}", schema).into_iter().collect();
    let of_fixtures = fixtures.map(|fixtures| fixtures.parameters(schema)).unwrap_or_default();
    all.extend(of_fixtures.into_iter().filter(|value| *value != Value::Object(Default::default())));
    Ok(all)
}

#[derive(Default)]
struct CheckCounts {
    passed: usize,
    failed: usize,
}

impl CheckCounts {
    /// Prints a line for a success. For a failure, the reason follows on further lines.
    fn tell(
        &mut self,
        out: &mut impl Write,
        name: &str,
        numbers: &str,
        verdict: Result<impl Sized, impl ToString>,
    ) -> io::Result<()> {
        match verdict {
            Ok(_) => {
                self.passed += 1;
                let separator = if numbers.is_empty() { "" } else { ": " };
                writeln!(out, "  ok      {name}{separator}{numbers}")
            }
            Err(why) => {
                self.failed += 1;
                writeln!(out, "  FAILED  {name}")?;
                why.to_string().lines().try_for_each(|line| writeln!(out, "            {line}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use config::Sandbox;
    use sandbox::{LoadError, PluginHost, locate};

    use super::*;

    #[test]
    fn built_in_strategies_pass_their_fixtures() {
        let unknown = locate("?", Path::new("none")).expect_err("no name");
        let LoadError::Unknown { built_in, .. } = unknown else { panic!("{unknown}") };
        // Long time-outs for a busy machine.
        let minute = Duration::from_secs(60);
        let sandbox =
            Sandbox { call: minute, request: minute, compile: minute, ..Sandbox::default() };
        let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
        for name in built_in {
            let source = locate(name, Path::new("none")).expect(name);
            let host = PluginHost::new().expect("a host");
            let strategy = host.load(&source, None, &sandbox).expect(name);
            let file = plugins.join(name).join("fixtures.yaml");
            let fixtures = Fixtures::read(&file).unwrap_or_else(|errors| panic!("{errors}"));
            assert!(!fixtures.cases.is_empty(), "{name}");
            for case in &fixtures.cases {
                let run = fixtures.run(case, &strategy);
                run.unwrap_or_else(|failure| panic!("{name}: {}: {failure}", case.name));
            }
        }
    }
}
