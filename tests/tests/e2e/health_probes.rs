//! What health probes ask, and which answers mean healthy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::SeqCst};

use tests::{Gateway, Raw, Received, eventually, one_model, split};

/// An upstream that answers `GET /health` and the rest as `answer` says: a status and a body.
fn upstream(answer: impl Fn(&Received) -> (u16, &'static str) + Send + Sync + 'static) -> Raw {
    Raw::start(move |received, wire| {
        let (status, body) = answer(received);
        // An answer to HEAD has no body.
        let body = if received.method == "HEAD" { "" } else { body };
        wire.answer(status, body);
    })
}

/// A gateway that probes one local deployment, whose route and entry have these further keys.
fn gateway(upstream: &Raw, route: &str, entry: &str) -> Gateway {
    let url = upstream.url();
    let models = format!("models: [{{id: m, route: [{{base_url: '{url}'{route}}}]}}]");
    let routing = format!(
        "health_check: 0.1\nlocal_deployment: [{{endpoint: '{url}', models: [m]{entry}}}]\n"
    );
    tests::setup!().models(models).routing(routing).start()
}

async fn becomes(gateway: &Gateway, state: &str) -> String {
    let there = async || {
        let shown = gateway.routing().await["models"]["m"]["deployments"][0].clone();
        (shown["state"] == state).then(|| shown["reason"].as_str().unwrap_or_default().to_owned())
    };
    eventually(&format!("the deployment is {state}"), there).await
}

async fn asked(upstream: &Raw, wanted: &str) -> Received {
    let is = |received: &Received| format!("{} {}", received.method, received.path) == wanted;
    eventually(wanted, async || upstream.received().into_iter().find(is)).await
}

#[tokio::test]
async fn probes_carry_the_key() {
    let answer = |received: &Received| match received.header("authorization") {
        Some("Bearer sk-probe-key") => (200, ""),
        _ => (401, ""),
    };
    let upstream = upstream(answer);
    let gateway = gateway(&upstream, ", api_key: sk-probe-key", "");
    let got = asked(&upstream, "GET /health").await;
    assert_eq!(got.header("authorization"), Some("Bearer sk-probe-key"));
    becomes(&gateway, "healthy").await;
}

#[tokio::test]
async fn an_engine_that_loads_is_not_healthy() {
    for (route, entry, body, state) in [
        ("", "", r#"{"status":"loading model"}"#, "unhealthy"),
        ("", "", r#"{"is_sleeping":true}"#, "unhealthy"),
        ("", "", r#"{"status":"ok"}"#, "healthy"),
        ("", ", health: {path: /health, body: ready}", "not yet", "unhealthy"),
        (", health: {body: loading}", "", "loading is fine", "healthy"),
    ] {
        let upstream = upstream(move |_| (200, body));
        let gateway = gateway(&upstream, route, entry);
        asked(&upstream, "GET /health").await;
        let reason = becomes(&gateway, state).await;
        assert!(state == "healthy" || reason.starts_with("probe answered"), "{reason}");
    }
}

#[tokio::test]
async fn statuses_that_mean_healthy_are_set() {
    for (health, status, state) in [
        ("", 204, "healthy"),
        (", health: {status: 204}", 200, "unhealthy"),
        (", health: {status: [200, 503]}", 503, "healthy"),
    ] {
        let upstream = upstream(move |_| (status, ""));
        let gateway = gateway(&upstream, "", health);
        asked(&upstream, "GET /health").await;
        becomes(&gateway, state).await;
    }
}

#[tokio::test]
async fn a_full_deployment_is_not_unhealthy() {
    let status = Arc::new(AtomicU16::new(200));
    let shown = Arc::clone(&status);
    let upstream = upstream(move |_| (shown.load(SeqCst), ""));
    let gateway = gateway(&upstream, "", "");
    let asked_more = async || {
        let before = upstream.received().len();
        let more = async || (upstream.received().len() > before + 4).then_some(());
        eventually("more probes", more).await;
    };
    asked_more().await;
    for full in [429, 529] {
        status.store(full, SeqCst);
        asked_more().await;
        becomes(&gateway, "healthy").await;
    }
    status.store(503, SeqCst);
    becomes(&gateway, "unhealthy").await;
    status.store(429, SeqCst);
    asked_more().await;
    becomes(&gateway, "unhealthy").await;
}

#[tokio::test]
async fn a_head_that_is_not_allowed_is_asked_as_get() {
    let answer =
        |received: &Received| if received.method == "HEAD" { (405, "") } else { (200, "") };
    let upstream = upstream(answer);
    let gateway = gateway(&upstream, ", health: {path: /up, method: HEAD}", "");
    asked(&upstream, "HEAD /up").await;
    asked(&upstream, "GET /up").await;
    becomes(&gateway, "healthy").await;
}

#[tokio::test]
async fn kinds_are_asked_where_they_answer() {
    for (kind, path) in [("ollama", "/"), ("llama", "/health"), ("lmstudio", "/health")] {
        let upstream = upstream(|_| (200, ""));
        let gateway = gateway(&upstream, &format!(", kind: {kind}"), "");
        asked(&upstream, &format!("GET {path}")).await;
        becomes(&gateway, "healthy").await;
    }
    // Where nothing else is known, the list of models tells that an engine is there.
    let missing = |received: &Received| match &*received.path {
        "/v1/models" => (200, r#"{"object":"list","data":[{"id":"sleeping-model"}]}"#),
        _ => (404, ""),
    };
    let upstream = upstream(missing);
    let gateway = gateway(&upstream, "", "");
    asked(&upstream, "GET /v1/models").await;
    becomes(&gateway, "healthy").await;
}

#[tokio::test]
async fn a_named_path_has_no_last_resort() {
    let missing =
        |received: &Received| if received.path == "/v1/models" { (200, "") } else { (404, "") };
    let upstream = upstream(missing);
    let url = upstream.url();
    let routing = split(1.0, &[&url], &[], "health_check: 0.1");
    let models = one_model(&[&url]).replace("base_url", "health: /up\n        base_url");
    let gateway = tests::setup!().models(models).routing(routing).start();
    assert_eq!(becomes(&gateway, "unhealthy").await, "probe answered 404");
}

#[tokio::test]
async fn a_probe_tells_that_the_key_is_refused() {
    let accepts = Arc::new(AtomicBool::new(false));
    let is_accepted = Arc::clone(&accepts);
    let upstream = upstream(move |_| if is_accepted.load(SeqCst) { (200, "") } else { (401, "") });
    let gateway = gateway(&upstream, ", api_key: sk-old", "");
    let reason = becomes(&gateway, "credential").await;
    assert!(reason.contains("probe answered 401") && reason.contains("api_key"), "{reason}");
    // The engine is restarted with the key: the next probe shows it.
    accepts.store(true, SeqCst);
    becomes(&gateway, "half_open").await;
}
