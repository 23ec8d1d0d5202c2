//! Signals of the process: SIGINT and SIGTERM stop it, SIGHUP reloads.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::run::Signals;

/// Receives signals from now on. The future is ready when the process is to stop, and passes SIGHUP on
/// until then.
///
/// # Errors
/// If the system lets none be received.
///
/// # Panics
/// Outside a tokio runtime.
pub(super) fn receive(signals: &Signals) -> io::Result<impl Future<Output = ()> + use<>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let reload = Arc::clone(&signals.reload);
    Ok(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => return,
                Some(()) = hangup.recv() => reload.notify_one(),
            }
        }
    })
}
