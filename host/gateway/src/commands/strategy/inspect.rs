//! `gateway strategy inspect`: shows a component and its strategy, or why it cannot be loaded.

use std::borrow::Cow;
use std::io::{self, Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use contract::{Column, Needs};
use lab::workbench::{Parameter, parameters, table};
use sandbox::{Anatomy, LoadError, Opened, Provider};

use super::signals;
use super::subject::{self, Subject, explain};

/// Show a component and its strategy, or why it cannot be loaded
#[derive(Debug, Args)]
pub(in crate::commands) struct InspectArgs {
    #[command(flatten)]
    subject: Subject,
    /// Print the signals that strategies may read, and which of them this one asks for
    #[arg(long)]
    signals: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The facts of a component. Its field names are the keys of `--json`.
#[derive(Debug, Serialize)]
struct InspectReport {
    component: String,
    bytes: usize,
    sha256: String,
    /// None if the component cannot be compiled.
    imports: Option<Vec<ShownImport>>,
    exports: Option<Vec<String>>,
    /// The facts of its strategy. None if it cannot be loaded.
    #[serde(flatten)]
    strategy: Option<Strategy>,
    error: Option<String>,
    remedy: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct ShownImport {
    name: String,
    provider: &'static str,
}

#[derive(Debug, Serialize)]
struct Strategy {
    world: String,
    name: String,
    version: String,
    summary: String,
    decides_for_each_request: bool,
    needs: Vec<&'static str>,
    /// Names of the signals that it reads.
    signals: Vec<Cow<'static, str>>,
    /// Reasons that its verdicts name.
    reasons: Vec<String>,
    refresh_ms: Option<u128>,
    parameters: Vec<Parameter>,
    compile_us: u128,
    instantiate_us: u128,
    memory_bytes: usize,
}

pub(super) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    if args.signals {
        return show_signals(args);
    }
    let (source, sandbox) = (args.subject.source()?, args.subject.sandbox());
    // A second host, because the first has the component compiled, and the report has the time to
    // compile it.
    let anatomy = subject::host()?.look(&source, &sandbox).map_err(|error| explain(&error))?;
    let opened = subject::host()?.load(&source, None, &sandbox);
    let report = InspectReport::of(source.to_string(), anatomy, opened);
    let mut out = stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        report.write(&mut out)?;
    }
    let Some(error) = report.error else { return Ok(ExitCode::SUCCESS) };
    if !args.json {
        eprintln!("error: {error}");
        report.remedy.into_iter().for_each(|remedy| eprintln!("help: {remedy}"));
    }
    Ok(ExitCode::FAILURE)
}

fn show_signals(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let shown = signals::signals(args.subject.open()?.signals());
    let mut out = stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&shown)?)?,
        false => signals::write(&shown, &mut out)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl InspectReport {
    fn of(component: String, anatomy: Anatomy, opened: Result<Opened, LoadError>) -> Self {
        let parts = anatomy.parts.ok();
        let (imports, exports) = parts.map(|parts| (parts.imports, parts.exports)).unzip();
        let import = |import: sandbox::Import| ShownImport {
            name: import.name,
            provider: match import.provider {
                Provider::Gateway => "gateway",
                Provider::Clock => "clock",
                Provider::Random => "random",
                Provider::Wasi => "empty",
                Provider::Nobody => "nobody",
            },
        };
        let (remedy, error) = match &opened {
            Ok(_) => (None, None),
            Err(error) => (Some(error.remedy()), Some(error.to_string())),
        };
        Self {
            component,
            bytes: anatomy.size,
            sha256: anatomy.digest,
            imports: imports.map(|list| list.into_iter().map(import).collect()),
            exports,
            strategy: opened.ok().map(|opened| Strategy::of(&opened)),
            error,
            remedy,
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        line(out, "component", &self.component)?;
        line(out, "size", &format!("{} bytes", self.bytes))?;
        line(out, "sha256", &self.sha256)?;
        if let Some(strategy) = &self.strategy {
            line(out, "world", &strategy.world)?;
        }
        if let Some(imports) = &self.imports {
            let imports = imports.iter().map(|import| [import.name.as_str(), import.means()]);
            lines(out, "imports", &table::rows(imports))?;
        }
        if let Some(exports) = &self.exports {
            lines(out, "exports", exports)?;
        }
        match &self.strategy {
            Some(strategy) => strategy.write(out),
            None => Ok(()),
        }
    }
}

impl ShownImport {
    fn means(&self) -> &'static str {
        match self.provider {
            "gateway" => "given by the gateway",
            "clock" => "given by the gateway: the time of this machine, and waiting within a call",
            "random" => "given by the gateway: random numbers of this machine",
            "empty" => "given by the gateway, without access to anything",
            _ => "given by nobody",
        }
    }
}

impl Strategy {
    fn of(opened: &Opened) -> Self {
        let (description, times) = (opened.description(), opened.times());
        Self {
            world: opened.world(),
            name: description.name.clone(),
            version: description.version.clone(),
            summary: description.summary.clone(),
            decides_for_each_request: opened.is_on_path(),
            needs: needs(description.needs),
            signals: description.signals.iter().flatten().map(Column::name).collect(),
            reasons: description.reasons.clone(),
            refresh_ms: description.refresh.map(|interval| interval.as_millis()),
            parameters: parameters(&description.parameters),
            compile_us: times.compile.as_micros(),
            instantiate_us: times.instantiate.as_micros(),
            memory_bytes: opened.memory(),
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        line(out, "name", &self.name)?;
        line(out, "version", &self.version)?;
        line(out, "summary", &self.summary)?;
        line(
            out,
            "asked",
            match self.decides_for_each_request {
                true => "for each request, and when the fleet changes",
                false => "when the fleet changes",
            },
        )?;
        lines(out, "needs", &self.needs)?;
        lines(out, "signals", &self.signals)?;
        lines(out, "reasons", &self.reasons)?;
        let refresh = self.refresh_ms.map(|ms| format!("every {ms} ms"));
        line(out, "refresh", refresh.as_deref().unwrap_or("none"))?;
        line(out, "compile", &millis(self.compile_us))?;
        line(out, "instantiate", &millis(self.instantiate_us))?;
        line(out, "memory", &format!("{} KiB of a fresh instance", self.memory_bytes >> 10))?;
        let heading = ["NAME", "TYPE", "RANGE", "DEFAULT", "DESCRIPTION"];
        let parameters = self.parameters.iter().map(|parameter| {
            let Parameter { name, kind, range, default, description } = parameter;
            [name, kind, range, default, description].map(String::as_str)
        });
        match self.parameters.is_empty() {
            true => line(out, "parameters", "none"),
            false => {
                lines(out, "parameters", &table::rows(std::iter::once(heading).chain(parameters)))
            }
        }
    }
}

/// Names of the facts that it needs of a request, as in the contract.
fn needs(needs: Needs) -> Vec<&'static str> {
    let Needs { prompt_tokens, session, prefixes, tenant_name } = needs;
    let all = [
        (prompt_tokens, "prompt-tokens"),
        (session, "session"),
        (prefixes, "prefixes"),
        (tenant_name, "tenant-name"),
    ];
    all.into_iter().filter(|(needed, _)| *needed).map(|(_, name)| name).collect()
}

fn millis(micros: u128) -> String {
    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
    format!("{:.3} ms", Duration::from_micros(micros).as_secs_f64() * 1e3)
}

fn line(out: &mut impl Write, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{label:<12}  {text}")
}

/// Writes several lines under one label.
fn lines(out: &mut impl Write, label: &str, texts: &[impl AsRef<str>]) -> io::Result<()> {
    if texts.is_empty() {
        return line(out, label, "none");
    }
    for (at, text) in texts.iter().enumerate() {
        line(out, if at == 0 { label } else { "" }, text.as_ref())?;
    }
    Ok(())
}
