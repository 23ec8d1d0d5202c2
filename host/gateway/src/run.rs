//! Runs a gateway, from a bound listener to its orderly stop.

use std::future::Future;
use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, bail};
use futures_util::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use config::{Secret, Shutdown};
use fleet::{Board, Generation, ReloadStatus};
use proxy::Gateway;
use proxy::probe::{self, Probes};
use proxy::scrape::Scrapes;
use proxy::server::Cores;
use proxy::stop::Stage;
use proxy::telemetry::Metrics;

use crate::decider::Decider;
use crate::memory;
use crate::reload::{self, Loaded, Loader, Loading, Refused, Reloaded};

/// Error of a reload that panicked. The panic itself is in the log.
const PANICKED: &str = "the gateway failed; its log says why";
/// Time in which cores must end after the grace period.
const LONGEST_END: Duration = Duration::from_secs(5);

/// Settings of a gateway that are not in its two files.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Number of serving threads, at least 1.
    pub cores: usize,
    /// Bearer token that shows endpoints in `/routing`. None hides them from everybody.
    pub admin_token: Option<Secret>,
}

/// Notifications to a running gateway.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Reloads the files and reopens the log.
    pub reload: Arc<Notify>,
}

/// Serves `loaded` on `listener` until `shutdown` is ready. Then stops in order, with the times of
/// the configuration's `shutdown`. Files that change before `shutdown` are reloaded. Blocks.
///
/// # Errors
/// If a thread, a log file or a TLS client cannot be created, if `shutdown` fails, or if a serving
/// thread ends by a panic.
pub fn run(
    listener: TcpListener,
    loader: Loader,
    loaded: Loaded,
    options: RunOptions,
    signals: &Signals,
    shutdown: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let loader = Arc::new(loader);
    let metrics = Arc::new(Metrics::new()?);
    let tls = Arc::new(proxy::tls::client()?);
    let Loaded { plan, snapshot, seen } = loaded;
    let first = Arc::clone(&snapshot.generation);
    let board = Arc::new(Board::new(snapshot));
    let decider = Decider::start(plan, Arc::clone(&board))?;
    let gateway = Gateway::new(board, metrics, options.admin_token);
    let gateway = Arc::new(gateway.with_costs(Arc::clone(loader.costs())));
    equip(&gateway, &first)?;
    gateway.costs.start()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (worker, looker) = (worker("reload")?, worker("watch")?);
    let mut cores = Cores::start(&listener, options.cores.max(1), &gateway, &tls)?;
    // Each core has its own handle. The socket closes with the last of them.
    drop(listener);
    // Returns the memory that only the load needed.
    worker.spawn_blocking(memory::give_back);
    let ended = runtime.block_on(async {
        let worker = worker.handle();
        let control =
            Control::new(Arc::clone(&gateway), decider, Arc::clone(&loader), &tls, worker.clone());
        let ended = match &control {
            Ok(control) => {
                control.watch(&first);
                let reload = async |loading: &Arc<Loading>| control.reload(loading).await;
                let reloads = reload::watch(seen, &signals.reload, looker.handle(), reload);
                tokio::select! {
                    ended = shutdown => ended,
                    () = reloads => Ok(()),
                    () = cores.one_ended() => Err(anyhow!("a thread that serves has ended")),
                }
            }
            Err(error) => Err(anyhow!("probes cannot be sent: {error}")),
        };
        // `control` is still alive here, so probes continue for the requests in flight.
        let mut times = gateway.board.snapshot().generation.config.shutdown;
        // After an error the gateway stops accepting at once.
        if ended.is_err() {
            times.accept = Duration::ZERO;
        }
        stop(&gateway, cores, times).await;
        ended
    });
    // Requests in flight have settled what they cost.
    loader.close_ledger();
    // A load that is still running is not awaited.
    worker.shutdown_background();
    looker.shutdown_background();
    runtime.shutdown_background();
    if let Some(log) = gateway.access_log() {
        log.flush();
    }
    ended
}

/// A runtime with a single blocking thread. Reloads, which run one at a time, have one. Another
/// polls files meanwhile. Loading needs a deep stack, and one blocking thread keeps only one such
/// stack resident.
fn worker(name: &str) -> std::io::Result<Runtime> {
    Builder::new_current_thread().max_blocking_threads(1).thread_name(name).build()
}

/// Stops the cores in order. Returns when they have ended or their time is over.
async fn stop(gateway: &Gateway, mut cores: Cores, Shutdown { accept, grace }: Shutdown) {
    gateway.stop.enter(Stage::Leaving);
    let seconds = (accept.as_secs_f64(), grace.as_secs_f64());
    tracing::info!(
        accept = seconds.0,
        grace = seconds.1,
        "stopping: no longer ready; a second signal ends the process at once"
    );
    tokio::time::sleep(accept).await;
    gateway.stop.enter(Stage::Draining);
    tracing::info!("no connection is accepted any more; requests in flight are finished");
    if timeout(grace, cores.all_ended()).await.is_ok() {
        return;
    }
    let in_flight = gateway.metrics.in_flight();
    tracing::warn!(in_flight, "what is left is cut at the end of the grace period");
    gateway.stop.enter(Stage::Over);
    if timeout(LONGEST_END, cores.all_ended()).await.is_err() {
        tracing::error!("a serving thread hangs");
    }
}

/// The control side: probes, scrapes and reloads.
struct Control {
    gateway: Arc<Gateway>,
    decider: Decider,
    loader: Arc<Loader>,
    client: reqwest::Client,
    probes: Mutex<Probes>,
    scrapes: Mutex<Scrapes>,
    /// Runs the blocking parts of reloads.
    worker: Handle,
}

impl Control {
    fn new(
        gateway: Arc<Gateway>,
        decider: Decider,
        loader: Arc<Loader>,
        tls: &Arc<ClientConfig>,
        worker: Handle,
    ) -> reqwest::Result<Self> {
        let client = probe::client(ClientConfig::clone(tls))?;
        let (probes, scrapes) = Default::default();
        Ok(Self { gateway, decider, loader, client, probes, scrapes, worker })
    }

    /// Probes and scrapes the fleet of this generation instead of the previous one.
    fn watch(&self, generation: &Generation) {
        let Generation { config, fleet, .. } = generation;
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.follow(fleet, config.probing, &self.client);
        let mut scrapes = self.scrapes.lock().unwrap_or_else(PoisonError::into_inner);
        scrapes.follow(fleet, &generation.wanted(), config.scraping, &self.client);
    }

    /// Performs one reload. After an error the configuration in use stays, and the log and
    /// `/routing` show the error.
    async fn reload(&self, loading: &Arc<Loading>) -> Reloaded {
        if let Some(log) = self.gateway.access_log() {
            log.reopen();
        }
        let (loader, board) = (Arc::clone(&self.loader), Arc::clone(&self.gateway.board));
        let shared = Arc::clone(loading);
        let load = move || loader.load_seen(Some(&board.snapshot().generation.fleet), &shared);
        let mut reloaded = Reloaded::default();
        let error = match self.worker.spawn_blocking(load).await {
            Ok(Ok(loaded)) => {
                reloaded.seen = Some(loaded.seen.clone());
                let installed = AssertUnwindSafe(self.install(loaded)).catch_unwind().await;
                let installed = installed.unwrap_or_else(|_| Err(anyhow!("{PANICKED}")));
                installed.err().map(|error| format!("{error:#}"))
            }
            Ok(Err(Refused { seen, .. })) if loading.cancellation().is_canceled() => {
                tracing::info!("a file changed while it was loaded: the load starts again");
                return Reloaded { seen: Some(seen), is_transient: false };
            }
            Ok(Err(Refused { diagnostics, seen, is_transient })) => {
                tracing::debug!("the configuration in use stays:\n{diagnostics}");
                reloaded = Reloaded { seen: Some(seen), is_transient };
                Some(diagnostics.short())
            }
            // A panic in a load counts as a refused configuration.
            Err(_) => Some(PANICKED.into()),
        };
        let result = if error.is_none() { "loaded" } else { "refused" };
        match &error {
            None => tracing::info!("configuration loaded"),
            Some(error) => tracing::error!(error, "configuration refused"),
        }
        self.gateway.board.set_reload(ReloadStatus { last_error: error });
        // The previous generation has been dropped, unless requests in flight hold it. Returns its
        // memory.
        let _ = self.worker.spawn_blocking(memory::give_back).await;
        // Counted last, so that an observer of this counter also sees all other effects of the
        // reload.
        self.gateway.metrics.reload(result);
        reloaded
    }

    async fn install(&self, loaded: Loaded) -> anyhow::Result<()> {
        let before = Arc::clone(&self.gateway.board.snapshot().generation);
        let generation = Arc::clone(&loaded.snapshot.generation);
        equip(&self.gateway, &generation)?;
        let decider = self.decider.clone();
        let install = move || decider.install(loaded.plan);
        if !self.worker.spawn_blocking(install).await? {
            // The old weights stay in use, so the old log and places must, too.
            equip(&self.gateway, &before)?;
            bail!("{PANICKED}");
        }
        self.watch(&generation);
        Ok(())
    }
}

/// Applies the parts of a generation other than its weights: its log, its deployments' places, where
/// their costs are counted, and the signals that its strategies ask for.
fn equip(gateway: &Gateway, generation: &Generation) -> anyhow::Result<()> {
    reload::open_log(gateway, &generation.config)?;
    generation.fleet.loaded();
    gateway.costs.follow(generation.fleet.watched(), &generation.config.time_zone);
    for (model, wanted) in generation.fleet.models.iter().zip(generation.wanted()) {
        model.want(wanted, fleet::now());
    }
    Ok(())
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
