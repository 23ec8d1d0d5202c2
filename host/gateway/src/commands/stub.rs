//! `gateway stub`: runs one stub engine, for benchmarks and for manual tests of the gateway.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use stub_engine::{self, EngineOptions};

/// Run one stub engine: an OpenAI-compatible server that needs no model
#[derive(Debug, Args)]
pub(super) struct StubArgs {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The name that the engine answers with
    #[arg(long, default_value = "stub")]
    name: String,
    /// Milliseconds to the first byte of an answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
    /// Words per second after the first byte; 0 is as fast as possible
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    tokens_per_second: f64,
    /// Prompt words read per second before the first byte; 0 is as fast as possible
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    prefill_per_second: f64,
    /// Prompt words in its prefix cache, which are not read again; 0 is no cache
    #[arg(long, value_name = "N", default_value_t = 0)]
    cache: usize,
    /// The share of calls answered with 500, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    failure_rate: f64,
    /// A model that /v1/models lists; may be repeated. Every model is answered
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// The bearer token that /v1 calls need
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Calls worked on at a time; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    places: u32,
    /// Calls that wait for a place; those beyond are refused
    #[arg(long, value_name = "N", default_value_t = u32::MAX, hide_default_value = true)]
    queue: u32,
    /// Calls per minute, with a second's worth at once; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    requests_per_minute: f64,
    /// The status of a refusal
    #[arg(long, value_name = "STATUS", default_value_t = 503)]
    refusal: u16,
    /// Seconds in the Retry-After of a refusal
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u64>,
    /// Milliseconds that a call goes on after its client left before the first byte
    #[arg(long, value_name = "MS", default_value_t = 0)]
    linger_ms: u64,
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// The address cannot be bound, or an option is out of range.
pub(super) fn run(args: StubArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: StubArgs) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind((args.host.as_str(), args.port))
        .await
        .with_context(|| format!("cannot listen on {} port {}", args.host, args.port))?;
    let address = listener.local_addr()?;
    let options = EngineOptions {
        name: args.name,
        latency: Duration::from_millis(args.latency_ms),
        tokens_per_second: args.tokens_per_second,
        prefill_per_second: args.prefill_per_second,
        cache: args.cache,
        failure_rate: args.failure_rate,
        models: args.models,
        api_key: args.api_key,
        seed: None,
        places: args.places,
        queue: args.queue,
        requests_per_minute: args.requests_per_minute,
        refusal: args.refusal,
        retry_after: args.retry_after,
        linger: Duration::from_millis(args.linger_ms),
    };
    let mut stdout = io::stdout();
    writeln!(stdout, "stub engine {} listening on http://{address}", options.name)?;
    stdout.flush()?;
    let shutdown = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    stub_engine::serve(listener, options, shutdown).await.context("the stub engine failed")
}
