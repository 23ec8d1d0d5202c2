//! Helpers of the end-to-end tests: the real gateway on port 0, engines, clients and load.
//!
//! ```text
//! client (reqwest) -> Gateway: a process of its own -> Engine: the stub engine of `gateway stub`
//!                                                      StubProcess: the same as a process
//!                                                      Raw:    a scripted socket
//!                                                      Port:   nobody listens
//! ```
//!
//! Engines and raw upstreams run on threads of their own, so that a test may block.
//!
//! A test waits for a condition ([`eventually`]), never for a time, because a time that is enough
//! on a quiet machine is too short on a busy one. [`DEADLINE`] ends a test that hangs; nothing else
//! is measured against it. [`let_pass`] is for tests that something does *not* happen: waiting
//! longer cannot fail them.

mod chromium;
mod client;
mod dialog;
mod engine;
mod gateway;
mod guest;
mod nginx;
mod port;
mod process;
mod raw;
mod steady;
mod strict;
mod telemetry;
mod toolchain;
mod traffic;
mod usage;

use std::time::{Duration, Instant};

pub use chromium::{Chromium, Page};
pub use client::{Reply, client};
pub use dialog::Dialog;
pub use engine::{Engine, EngineOptions};
pub use gateway::{Gateway, Log, Setup};
pub use guest::{CoreGuest, VerdictGuest, component, guest, guests, text as guest_text};
pub use nginx::Nginx;
pub use port::Port;
pub use process::StubProcess;
pub use raw::{Gate, Raw, Received, Step, Wire};
pub use steady::Steady;
pub use strict::Strict;
pub use telemetry::{ACCESS_LOG, outcomes};
use toolchain::{CHROMIUM, NGINX};
pub use toolchain::{CLANG, COMPILING, NODE, PYTHON, RUST, Toolchain, ZIG, try_out};
pub use traffic::{Tally, Traffic};

/// How long anything that must happen may take before a test fails.
///
/// Less than the gateway's default time-outs of 60 s and more: a test of a shorter time-out cannot
/// pass by the default.
pub const DEADLINE: Duration = Duration::from_secs(45);

/// A [`Setup`] of this crate's gateway binary. Cargo tells its path, and a folder for temporary
/// files, only to the tests themselves.
#[macro_export]
macro_rules! setup {
    () => {
        $crate::Setup::new(env!("CARGO_BIN_EXE_gateway-under-test"), env!("CARGO_TARGET_TMPDIR"))
    };
}

/// The path of the same binary.
#[macro_export]
macro_rules! gateway {
    () => {
        env!("CARGO_BIN_EXE_gateway-under-test")
    };
}

/// A [`StubProcess`] of the same binary: `stub_process!("--name", "a")`.
#[macro_export]
macro_rules! stub_process {
    ($($option:expr),*) => {
        $crate::StubProcess::start(env!("CARGO_BIN_EXE_gateway-under-test"), &[$($option),*])
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

/// Gives something that must not happen the time to happen.
pub async fn let_pass(time: Duration) {
    tokio::time::sleep(time).await;
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
    let strategy = format!("fixed\nrouting_parameter:\n  local_fraction: {local_fraction}");
    format!("{}{more}\n", routed(&strategy, local, remote))
}

/// A `routing.yaml` for the model `m`: `routing_strategy`, with further lines if it has some, and
/// these deployments.
#[must_use]
pub fn routed(strategy: &str, local: &[&str], remote: &[&str]) -> String {
    let entry = |url: &&str| format!("\n  - endpoint: {url}\n    models: [m]");
    let list = |urls: &[&str]| -> String {
        match urls {
            [] => " []".into(),
            _ => urls.iter().map(entry).collect(),
        }
    };
    let (local, remote) = (list(local), list(remote));
    format!("routing_strategy: {strategy}\nlocal_deployment:{local}\nremote_deployment:{remote}\n")
}

/// A `models.yaml` whose models are tried in the order of their urls: the first has all weight and
/// the name `first`, the others are on standby.
#[must_use]
pub fn in_order(models: &[(&str, &[&str])]) -> String {
    const NAMES: [&str; 3] = ["first", "second", "third"];
    let route = |(n, url): (usize, &&str)| {
        let (name, weight) = (NAMES[n], u8::from(n == 0));
        format!("      - {{base_url: '{url}', name: {name}, weight: {weight}}}\n")
    };
    let model = |(id, urls): &(&str, &[&str])| {
        let routes: String = urls.iter().enumerate().map(route).collect();
        format!("  - id: {id}\n    route:\n{routes}")
    };
    format!("models:\n{}", models.iter().map(model).collect::<String>())
}

/// A `routing.yaml` that changes no weights: the access log, and lines of `more`.
#[must_use]
pub fn logged(more: &str) -> String {
    format!("logging: {{output: {ACCESS_LOG}}}\n{more}\n")
}
