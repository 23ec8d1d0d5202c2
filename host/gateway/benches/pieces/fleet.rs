//! A fleet and its snapshot, loaded as the gateway loads them.

use std::sync::Arc;

use bytes::Bytes;
use gateway::Loader;

use config::Paths;
use fleet::Snapshot;
use http1::scan;
use proxy::bench::Arrived;
use proxy::telemetry::Metrics;
use sandbox::Compiler;

use super::scan::chat;

/// Loads a model with this strategy and number of deployments, half of them local. The time-outs of
/// calls are longer than the gateway's, because valgrind takes fifty times as long.
fn snapshot(deployments: usize, strategy: &str) -> Snapshot {
    let entries = |side: &str, count: usize| -> String {
        let entry = |at| {
            format!(
                "  - {{endpoint: 'http://{side}-{at}:8000', models: [llama-3.3-70b-instruct]}}\n"
            )
        };
        (0..count).map(entry).collect()
    };
    let local = deployments / 2;
    let routing = format!(
        "routing_strategy: {strategy}\n\
         sandbox: {{call_timeout: 10, request_timeout: 1, compile_timeout: 300, cpu_share: 1}}\n\
         local_deployment:\n{}remote_deployment:\n{}",
        entries("local", local),
        entries("remote", deployments - local),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let paths = Paths {
        models: folder.path().join("models.yaml"),
        routing: folder.path().join("routing.yaml"),
        routing_required: true,
    };
    std::fs::write(&paths.models, "models: [{id: llama-3.3-70b-instruct}]").expect("written");
    std::fs::write(&paths.routing, routing).expect("written");
    let loader =
        Loader::new(paths, folder.path().to_owned(), Compiler::InProcess).expect("a sandbox");
    let loaded = loader.load(None).map_err(|refused| refused.diagnostics.to_string());
    loaded.expect("a good configuration").snapshot
}

/// A parsed request of 1 KB for such a model.
pub(super) fn arrived(deployments: usize, strategy: &str) -> Arrived {
    let body = Bytes::from(chat(1 << 10));
    let scan = scan(&body).expect("a good body");
    let metrics = Arc::new(Metrics::new().expect("unique names of metrics"));
    Arrived::new(body, scan, Arc::new(snapshot(deployments, strategy)), metrics)
}
