//! The gateway's own log: for people on a terminal, JSON otherwise; always on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts the log, panics included. `RUST_LOG` sets what is shown, `default` what is shown without it.
///
/// A second call has no effect, so that tests can start several gateways in one process.
pub fn init(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Saying on standard error that standard error is gone panics.
        .log_internal_errors(false);
    let started = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    // Already started: see above.
    let _ = started;
    super::panic::log_panics();
}
