//! Signals of the process: SIGINT and SIGTERM stop it, SIGHUP reloads.

use std::future::Future;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::run::Signals;

/// Ready when the process is to stop; passes SIGHUP on until then. Must be awaited inside a runtime.
///
/// `listening` is called once signals are received: before that, they would end the process.
pub(super) fn shutdown<F: FnOnce()>(
    signals: &Signals,
    listening: F,
) -> impl Future<Output = ()> + use<F> {
    let reload = Arc::clone(&signals.reload);
    async move {
        let received = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        );
        listening();
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = received else {
            tracing::error!("signals cannot be received");
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => return,
                Some(()) = hangup.recv() => reload.notify_one(),
            }
        }
    }
}
