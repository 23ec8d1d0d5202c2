//! An OpenAI-compatible inference engine that needs no model.
//!
//! `gateway demo`, `gateway stub`, the tests and the benchmarks all put this engine behind the
//! gateway, so that a newcomer sees what the tests exercise. It answers every inference path of the
//! gateway with a text that names the engine, at a set pace. It can be slowed, broken and repaired
//! while it runs: `POST /stub` changes its settings, `GET /stub` shows them and its counters.
//!
//! Every client that can reach it may change its settings. It is made for loopback.

mod body;
mod capacity;
mod endpoint;
mod engine;
mod http;
mod metrics;
mod prefix_cache;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use engine::Engine;

/// Pause before the next accept after the system refused a descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The identity of a stub engine, and its settings at the start.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The name in its texts, in `system_fingerprint` and in the header `x-stub-engine`.
    pub name: String,
    /// From the end of a request to the first byte of its answer.
    pub latency: Duration,
    /// Words per second after that. 0: as fast as possible.
    pub tokens_per_second: f64,
    /// Prompt words per second that are read before the first byte. 0: as fast as possible.
    pub prefill_per_second: f64,
    /// Prompt words that its prefix cache holds. They are not read again, and are told as
    /// `cached_tokens`. 0: it has no cache.
    pub cache: usize,
    /// The share of inference calls answered 500, from 0 to 1.
    pub failure_rate: f64,
    /// The models that `/v1/models` lists. Calls for any other model are answered, too.
    pub models: Vec<String>,
    /// If set, `/v1` calls without it as a bearer token are answered 401.
    pub api_key: Option<String>,
    /// Makes the draw of failures repeatable.
    pub seed: Option<u64>,
    /// Calls that are worked on at a time. 0: no limit.
    pub places: u32,
    /// Calls that wait for a place. Those beyond are refused.
    pub queue: u32,
    /// Calls per minute. A second's worth may come at once. Calls beyond that are refused. 0: no
    /// limit.
    pub requests_per_minute: f64,
    /// The status of a refusal: from 400 to 599.
    pub refusal: u16,
    /// Seconds in the `Retry-After` of a refusal. None: there is none, but for the allowance.
    pub retry_after: Option<u64>,
    /// How long a call goes on after its client left before the first byte. Engines that look for
    /// their clients once a second, as llama.cpp does, work for nobody for so long.
    pub linger: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            name: "stub".to_owned(),
            latency: Duration::ZERO,
            tokens_per_second: 0.0,
            prefill_per_second: 0.0,
            cache: 0,
            failure_rate: 0.0,
            models: Vec::new(),
            api_key: None,
            seed: None,
            places: 0,
            queue: u32::MAX,
            requests_per_minute: 0.0,
            refusal: 503,
            retry_after: None,
            linger: Duration::ZERO,
        }
    }
}

/// Serves until `shutdown` resolves, then drops every connection at once, as a killed engine does.
///
/// # Errors
/// `InvalidInput` if an option is invalid (a name that no header can carry, a rate out of its
/// range), and any error of the listener that waiting cannot cure.
pub async fn serve(
    listener: TcpListener,
    options: EngineOptions,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let engine = Arc::new(Engine::new(options)?);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, Arc::clone(&engine)));
                }
                Err(error) => endure(error).await?,
            },
        }
    }
}

/// Waits out an accept error that passes by itself. Returns any other error.
async fn endure(error: io::Error) -> io::Result<()> {
    match Errno::from_io_error(&error) {
        Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::INTR) => Ok(()),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            Ok(())
        }
        _ => Err(error),
    }
}

/// Serves one connection until either side ends it. The counters show how its calls ended.
async fn converse(stream: TcpStream, engine: Arc<Engine>) {
    // Without `nodelay` paced chunks would wait for each other. If it cannot be set, they are only
    // late.
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| {
        let engine = Arc::clone(&engine);
        async move { Ok::<_, Infallible>(http::answer(&engine, request).await) }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}
