//! Health probes: what they ask, how results change a deployment's state, and how a state changes
//! the weights.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;
use tests::{Engine, Gate, Gateway, Raw, Traffic, eventually, let_pass, one_model, split};

/// An upstream that answers every probe as `answer` says of its number, from 0, and any other
/// request with 200.
fn probed(answer: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Raw {
    let number = AtomicUsize::new(0);
    Raw::start(move |received, wire| match received.path.starts_with("/v1/") {
        true => wire.answer(200, "{}"),
        false => wire.answer(answer(number.fetch_add(1, SeqCst)), ""),
    })
}

/// Probes that an upstream got so far, as `GET /health`.
fn probes(upstream: &Raw) -> Vec<String> {
    let received = upstream.received().into_iter();
    let probes = received.filter(|request| !request.path.starts_with("/v1/"));
    probes.map(|request| format!("{} {}", request.method, request.path)).collect()
}

async fn probed_more(upstream: &Raw, more: usize) {
    let enough = probes(upstream).len() + more;
    let come = async || (probes(upstream).len() >= enough).then_some(());
    eventually("the probes", come).await;
}

/// What `/routing` says of the nth deployment of the model `m`.
async fn shown(gateway: &Gateway, nth: usize) -> Value {
    gateway.routing().await["models"]["m"]["deployments"][nth].clone()
}

async fn becomes(gateway: &Gateway, nth: usize, state: &str) -> Value {
    let there = async || Some(shown(gateway, nth).await).filter(|shown| shown["state"] == state);
    eventually(&format!("deployment {nth} is {state}"), there).await
}

/// The weights of the model `m` in the order of the files.
async fn weights(gateway: &Gateway) -> Vec<f64> {
    let routing = gateway.routing().await;
    let deployments = routing["models"]["m"]["deployments"].as_array().expect("deployments");
    deployments.iter().map(|shown| shown["weight"].as_f64().expect("a number")).collect()
}

#[tokio::test]
async fn killed_engine_costs_no_request_and_comes_back() {
    let (mut local, remote) = (Engine::start("local"), Engine::start("remote"));
    let (l, r) = (local.url(), remote.url());
    let routing = split(0.6, &[&l], &[&r], "health_check: 0.2\ntimeout: 5");
    let gateway = tests::setup!().models(one_model(&[&l, &r])).routing(routing).start();
    let traffic = Traffic::start(&gateway, "m", 4);
    traffic.more(200).await;
    assert_eq!(weights(&gateway).await, [0.6, 0.4]);
    let before = shown(&gateway, 0).await;
    assert_eq!((&before["state"], &before["reason"]), (&"healthy".into(), &Value::Null));

    local.stop();
    let down = becomes(&gateway, 0, "unhealthy").await;
    assert_eq!(weights(&gateway).await, [0.0, 1.0]);
    assert_eq!(down["reason"], "probe could not connect");
    assert!(down["since"].as_str() > before["since"].as_str(), "{before} {down}");
    traffic.more(100).await;

    local.restart();
    let up = becomes(&gateway, 0, "healthy").await;
    assert_eq!(weights(&gateway).await, [0.6, 0.4]);
    assert_eq!(up["reason"], Value::Null);
    assert!(up["since"].as_str() > down["since"].as_str(), "{down} {up}");
    let asked = async || (local.requests().await > 0).then_some(());
    eventually("traffic to the engine that came back", asked).await;
    let tally = traffic.stop().await;
    assert_eq!(tally.failures, [""; 0]);
    assert!(tally.total() > 300, "{:?}", tally.answered);
}

#[tokio::test]
async fn health_changes_weights_and_they_come_back_exactly() {
    let engines = ["a", "b", "remote"].map(Engine::start);
    let [a, b, r] = engines.each_ref().map(Engine::url);
    let routing = split(0.6, &[&a, &b], &[&r], "health_check: 0.05");
    let gateway = tests::setup!().models(one_model(&[&a, &b, &r])).routing(routing).start();
    let all = weights(&gateway).await;
    assert_eq!(all, [0.3, 0.3, 0.4]);
    for _ in 0..2 {
        engines[1].set(serde_json::json!({"healthy": false})).await;
        assert_eq!(becomes(&gateway, 1, "unhealthy").await["reason"], "probe answered 503");
        assert_eq!(weights(&gateway).await, [0.6, 0.0, 0.4]);
        engines[0].set(serde_json::json!({"healthy": false})).await;
        becomes(&gateway, 0, "unhealthy").await;
        assert_eq!(weights(&gateway).await, [0.0, 0.0, 1.0]);
        for engine in &engines[..2] {
            engine.set(serde_json::json!({"healthy": true})).await;
        }
        becomes(&gateway, 0, "healthy").await;
        becomes(&gateway, 1, "healthy").await;
        assert_eq!(weights(&gateway).await, all);
    }
}

#[tokio::test]
async fn consecutive_results_change_state() {
    const ANSWERS: [u16; 12] = [503, 200, 204, 200, 404, 302, 500, 200, 503, 503, 200, 200];
    for (settings, changes) in [
        // Down by the 6th, up by the 8th, down by the 10th, up by the 11th.
        ("", [false, true, false, true].as_slice()),
        // Down by the 7th, up by the 12th.
        ("health: {down_after: 3, up_after: 2}", &[false, true]),
        ("health: {down_after: 4}", &[]),
    ] {
        let upstream = probed(|number| ANSWERS.get(number).copied().unwrap_or(200));
        let url = upstream.url();
        let more = format!("health_check: 0.02\n{settings}");
        // A path that is named has no last resort.
        let models = one_model(&[&url]) + "        health: /health\n";
        let setup = tests::setup!().models(models);
        let gateway = setup.routing(split(1.0, &[&url], &[], &more)).start();
        // The next probe is sent after the result of this one was recorded.
        probed_more(&upstream, ANSWERS.len() + 1).await;
        let log = gateway.log();
        let lines = log.lines().filter(|line| line.contains("health changed"));
        let seen: Vec<bool> = lines.map(|line| line.contains(r#""up":true"#)).collect();
        assert_eq!(seen, changes, "{settings}\n{log}");
    }
}

#[tokio::test]
async fn hung_probe_delays_no_other_and_times_out() {
    let hung = Raw::start(|_, wire| wire.hang());
    let mut engine = Engine::start("local");
    let (h, e) = (hung.url(), engine.url());
    let routing = |more| split(1.0, &[&h, &e], &[], &format!("health_check: 0.05\n{more}"));
    let setup = tests::setup!().models(one_model(&[&h, &e]));
    let gateway = setup.routing(routing("timeout: 600")).start();
    eventually("a probe that hangs", async || (!probes(&hung).is_empty()).then_some(())).await;
    engine.stop();
    becomes(&gateway, 1, "unhealthy").await;
    engine.restart();
    becomes(&gateway, 1, "healthy").await;
    assert_eq!(shown(&gateway, 0).await["state"], "healthy", "nobody knows yet");
    assert_eq!(probes(&hung).len(), 1, "one at a time");

    gateway.replace("config/routing.yaml", routing("timeout: 1"));
    let down = becomes(&gateway, 0, "unhealthy").await;
    assert_eq!(down["reason"], "no answer to a probe within 1s");
    assert_eq!(weights(&gateway).await, [0.0, 1.0]);
}

#[tokio::test]
async fn probes_ask_what_is_configured_and_nobody_else() {
    let upstreams: Vec<Raw> = (0..5).map(|_| probed(|_| 200)).collect();
    let urls: Vec<String> = upstreams.iter().map(Raw::url).collect();
    let [default, local, silent, remote, route] = &urls[..] else { unreachable!("five") };
    let models = format!(
        "models:\n  - id: m\n    route:\n\
         \x20     - {{base_url: {default}/v1}}\n      - {{base_url: {local}/openai/v1}}\n\
         \x20     - {{base_url: {silent}}}\n      - {{base_url: {remote}}}\n\
         \x20     - {{base_url: {route}, side: remote, weight: 1, health: /from-models}}\n"
    );
    let routing = format!(
        "health_check: 0.02\nlocal_deployment:\n\
         \x20 - {{endpoint: {default}/v1, models: [m]}}\n\
         \x20 - {{endpoint: {local}/openai, models: [m], health: {{path: /live, method: HEAD}}}}\n\
         remote_deployment:\n\
         \x20 - {{endpoint: {silent}, models: [m]}}\n\
         \x20 - {{endpoint: {remote}, models: [m], health: /ready}}\n"
    );
    let _gateway = tests::setup!().models(models).routing(routing).start();
    // If the interval were rounded up to a second, 60 probes would take longer than `DEADLINE`.
    probed_more(&upstreams[0], 60).await;
    for (nth, wanted) in [(0, "GET /health"), (1, "HEAD /live"), (3, "GET /ready")] {
        probed_more(&upstreams[nth], 1).await;
        let probes = probes(&upstreams[nth]);
        assert!(probes.iter().all(|probe| probe == wanted), "{nth}: {probes:?}");
    }
    probed_more(&upstreams[4], 1).await;
    assert_eq!(probes(&upstreams[4])[0], "GET /from-models");
    assert_eq!(upstreams[2].connections(), 0, "a remote one without `health`");
}

#[tokio::test]
async fn no_interval_means_no_probes() {
    let upstream = probed(|_| 503);
    let url = upstream.url();
    let routing = |more| split(1.0, &[&url], &[], more);
    let setup = tests::setup!().models(one_model(&[&url]));
    let gateway = setup.routing(routing("health_check: 0.05")).start();
    assert_eq!(becomes(&gateway, 0, "unhealthy").await["reason"], "probe answered 503");
    gateway.replace("config/routing.yaml", routing("health_check: 0"));
    gateway.loaded_since(0).await;
    // Without probes an old result would stay for ever, so it is dropped.
    assert_eq!(shown(&gateway, 0).await["state"], "healthy");
    assert_eq!(weights(&gateway).await, [1.0]);
    let count = probes(&upstream).len();
    // Ten times the interval of before.
    let_pass(Duration::from_millis(500)).await;
    assert!(probes(&upstream).len() <= count + 1, "one may have been under way");
    gateway.replace("config/routing.yaml", routing("health_check: 0.05"));
    probed_more(&upstream, 5).await;
    becomes(&gateway, 0, "unhealthy").await;
}

#[tokio::test]
async fn with_nobody_eligible_all_are_used() {
    let (local, remote) = (probed(|_| 503), probed(|_| 503));
    let (l, r) = (local.url(), remote.url());
    let routing = split(0.6, &[&l], &[&r], "    health: /health\nhealth_check: 0.05");
    let gateway = tests::setup!().models(one_model(&[&l, &r])).routing(routing).start();
    let panic = async || gateway.routing().await["models"]["m"]["panic"] == true;
    eventually("panic mode", async || panic().await.then_some(())).await;
    assert_eq!(weights(&gateway).await, [0.6, 0.4]);
    for nth in 0..2 {
        assert_eq!(shown(&gateway, nth).await["state"], "unhealthy");
    }
    let tally = Traffic::of(&gateway, "m", 4, 200).await;
    assert_eq!(tally.failures, [""; 0]);
    let asked = |upstream: &Raw| upstream.received().len() - probes(upstream).len();
    assert!(asked(&local) > asked(&remote) && asked(&remote) > 40, "{:?}", tally.answered);
}

#[tokio::test]
async fn hung_probe_ends_despite_reloads() {
    let gate = Gate::default();
    let opened = gate.clone();
    let hung = Raw::start(move |_, _| opened.wait());
    let (h, other) = (hung.url(), "http://127.0.0.1:1");
    let more = "health_check: 0.1\ntimeout: 2\nhealth: {down_after: 1}";
    let routing = |fraction| split(fraction, &[&h], &[other], more);
    let setup = tests::setup!().models(one_model(&[&h, other]));
    let gateway = setup.routing(routing(0.5)).start();
    let mut edits = 0;
    eventually("the hung one is down, while files change all the time", async || {
        edits += 1;
        gateway.replace("config/routing.yaml", routing(if edits % 2 == 0 { 0.5 } else { 0.6 }));
        gateway.loaded_since(edits - 1).await;
        (shown(&gateway, 0).await["state"] == "unhealthy").then_some(())
    })
    .await;
    assert!(edits > 2, "{edits} edits");
    gate.open();
}
