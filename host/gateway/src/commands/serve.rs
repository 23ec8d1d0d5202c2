//! `gateway` and `gateway serve`: serves requests.

use std::io::{Write, stdout};
use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use config::Secret;

use crate::reload::file_of_user;
use crate::run::RunOptions;

use super::{FileArgs, own_address, signals};

/// Serve (the same as no subcommand)
#[derive(Debug, Clone, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    files: FileArgs,
    /// The address to listen on
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on; 0 takes a free one, which is printed
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// Threads that serve; 0 is one per core
    #[arg(long, default_value_t = 0)]
    cores: usize,
    /// Bearer token that shows endpoints in /routing, and costs
    #[arg(long, env = "ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
}

pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    // Must run while there is only one thread. The receiver of signals starts the next.
    proxy::descriptors::make_room();
    // Before anything slow, because a SIGHUP without a handler ends the process.
    let received = signals::receive().context("signals cannot be received")?;
    proxy::telemetry::init_log(proxy::telemetry::LevelFilter::INFO);
    let loader = args.files.loader()?.with_ledger(file_of_user());
    let loaded = match loader.load(None) {
        Ok(loaded) => loaded,
        Err(refused) => {
            eprintln!("{}", refused.diagnostics);
            return Ok(ExitCode::FAILURE);
        }
    };
    let listener = TcpListener::bind((args.host.as_str(), args.port))
        .with_context(|| format!("cannot listen on {}:{}", args.host, args.port))?;
    let address = listener.local_addr()?;
    let config = &loaded.snapshot.generation.config;
    for warning in own_address::deployments_at(config, &args.host, address.port()) {
        tracing::warn!("{warning}");
    }
    let cores = match args.cores {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        cores => cores,
    };
    let admin_token = args.admin_token.clone().filter(|token| !token.is_empty()).map(Secret::new);
    let shutdown = async {
        // Printed last, because a reader of this line may send a request or a signal at once.
        received.stop_in_order();
        writeln!(stdout(), "listening on http://{address}").context("standard output is closed")?;
        received.stopped().await;
        Ok(())
    };
    let options = RunOptions { cores, admin_token };
    crate::run::run(listener, loader, loaded, options, &received.signals, shutdown)?;
    Ok(ExitCode::SUCCESS)
}
