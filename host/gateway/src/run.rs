//! A gateway from its listener to its end.

use std::future::Future;
use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use futures_util::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use config::{Secret, Shutdown};
use fleet::{Board, Fleet, Generation, ReloadStatus};
use proxy::Gateway;
use proxy::probe::{self, Probes};
use proxy::server::Cores;
use proxy::stop::Stage;
use proxy::telemetry::Metrics;

use crate::decider::Decider;
use crate::memory;
use crate::reload::{self, Attempt, Loaded, Loader, Refused, Reloaded};

/// Why a reload was refused that panicked: the log says the rest.
const PANICKED: &str = "the gateway failed; its log says why";
/// Cores end within this time once all is over.
const LONGEST_END: Duration = Duration::from_secs(5);

/// How a gateway is run, beside its two files.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that serve; at least 1.
    pub cores: usize,
    /// Who may see endpoints in `/routing`. None: nobody.
    pub admin_token: Option<Secret>,
}

/// What a running gateway is told from outside.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Load the files again, and open the log anew.
    pub reload: Arc<Notify>,
}

/// Serves on `listener` what `loaded` says until `shutdown` is ready, then stops as `shutdown` of the
/// configuration in use says. Files that change are taken up on the way, until then. Blocks.
///
/// # Errors
/// If a thread, a log file or a TLS client cannot be had, what `shutdown` fails with, and if a thread
/// that serves was lost to a panic.
pub fn run(
    listener: TcpListener,
    loader: Loader,
    loaded: Loaded,
    options: Options,
    signals: &Signals,
    shutdown: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new()?);
    let tls = Arc::new(proxy::tls::client()?);
    let Loaded { plan, snapshot, seen } = loaded;
    let first = Arc::clone(&snapshot.generation);
    let board = Arc::new(Board::new(snapshot));
    let decider = Decider::start(plan, Arc::clone(&board))?;
    let gateway = Arc::new(Gateway::new(board, metrics, options.admin_token));
    reload::open_log(&gateway, &first.config)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (worker, looker) = (worker("reload")?, worker("watch")?);
    let mut cores = Cores::start(&listener, options.cores.max(1), &gateway, &tls)?;
    // It is closed when the last core has closed its own handle.
    drop(listener);
    // What loading took.
    worker.spawn_blocking(memory::give_back);
    let ended = runtime.block_on(async {
        let worker = worker.handle();
        let control = Control::new(Arc::clone(&gateway), decider, loader, &tls, worker.clone());
        let ended = match &control {
            Ok(control) => {
                control.probe(&first.fleet);
                let reload = async |attempt: &Arc<Attempt>| control.reload(attempt).await;
                let reloads = reload::watch(seen, &signals.reload, looker.handle(), reload);
                tokio::select! {
                    ended = shutdown => ended,
                    () = reloads => Ok(()),
                    () = cores.one_ended() => Err(anyhow!("a thread that serves has ended")),
                }
            }
            Err(error) => Err(anyhow!("probes cannot be sent: {error}")),
        };
        // Probes go on with the requests in flight.
        let mut times = gateway.board.snapshot().generation.config.shutdown;
        if ended.is_err() {
            times.accept = Duration::ZERO;
        }
        stop(&gateway, cores, times).await;
        ended
    });
    // What still loads is not waited for.
    worker.shutdown_background();
    looker.shutdown_background();
    runtime.shutdown_background();
    if let Some(log) = gateway.access_log() {
        log.flush();
    }
    ended
}

/// One thread for what blocks in reloads, which do one thing after the other, and one to look at files meanwhile. A
/// load has a deep stack: of the threads that a runtime has for what blocks, as many as ever met, each would come to
/// keep one.
fn worker(name: &str) -> std::io::Result<Runtime> {
    Builder::new_current_thread().max_blocking_threads(1).thread_name(name).build()
}

/// Lets the cores finish. Returns when they have, or their time is up.
async fn stop(gateway: &Gateway, mut cores: Cores, Shutdown { accept, grace }: Shutdown) {
    gateway.stop.enter(Stage::Leaving);
    let seconds = (accept.as_secs_f64(), grace.as_secs_f64());
    tracing::info!(
        accept = seconds.0,
        grace = seconds.1,
        "stopping: not ready any more, a second signal ends at once"
    );
    tokio::time::sleep(accept).await;
    gateway.stop.enter(Stage::Draining);
    tracing::info!("nothing is accepted any more, requests in flight are finished");
    if timeout(grace, cores.all_ended()).await.is_ok() {
        return;
    }
    let in_flight = gateway.metrics.in_flight();
    tracing::warn!(in_flight, "what is left is cut at the end of the grace period");
    gateway.stop.enter(Stage::Over);
    if timeout(LONGEST_END, cores.all_ended()).await.is_err() {
        tracing::error!("a thread that serves hangs");
    }
}

/// The control side: probes and reloads.
struct Control {
    gateway: Arc<Gateway>,
    decider: Decider,
    loader: Arc<Loader>,
    client: reqwest::Client,
    probes: Mutex<Probes>,
    /// What blocks is done here.
    worker: Handle,
}

impl Control {
    fn new(
        gateway: Arc<Gateway>,
        decider: Decider,
        loader: Loader,
        tls: &Arc<ClientConfig>,
        worker: Handle,
    ) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(tls))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_idle_timeout(probe::KEEP_ALIVE)
            .build()?;
        let (loader, probes) = (Arc::new(loader), Mutex::default());
        Ok(Self { gateway, decider, loader, client, probes, worker })
    }

    /// Probes this fleet from now on, and no other.
    fn probe(&self, fleet: &Fleet) {
        let probing = self.gateway.board.snapshot().generation.config.probing;
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.follow(fleet, probing, &self.client);
    }

    /// One reload. On any error what is in use stays, and the log and `/routing` say what is wrong.
    async fn reload(&self, attempt: &Arc<Attempt>) -> Reloaded {
        if let Some(log) = self.gateway.access_log() {
            log.reopen();
        }
        let (loader, board) = (Arc::clone(&self.loader), Arc::clone(&self.gateway.board));
        let shared = Arc::clone(attempt);
        let load = move || loader.attempt(Some(&board.snapshot().generation.fleet), &shared);
        let mut reloaded = Reloaded::default();
        let error = match self.worker.spawn_blocking(load).await {
            Ok(Ok(loaded)) => {
                reloaded.seen = Some(loaded.seen.clone());
                let installed = AssertUnwindSafe(self.install(loaded)).catch_unwind().await;
                let installed = installed.unwrap_or_else(|_| Err(anyhow!("{PANICKED}")));
                installed.err().map(|error| format!("{error:#}"))
            }
            Ok(Err(Refused { seen, .. })) if attempt.cancellation().is_canceled() => {
                tracing::info!("a file changed while it was loaded: the load begins anew");
                return Reloaded { seen: Some(seen), may_pass: false };
            }
            Ok(Err(Refused { diagnostics, seen, may_pass })) => {
                tracing::debug!("what was in use stays in use:\n{diagnostics}");
                reloaded = Reloaded { seen: Some(seen), may_pass };
                Some(diagnostics.short())
            }
            // A panic in a load is a load that failed.
            Err(_) => Some(PANICKED.into()),
        };
        let result = if error.is_none() { "loaded" } else { "refused" };
        match &error {
            None => tracing::info!("configuration loaded"),
            Some(error) => tracing::error!(error, "configuration refused"),
        }
        self.gateway.board.set_reload(ReloadStatus { last_error: error });
        // What was in use before is gone, but for requests in flight.
        let _ = self.worker.spawn_blocking(memory::give_back).await;
        // Last, so that who sees it counted sees the rest too.
        self.gateway.metrics.reload(result);
        reloaded
    }

    async fn install(&self, loaded: Loaded) -> anyhow::Result<()> {
        let before = Arc::clone(&self.gateway.board.snapshot().generation);
        let generation = Arc::clone(&loaded.snapshot.generation);
        self.equip(&generation)?;
        let decider = self.decider.clone();
        let install = move || decider.install(loaded.plan);
        if !self.worker.spawn_blocking(install).await? {
            self.equip(&before)?;
            bail!("{PANICKED}");
        }
        self.probe(&generation.fleet);
        Ok(())
    }

    /// Puts to use what a generation has beside its weights: its log, and its deployments' places.
    fn equip(&self, generation: &Generation) -> anyhow::Result<()> {
        reload::open_log(&self.gateway, &generation.config)?;
        generation.fleet.loaded(Instant::now());
        Ok(())
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
