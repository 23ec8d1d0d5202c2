//! The gateway's own log: for people on a terminal, JSON otherwise; always on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The crates of the gateway. In `RUST_LOG` the word `gateway` stands for all of them.
const CRATES: [&str; 10] = [
    "gateway",
    "answers",
    "config",
    "fleet",
    "http1",
    "lab",
    "proxy",
    "routing",
    "sandbox",
    "stub_engine",
];

/// Starts the log, panics included. `RUST_LOG` sets what is shown, `default` what is shown without it.
///
/// A second call has no effect, so that tests can start several gateways in one process.
pub fn init(default: &str) {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let asked = asked.and_then(|filter| EnvFilter::try_new(of_all_crates(&filter)).ok());
    let filter = asked.unwrap_or_else(|| EnvFilter::new(default));
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

/// The directives of a filter, those of `gateway` alone repeated for every crate.
fn of_all_crates(filter: &str) -> String {
    let repeated = |directive: &str| match directive.trim().strip_prefix("gateway") {
        Some(level) if level.is_empty() || level.starts_with('=') => {
            CRATES.map(|name| format!("{name}{level}")).join(",")
        }
        _ => directive.to_owned(),
    };
    filter.split(',').map(repeated).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_stands_for_all_crates() {
        let filter = of_all_crates("warn,gateway=debug,gateway::run=trace,hyper=info");
        assert!(filter.starts_with("warn,gateway=debug,answers=debug,"), "{filter}");
        assert!(filter.ends_with("stub_engine=debug,gateway::run=trace,hyper=info"), "{filter}");
        assert_eq!(of_all_crates("info"), "info");
        assert!(EnvFilter::try_new(filter).is_ok());
    }
}
