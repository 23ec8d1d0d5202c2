//! Signals of the process. The first SIGINT or SIGTERM stops it in order. The second ends it at
//! once. SIGHUP reloads.

use std::io;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::run::Signals;

/// How long the last lines of the log may take at a second signal.
const LAST_LINES: Duration = Duration::from_millis(100);

/// The signals received since [`receive`]. SIGINT and SIGTERM end the process at once, except for
/// the one that [`Self::stop_in_order`] expects. The exit code is 128 plus the signal's number.
#[derive(Debug, Clone, Default)]
pub(super) struct Received {
    /// The notifications to the gateway.
    pub(super) signals: Signals,
    stop: Arc<Notify>,
    /// True if the next SIGINT or SIGTERM is for [`Self::stopped`].
    in_order: Arc<AtomicBool>,
}

impl Received {
    /// Makes the next SIGINT or SIGTERM an order to stop. Must be called at most once.
    pub(super) fn stop_in_order(&self) {
        self.in_order.store(true, Ordering::Release);
    }

    /// Ready when the order to stop has arrived.
    pub(super) async fn stopped(&self) {
        self.stop.notified().await;
    }
}

/// Starts to receive signals, on a separate thread. So a second signal ends the process even if all
/// other threads hang.
///
/// # Errors
/// If the system refuses a signal handler or a thread.
pub(super) fn receive() -> io::Result<Received> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(entered);
    let received = Received::default();
    let told = received.clone();
    let run = async move {
        loop {
            let kind = tokio::select! {
                Some(()) = interrupt.recv() => SignalKind::interrupt(),
                Some(()) = terminate.recv() => SignalKind::terminate(),
                Some(()) = hangup.recv() => {
                    told.signals.reload.notify_one();
                    continue;
                }
                else => return,
            };
            if !told.in_order.swap(false, Ordering::AcqRel) {
                proxy::telemetry::flush_log(LAST_LINES);
                exit(128 + kind.as_raw_value());
            }
            told.stop.notify_one();
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(run))?;
    Ok(received)
}
