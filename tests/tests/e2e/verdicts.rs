//! What strategies of contract 0.3.0 say of a request: it is routed with a reason, held until there
//! is room, or refused; what they read of signals; and turns over all cores.

use std::collections::BTreeMap;

use tests::{
    Engine, Gate, Gateway, Raw, Reply, Step, VerdictGuest, eventually, logged, one_model, routed,
};

const WHOLE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
/// To local deployments.
const LOCAL: &str = "(call $route (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 0) (i32.const 0))";
/// To remote ones.
const REMOTE: &str = "(call $route (local.get $locals) (f64.const 0) (local.get $remotes) (f64.const 1) (i32.const 0))";

/// A gateway whose strategy gives this verdict. `more` is a part of `routing.yaml`.
fn gateway(verdict: &str, [local, remote]: [&str; 2], more: &str) -> Gateway {
    let guest = VerdictGuest { signal: "limit", verdict };
    let sandbox = "sandbox: {compile_timeout: 60, call_timeout: 30, request_timeout: 30}";
    let more = format!("guest\n{}\n{more}\n{sandbox}", logged(""));
    tests::setup!()
        .models(one_model(&[local, remote]))
        .file("plugins/guest.wasm", guest.component())
        .routing(routed(&more, &[local], &[remote]))
        .start()
}

/// A chat request with this priority, beside the test.
fn asked(gateway: &Gateway, priority: i32) -> tokio::task::JoinHandle<Reply> {
    let request = gateway.client().post(gateway.url("/v1/chat/completions"));
    let request = request.header("x-priority", priority).body(BODY);
    tokio::spawn(async move {
        let answer = request.send().await.expect("an answer");
        Reply::read(answer).await.expect("a whole answer")
    })
}

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const PRIORITY: &str = "request: {priority_header: x-priority}";

#[tokio::test]
async fn a_refused_request_is_told_when_and_why() {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let verdict = format!(
        "(if (result i32) (i32.lt_s (local.get $priority) (i32.const 0))
            (then (call $refuse (i32.const 7))) (else {LOCAL}))"
    );
    let gateway = gateway(&verdict, [&local.url(), &remote.url()], PRIORITY);
    let refused = asked(&gateway, -1).await.expect("no panic");
    assert_eq!((refused.status, refused.header("retry-after")), (429, "7"), "{}", refused.text());
    let error = refused.error();
    assert_eq!(error["code"], "refused_by_strategy");
    let message = error["message"].as_str().expect("text");
    assert!(message.ends_with("refuses the request: as the test wants it"), "{message}");
    let record = gateway.record(refused.header("x-request-id")).await;
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&"shed".into(), &"as the test wants it".into())
    );
    let routed = asked(&gateway, 0).await.expect("no panic");
    assert_eq!(routed.status, 200);
    let record = gateway.record(routed.header("x-request-id")).await;
    assert_eq!(
        (&record["side"], &record["reason"]),
        (&"local".into(), &"as the test wants it".into())
    );
    assert_eq!(remote.requests().await, 0);
}

#[tokio::test]
async fn a_held_request_takes_the_place_that_becomes_free() {
    let gate = Gate::default();
    let local = Raw::steps(vec![Step::Wait(gate.clone()), Step::send(WHOLE)]);
    let remote = Engine::start("remote");
    // Held while the local deployment is full; to the remote one if it was held in vain.
    let busy =
        "(i32.ge_u (i32.load offset=4 (local.get $local)) (i32.load offset=12 (local.get $local)))";
    let verdict = format!(
        "(if (result i32) (i32.eqz {busy}) (then {LOCAL}) (else
            (if (result i32) (i32.eqz (local.get $held))
                (then (call $hold (i32.const 60000))) (else {REMOTE}))))"
    );
    let more = "concurrency: {local: {max: 1}}";
    let gateway = gateway(&verdict, [&local.url(), &remote.url()], more);
    let first = asked(&gateway, 0);
    let reached = async || (!local.received().is_empty()).then_some(());
    eventually("the first request is there", reached).await;
    let second = asked(&gateway, 0);
    let waits = async || {
        (gateway.metric("gateway_deployment_queued", &[("side", "local")]).await == Some(1.0))
            .then_some(())
    };
    eventually("the second is in line", waits).await;
    gate.open();
    for reply in [first, second] {
        assert_eq!(reply.await.expect("no panic").status, 200);
    }
    assert_eq!((local.received().len(), remote.requests().await), (2, 0));
}

#[tokio::test]
async fn a_request_that_is_held_in_vain_goes_on() {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    // Nothing is full, so the time is over each time. The fourth answer is not asked for.
    let verdict = "(call $hold (i32.const 30))";
    let gateway = gateway(verdict, [&local.url(), &remote.url()], "");
    let reply = gateway.chat("m").await;
    assert_eq!(reply.status, 200);
    let record = gateway.record(reply.header("x-request-id")).await;
    assert!(record["queued_ms"].as_f64() >= Some(90.0), "{record}");
    assert_eq!(record["reason"], serde_json::Value::Null);
}

#[tokio::test]
async fn signals_are_those_of_the_deployments() {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    // The limits of both, in the order of the call.
    let right = "(i32.and (f64.eq (call $signal (i32.const 0)) (f64.const 3))
                          (f64.eq (call $signal (i32.const 1)) (f64.const 5)))";
    let verdict =
        format!("(if (result i32) {right} (then {REMOTE}) (else (call $refuse (i32.const 1))))");
    let more = "concurrency: {local: {max: 3}, remote: {max: 5}}";
    let gateway = gateway(&verdict, [&local.url(), &remote.url()], more);
    assert_eq!(gateway.chat("m").await.status, 200);
    assert_eq!((local.requests().await, remote.requests().await), (0, 1));
}

#[test]
fn an_unknown_signal_is_refused_with_the_known_ones() {
    let engine = Engine::start("only");
    let guest = VerdictGuest { signal: "engine.mood", verdict: LOCAL };
    let url = engine.url();
    let output = tests::setup!()
        .models(one_model(&[&url]))
        .file("plugins/guest.wasm", guest.component())
        .routing(routed("guest\nsandbox: {compile_timeout: 60}", &[&url], &[]))
        .arg("check")
        .output();
    assert!(!output.status.success());
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(
        says.contains("it asks for the signal `engine.mood`; there are engine.running"),
        "{says}"
    );
}

#[tokio::test]
async fn turns_are_exact_over_all_cores() {
    let engines = ["a", "b", "c"].map(Engine::start);
    let urls = engines.each_ref().map(Engine::url);
    let all = urls.each_ref().map(String::as_str);
    let gateway =
        tests::setup!().models(one_model(&all)).routing(routed("round-robin", &all, &[])).start();
    // On connections of their own, so that all cores take some.
    let clients = (0..30).map(|_| asked(&gateway, 0));
    for client in clients.collect::<Vec<_>>() {
        assert_eq!(client.await.expect("no panic").status, 200);
    }
    let mut counts = BTreeMap::new();
    for engine in &engines {
        *counts.entry(engine.requests().await).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([(10, 3)]));
}
