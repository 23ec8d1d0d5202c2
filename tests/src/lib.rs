//! The real gateway on port 0, engines, and everything else the end-to-end tests stand on.
//!
//! ```text
//! client (reqwest) -> Gateway: a process of its own -> Engine: the stub engine of `gateway stub`
//!                                                      Raw:    a scripted socket that tells what it got
//!                                                      Port:   nobody listens
//! ```
//!
//! Engines and raw upstreams run on threads of their own, so that a test may block. Nothing sleeps for
//! a fixed time and hopes: [`eventually`] polls until a bounded deadline.

mod client;
mod engine;
mod gateway;
mod port;
mod raw;
mod strict;

use std::time::{Duration, Instant};

pub use client::{Reply, client};
pub use engine::Engine;
pub use gateway::{Gateway, Log, Setup};
pub use port::Port;
pub use raw::{Gate, Raw, Received, Step, Wire};
pub use strict::Strict;

/// How long anything that must happen may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A [`Setup`] of this crate's gateway binary, whose path Cargo tells only to the tests themselves.
#[macro_export]
macro_rules! setup {
    () => {
        $crate::Setup::new(env!("CARGO_BIN_EXE_gateway-under-test"))
    };
}

/// Polls until `condition` gives something.
///
/// # Panics
/// After [`DEADLINE`], with `what`.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A `models.yaml` with one model, `m`, whose routes are at `urls`, with weight 1 each.
#[must_use]
pub fn one_model(urls: &[&str]) -> String {
    let routes: String = urls.iter().map(|url| format!("      - base_url: {url}\n")).collect();
    format!("models:\n  - id: m\n    route:\n{routes}")
}

/// A `routing.yaml` for the model `m`: these deployments, `local_fraction`, and lines of `more`.
#[must_use]
pub fn split(local_fraction: f64, local: &[&str], remote: &[&str], more: &str) -> String {
    let list = |urls: &[&str]| -> String {
        urls.iter().map(|url| format!("  - endpoint: {url}\n    models: [m]\n")).collect()
    };
    format!(
        "routing_strategy: fixed\nrouting_parameter:\n  local_fraction: {local_fraction}\n\
         local_deployment:\n{}remote_deployment:\n{}{more}\n",
        list(local),
        list(remote),
    )
}
