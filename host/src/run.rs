//! A gateway from its listener to its end.

use std::future::Future;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{Notify, watch};
use tokio_rustls::rustls::ClientConfig;

use crate::Gateway;
use crate::config::Secret;
use crate::decision::Decider;
use crate::fleet::probe::Probes;
use crate::fleet::{Board, Fleet, ReloadStatus};
use crate::reload::{self, Loaded, Loader, Refused, Seen};
use crate::telemetry::Metrics;

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

/// Serves on `listener` what `loaded` says until `shutdown` is ready, then finishes what is in
/// flight. Files that change are taken up on the way. Blocks.
///
/// # Errors
/// If a thread, a log file or a TLS client cannot be had, and what `shutdown` fails with.
pub fn run(
    listener: &TcpListener,
    loader: Loader,
    loaded: Loaded,
    options: Options,
    signals: &Signals,
    shutdown: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new()?);
    let tls = Arc::new(crate::tls::client()?);
    let Loaded { plan, snapshot, seen } = loaded;
    let first = Arc::clone(&snapshot.generation);
    metrics.publish(&snapshot);
    let board = Arc::new(Board::new(snapshot));
    let decider = Decider::start(plan, Arc::clone(&board), Arc::clone(&metrics))?;
    // The decision thread itself holds the bell: a strong handle in it would keep the thread for ever.
    let listener_of_changes = Arc::new(decider.clone());
    let weak = Arc::downgrade(&listener_of_changes);
    first.fleet.bell.listen(move || weak.upgrade().iter().for_each(|decider| decider.changed()));
    let gateway = Arc::new(Gateway::new(board, metrics, options.admin_token));
    gateway.log_to(first.config.access_log.as_ref()).context("cannot open `logging.output`")?;
    // Dropping the sender stops the cores too, should this thread fail.
    let (stop, stopped) = watch::channel(false);
    let cores = crate::server::start(listener, options.cores.max(1), &gateway, &tls, &stopped)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let control = Control::new(Arc::clone(&gateway), decider, Arc::new(loader), &tls)?;
        control.probe(&first.fleet);
        tokio::select! {
            ended = shutdown => ended,
            () = reload::watch(seen, &signals.reload, async || control.reload().await) => Ok(()),
        }
    });
    gateway.drain();
    stop.send_replace(true);
    tracing::info!("stopping: requests in flight are finished, new ones refused");
    for core in cores {
        if core.join().is_err() {
            tracing::error!("a core had panicked");
        }
    }
    if let Some(log) = gateway.access_log() {
        log.flush();
    }
    ended
}

/// The control side: probes and reloads.
struct Control {
    gateway: Arc<Gateway>,
    decider: Decider,
    loader: Arc<Loader>,
    client: reqwest::Client,
    probes: Mutex<Probes>,
}

impl Control {
    fn new(
        gateway: Arc<Gateway>,
        decider: Decider,
        loader: Arc<Loader>,
        tls: &Arc<ClientConfig>,
    ) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(tls))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_idle_timeout(Duration::from_secs(4))
            .build()?;
        Ok(Self { gateway, decider, loader, client, probes: Mutex::default() })
    }

    /// Probes this fleet from now on, and no other.
    fn probe(&self, fleet: &Fleet) {
        let decider = self.decider.clone();
        let changed: Arc<dyn Fn() + Send + Sync> = Arc::new(move || decider.changed());
        let probing = self.gateway.board.snapshot().generation.config.probing;
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.follow(fleet, probing, &self.client, &changed);
    }

    /// One reload. On any error what is in use stays, and the log and `/routing` say what is wrong.
    /// Gives the files that it went by; None: nobody knows.
    async fn reload(&self) -> Option<Seen> {
        if let Some(log) = self.gateway.access_log() {
            log.reopen();
        }
        let (loader, board) = (Arc::clone(&self.loader), Arc::clone(&self.gateway.board));
        let load = move || loader.load(Some(&board.snapshot().generation.fleet));
        let (error, seen) = match tokio::task::spawn_blocking(load).await {
            Ok(Ok(loaded)) => {
                let seen = loaded.seen.clone();
                (self.install(loaded).await.err().map(|error| format!("{error:#}")), Some(seen))
            }
            Ok(Err(Refused { diagnostics, seen })) => {
                tracing::debug!("what was in use stays in use:\n{diagnostics}");
                (Some(diagnostics.short()), Some(seen))
            }
            // A panic in a load is a load that failed.
            Err(panic) => (Some(panic.to_string()), None),
        };
        let result = if error.is_none() { "loaded" } else { "refused" };
        match &error {
            None => tracing::info!("configuration loaded"),
            Some(error) => tracing::error!(error, "configuration refused"),
        }
        self.gateway.board.set_reload(ReloadStatus { last_error: error });
        // Last, so that who sees it counted sees the rest too.
        self.gateway.metrics.reload(result);
        seen
    }

    async fn install(&self, loaded: Loaded) -> anyhow::Result<()> {
        let generation = Arc::clone(&loaded.snapshot.generation);
        let output = generation.config.access_log.as_ref();
        self.gateway.log_to(output).context("cannot open `logging.output`")?;
        generation.fleet.loaded(Instant::now());
        let decider = self.decider.clone();
        tokio::task::spawn_blocking(move || decider.install(loaded.plan)).await?;
        self.probe(&generation.fleet);
        Ok(())
    }
}
