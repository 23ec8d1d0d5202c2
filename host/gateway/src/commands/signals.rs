//! Signals of the process: the first SIGINT or SIGTERM stops it in order, the second at once; SIGHUP
//! reloads.

use std::io;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::run::Signals;

/// Signals, received from [`receive`] on. SIGINT and SIGTERM end the process at once, with 128 + their
/// number, unless there is something to stop in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Received {
    /// What a gateway is told of them.
    pub(super) signals: Signals,
    stop: Arc<Notify>,
    /// The next SIGINT or SIGTERM is for [`Self::stopped`].
    in_order: Arc<AtomicBool>,
}

impl Received {
    /// Lets the next SIGINT or SIGTERM be an order to stop. To be called once.
    pub(super) fn stop_in_order(&self) {
        self.in_order.store(true, Ordering::Release);
    }

    /// Ready when that signal has come.
    pub(super) async fn stopped(&self) {
        self.stop.notified().await;
    }
}

/// Receives signals from now on, on a thread of its own: nothing that goes on in the process keeps a
/// second signal from ending it.
///
/// # Errors
/// If the system lets none be received.
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
                exit(128 + kind.as_raw_value());
            }
            told.stop.notify_one();
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(run))?;
    Ok(received)
}
