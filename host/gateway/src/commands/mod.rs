//! The command line. One file per subcommand.

mod check;
mod costs;
mod demo;
mod own_address;
mod probe;
mod schema;
mod serve;
mod signals;
mod strategy;
mod stub;

use std::io::{stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{OsStr, Resettable};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use config::{Diagnostics, Paths};
use sandbox::{Cache, Compiler, SUBCOMMAND, compile_for_parent};

use crate::reload::Loader;

/// An OpenAI-compatible gateway whose routing strategies are WebAssembly components.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the same as no subcommand)
    Serve(serve::ServeArgs),
    /// Check both files: every error with its place, or a summary of models and weights
    Check(check::CheckArgs),
    /// Print the JSON Schema of a file, for editors
    Schema(schema::SchemaArgs),
    /// Run a gateway with two stub engines, and show what to type next
    Demo(demo::DemoArgs),
    /// Show what was spent, and what machines saved
    Costs(costs::CostsArgs),
    /// Write and try routing strategies
    #[command(subcommand)]
    Strategy(strategy::StrategyCommand),
    /// Run one stub engine: an OpenAI-compatible server that needs no model
    Stub(stub::StubArgs),
    /// Compile one strategy for the gateway that started this process
    #[command(name = SUBCOMMAND, hide = true)]
    Compile,
}

/// The paths of the files.
#[derive(Debug, Clone, Args)]
struct FileArgs {
    /// The models and where they run
    #[arg(long, env = "MODELS_CONFIG", default_value = "config/models.yaml")]
    models: PathBuf,
    /// How traffic is shared; default: config/routing.yaml, if it exists
    #[arg(long, env = "ROUTING_CONFIG")]
    routing: Option<PathBuf>,
    /// The folder of strategies that are not built in
    #[arg(long, env = "PLUGINS_DIR", default_value = "plugins")]
    plugins: PathBuf,
    #[command(flatten)]
    cache: CacheArgs,
}

/// The folder of compiled strategies.
#[derive(Debug, Clone, Args)]
struct CacheArgs {
    /// The folder of compiled strategies; default: in the user's cache; `off` for none
    #[arg(long, env = "GATEWAY_CACHE", value_name = "FOLDER|off")]
    cache: Option<PathBuf>,
}

impl CacheArgs {
    fn cache(&self) -> Option<Cache> {
        match &self.cache {
            None => Cache::of_user(|name| std::env::var_os(name)),
            Some(off) if off.as_os_str() == "off" => None,
            Some(folder) => Some(Cache::at(folder.clone())),
        }
    }
}

impl FileArgs {
    fn paths(&self) -> Paths {
        Paths {
            models: self.models.clone(),
            routing: self.routing.clone().unwrap_or_else(|| "config/routing.yaml".into()),
            routing_required: self.routing.is_some(),
        }
    }

    fn loader(&self) -> anyhow::Result<Loader> {
        let (cache, compiler) = (self.cache.cache(), Compiler::child_of_this()?);
        Ok(Loader::new(self.paths(), self.plugins.clone(), compiler)?.with_cache(cache))
    }
}

/// How long the last lines of the log may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Parses the arguments and runs the subcommand. Prints its error to standard error, and returns
/// the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    let serves = matches!(cli.command, None | Some(Command::Serve(_)));
    let done = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Schema(args)) => schema::run(&args),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Costs(args)) => costs::run(&args),
        Some(Command::Strategy(command)) => strategy::run(&command),
        Some(Command::Stub(args)) => stub::run(args).map(|()| ExitCode::SUCCESS),
        Some(Command::Compile) => compile(),
    };
    proxy::telemetry::flush_log(LAST_LINES);
    done.unwrap_or_else(|error| {
        // A reader that stops early (`gateway check | head -1`) is no error worth a message.
        if serves || !is_broken_pipe(&error) {
            // Each of them begins with `error` and its place.
            match error.downcast_ref::<Diagnostics>() {
                Some(errors) => eprintln!("{errors}"),
                None => eprintln!("error: {error:#}"),
            }
        }
        ExitCode::FAILURE
    })
}

fn compile() -> anyhow::Result<ExitCode> {
    compile_for_parent(stdin().lock(), stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Builds the command line. With a subcommand, the variables of the top-level flags are ignored: an
/// invalid one must not stop a subcommand that does not use it.
fn command() -> clap::Command {
    let command = without_empty(Cli::command());
    let first = std::env::args().nth(1);
    if first.is_some_and(|first| command.find_subcommand(first).is_some()) {
        return command.mut_args(without_variable);
    }
    command
}

/// Treats an empty variable as not set, as the files do.
fn without_empty(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &clap::Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    let command = command.mut_args(|arg| if is_empty(&arg) { without_variable(arg) } else { arg });
    command.mut_subcommands(without_empty)
}

fn without_variable(arg: clap::Arg) -> clap::Arg {
    arg.env(Resettable::<OsStr>::Reset)
}
