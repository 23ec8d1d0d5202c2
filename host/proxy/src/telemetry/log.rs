//! The gateway's own log, always on standard error: text on a terminal, JSON elsewhere.

use std::io::IsTerminal;
use std::sync::LazyLock;
use std::time::Duration;

use prometheus::IntCounter;
pub use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::lines::Lines;

/// The log of the process.
static LINES: LazyLock<Lines> = LazyLock::new(|| Lines::new(counter()));

fn counter() -> IntCounter {
    let help = "Lines of the gateway's own log that were lost.";
    IntCounter::new("gateway_log_dropped_total", help).expect("a valid name")
}

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

/// Starts the log, panics included. `RUST_LOG` sets the filter; `default` holds if it is not set or
/// invalid.
///
/// A second call has no effect, so that tests can start several gateways in one process.
pub fn init(default: LevelFilter) {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let (targets, error) = match of_all_crates(&asked).parse::<Targets>() {
        Ok(targets) if !asked.is_empty() => (targets, None),
        Ok(_) => (Targets::new().with_default(default), None),
        Err(error) => (Targets::new().with_default(default), Some(error)),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(&*LINES)
        // Reporting on standard error that standard error is gone panics.
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(targets);
    let started = if std::io::stderr().is_terminal() {
        registry.with(lines).try_init()
    } else {
        registry.with(lines.json().flatten_event(true)).try_init()
    };
    if started.is_ok()
        && let Err(error) = LINES.start(std::io::stderr())
    {
        eprintln!("error: the log cannot be written: {error}");
    }
    super::panic::log_panics();
    if let (Ok(()), Some(error)) = (started, error) {
        tracing::warn!(RUST_LOG = asked, %error, %default, "RUST_LOG is not used: write `debug` or `gateway=debug,info`");
    }
}

/// Waits until the log is written, for at most `longest`. Blocks: for the end of the process only.
pub fn flush(longest: Duration) {
    LINES.flush(longest);
}

/// Counts the lines of the log that were lost.
pub(super) fn dropped() -> IntCounter {
    LINES.dropped.clone()
}

/// The directives of a filter. Those of `gateway` are repeated for every crate; those of a module
/// of `gateway` are not.
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
        assert!(filter.parse::<Targets>().is_ok());
    }
}
