//! Limits of requests, queues, bodies and connections: what is admitted is served, the rest is
//! refused at once.

use std::time::Duration;

use tests::{
    Dialog, Engine, EngineOptions, Gate, Gateway, Port, Raw, Reply, Step, eventually, in_order,
    logged, one_model, outcomes,
};

const WHOLE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
const REQUEST: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 27\r\n\r\n{\"model\":\"m\",\"messages\":[]}";

/// An upstream whose answers all wait for the gate.
fn gated() -> (Gate, Raw) {
    let gate = Gate::default();
    let upstream = Raw::steps(vec![Step::Wait(gate.clone()), Step::send(WHOLE)]);
    (gate, upstream)
}

fn gateway(upstreams: &[&str], more: &str) -> Gateway {
    let models = in_order(&[("m", upstreams)]);
    tests::setup!().models(models).routing(logged(more)).start()
}

/// A chat request that runs beside the test.
fn asked(gateway: &Gateway) -> tokio::task::JoinHandle<Reply> {
    let request = gateway.client().post(gateway.url("/v1/chat/completions"));
    let request = request.body(r#"{"model":"m","messages":[]}"#);
    tokio::spawn(async move {
        let answer = request.send().await.expect("an answer");
        Reply::read(answer).await.expect("a whole answer")
    })
}

async fn reached(upstream: &Raw, requests: usize) {
    let come = async || (upstream.received().len() >= requests).then_some(());
    eventually("the requests reach the upstream", come).await;
}

/// Waits until this many requests are queued.
async fn queued(gateway: &Gateway, requests: f64) {
    let name = "gateway_deployment_queued";
    let waiting = async || (gateway.metric(name, &[]).await == Some(requests)).then_some(());
    eventually("the requests wait in line", waiting).await;
}

fn is_overload(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.error()["code"], "overloaded");
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(reply.header("x-should-retry"), "", "trying again does help");
}

#[tokio::test]
async fn deployment_has_a_limit_and_a_queue() {
    let (gate, first) = gated();
    let second = Raw::answering(200, r#"{"second":true}"#);
    let limits = "concurrency: {max: 2, queue: 1, wait: 3600}";
    let gateway = gateway(&[&first.url(), &second.url()], limits);
    let placed = [asked(&gateway), asked(&gateway)];
    reached(&first, 2).await;
    let waiting = asked(&gateway);
    queued(&gateway, 1.0).await;
    // A request that finds the queue full goes to the next deployment; that costs no attempt.
    let over = gateway.chat("m").await;
    assert_eq!(over.json()["second"], true);
    let record = gateway.record(over.header("x-request-id")).await;
    let want = [("first", "queue_full"), ("second", "ok")];
    assert_eq!(outcomes(&record), want.map(|(name, how)| (name.to_owned(), how.to_owned())));
    gate.open();
    for reply in placed {
        assert_eq!(reply.await.expect("no panic").status, 200);
    }
    let waited = waiting.await.expect("no panic");
    assert_eq!((waited.status, waited.text().as_str()), (200, "{}"));
    let record = gateway.record(waited.header("x-request-id")).await;
    assert!(record["queued_ms"].as_f64() > Some(0.0), "{record}");
    assert_eq!(first.received().len(), 3);
    assert_eq!(gateway.metric("gateway_deployment_overflow_total", &[]).await, Some(1.0));
}

#[tokio::test]
async fn full_deployments_and_queues_refuse_at_once() {
    let (gate, upstream) = gated();
    let gateway = gateway(&[&upstream.url()], "concurrency: {max: 1, queue: 0}");
    let placed = asked(&gateway);
    reached(&upstream, 1).await;
    for _ in 0..3 {
        is_overload(&gateway.chat("m").await);
    }
    assert_eq!(gateway.metric("gateway_shed_total", &[("reason", "concurrency")]).await, Some(3.0));
    gate.open();
    assert_eq!(placed.await.expect("no panic").status, 200);
    assert_eq!(gateway.chat("m").await.status, 200, "the place is free again");
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test]
async fn queued_request_falls_back_after_its_wait() {
    let (_gate, first) = gated();
    let second = Raw::answering(200, "{}");
    let limits = "concurrency: {max: 1, queue: 5, wait: 0.2}";
    let gateway = gateway(&[&first.url(), &second.url()], limits);
    let placed = asked(&gateway);
    reached(&first, 1).await;
    let reply = gateway.chat("m").await;
    let record = gateway.record(reply.header("x-request-id")).await;
    let want = [("first", "queue_timeout"), ("second", "ok")];
    assert_eq!(outcomes(&record), want.map(|(name, how)| (name.to_owned(), how.to_owned())));
    assert!(record["queued_ms"].as_f64() >= Some(200.0), "{record}");
    placed.abort();
}

#[tokio::test]
async fn total_timeout_ends_a_queued_request() {
    let (_gate, upstream) = gated();
    let limits = "concurrency: {max: 1, queue: 5, wait: 3600}";
    let gateway = gateway(&[&upstream.url()], limits);
    // The first request keeps the `total` of its arrival.
    let placed = asked(&gateway);
    reached(&upstream, 1).await;
    let before = gateway.reloads("loaded").await;
    gateway.write("config/routing.yaml", logged(&format!("{limits}\ntimeouts: {{total: 0.5}}")));
    gateway.loaded_since(before).await;
    let reply = gateway.chat("m").await;
    assert_eq!((reply.status, &reply.error()["code"]), (504, &"timeout_total".into()));
    assert_eq!(upstream.received().len(), 1, "nothing is asked for a request that is over");
    placed.abort();
}

#[tokio::test]
async fn queued_request_is_told_the_cooling_time() {
    let gate = Gate::default();
    let head = "HTTP/1.1 429 X\r\nretry-after: 300\r\ncontent-length: 0\r\n\r\n";
    let upstream = Raw::steps(vec![Step::Wait(gate.clone()), Step::send(head)]);
    let models = format!(
        "models:\n  - {{id: m, route: [{{base_url: '{}', name: first, weight: 1, side: remote}}]}}\n",
        upstream.url()
    );
    let routing = logged("concurrency: {max: 1, queue: 5, wait: 3600}");
    let gateway = tests::setup!().models(models).routing(routing).start();
    let placed = asked(&gateway);
    reached(&upstream, 1).await;
    let waiting = asked(&gateway);
    queued(&gateway, 1.0).await;
    gate.open();
    assert_eq!(placed.await.expect("no panic").status, 429);
    let sent_away = waiting.await.expect("no panic");
    let wait: u32 = sent_away.header("retry-after").parse().expect("seconds");
    assert!(sent_away.status == 503 && (200..=300).contains(&wait), "{}", sent_away.text());
    let shed = gateway.metric("gateway_shed_total", &[("reason", "concurrency")]).await;
    assert_eq!(shed, Some(0.0), "no want of room");
}

#[tokio::test]
async fn queue_of_an_unhealthy_deployment_is_emptied() {
    let (_gate, first) = gated();
    let second = Raw::answering(200, "{}");
    let models = format!(
        "models:\n  - id: m\n    route:\n      - {{base_url: '{}', name: first, weight: 1, health: /h}}\n      \
         - {{base_url: '{}', name: second, weight: 0, side: remote}}\n",
        first.url(),
        second.url()
    );
    // The probe waits for the gate as well, so three failed probes make the deployment unhealthy.
    // The queued requests would wait for an hour.
    let routing = "health_check: 0.3\ntimeout: 0.3\nhealth: {down_after: 3}\n\
                   concurrency: {max: 1, queue: 5, wait: 3600}";
    let gateway = tests::setup!().models(models).routing(logged(routing)).start();
    let placed = asked(&gateway);
    // Probes reach it as well.
    let is_chat = |request: &tests::Received| request.path == "/v1/chat/completions";
    let come = async || first.received().iter().any(is_chat).then_some(());
    eventually("the request reaches the upstream", come).await;
    let waiting = [asked(&gateway), asked(&gateway)];
    for reply in waiting {
        let reply = reply.await.expect("no panic");
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    }
    assert_eq!(second.received().len(), 2);
    placed.abort();
}

#[tokio::test]
async fn departing_client_leaves_the_queue() {
    let (gate, upstream) = gated();
    let gateway = gateway(&[&upstream.url()], "concurrency: {max: 1, queue: 1, wait: 3600}");
    let placed = asked(&gateway);
    reached(&upstream, 1).await;
    let waiting = asked(&gateway);
    queued(&gateway, 1.0).await;
    waiting.abort();
    queued(&gateway, 0.0).await;
    gate.open();
    assert_eq!(placed.await.expect("no panic").status, 200);
    assert_eq!(upstream.received().len(), 1, "what nobody waits for is not asked");
}

#[tokio::test]
async fn reload_changes_the_limit_of_concurrent_requests() {
    let (gate, upstream) = gated();
    let gateway = gateway(&[&upstream.url()], "limits: {requests: 2}");
    let mut placed = vec![asked(&gateway), asked(&gateway)];
    reached(&upstream, 2).await;
    is_overload(&gateway.chat("m").await);
    assert_eq!(gateway.get("/health").await.status, 200, "only requests to deployments count");
    assert_eq!(gateway.metric("gateway_shed_total", &[("reason", "requests")]).await, Some(1.0));

    let before = gateway.reloads("loaded").await;
    gateway.write("config/routing.yaml", logged("concurrency: {max: 3, queue: 0}"));
    gateway.loaded_since(before).await;
    placed.push(asked(&gateway));
    reached(&upstream, 3).await;
    is_overload(&gateway.chat("m").await);
    assert_eq!(gateway.metric("gateway_shed_total", &[("reason", "concurrency")]).await, Some(1.0));
    gate.open();
    for reply in placed {
        assert_eq!(reply.await.expect("no panic").status, 200);
    }
}

#[tokio::test]
async fn routes_of_one_endpoint_keep_own_limits() {
    let (gate, upstream) = gated();
    let route = |model: &str, weight| {
        let url = upstream.url();
        format!("      - {{base_url: '{url}', provider_model_id: {model}, weight: {weight}}}\n")
    };
    let models = format!("models:\n  - id: m\n    route:\n{}{}", route("a", 1), route("b", 0));
    let routing = "concurrency: {max: 1, queue: 0}";
    let gateway = tests::setup!().models(models).routing(logged(routing)).start();
    let before = gateway.reloads("loaded").await;
    gateway.signal(rustix::process::Signal::HUP);
    gateway.loaded_since(before).await;
    let placed = [asked(&gateway), asked(&gateway)];
    reached(&upstream, 2).await;
    is_overload(&gateway.chat("m").await);
    gate.open();
    for reply in placed {
        assert_eq!(reply.await.expect("no panic").status, 200);
    }
}

#[tokio::test]
async fn bodies_are_limited_together() {
    let (gate, upstream) = gated();
    let gateway = gateway(&[&upstream.url()], "limits: {body_mib: 1, bodies_mib: 1}");
    let long = format!(r#"{{"model":"m","messages":[],"x":"{}"}}"#, "x".repeat(700 << 10));
    let request = gateway.client().post(gateway.url("/v1/chat/completions")).body(long.clone());
    let placed = tokio::spawn(request.send());
    reached(&upstream, 1).await;
    is_overload(&gateway.post("/v1/chat/completions", long.clone()).await);
    assert!(gateway.metric("gateway_bodies_bytes", &[]).await > Some(700e3));
    // A declared length reserves no memory.
    let mut announced = Dialog::with(&gateway).await;
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{";
    assert!(announced.send(head).await);
    gate.open();
    assert_eq!(placed.await.expect("no panic").expect("an answer").status(), 200);
    assert_eq!(gateway.post("/v1/chat/completions", long).await.status, 200);
}

#[tokio::test]
async fn excess_connection_gets_503_but_health_answers() {
    let upstream = Raw::answering(200, "{}");
    let models = one_model(&[&upstream.url()]);
    let gateway = tests::setup!().models(models).routing("limits: {connections: 3}").start();
    let mut placed = Vec::new();
    for _ in 0..3 {
        let mut dialog = Dialog::with(&gateway).await;
        assert!(dialog.send(REQUEST).await);
        assert_eq!(dialog.answer().await.status, 200);
        placed.push(dialog);
    }
    let mut over = Dialog::with(&gateway).await;
    assert!(over.send(REQUEST).await);
    let reply = over.answer().await;
    is_overload(&reply);
    assert_eq!(reply.header("connection"), "close");
    assert!(over.ends().await);
    let mut health = Dialog::with(&gateway).await;
    assert!(health.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await);
    assert_eq!(health.answer().await.status, 200);
    assert!(health.ends().await, "it has its one answer");
    // The number of connections that get such an answer is limited, too.
    let mut many = Vec::new();
    for _ in 0..40 {
        many.push(Dialog::with(&gateway).await);
    }
    drop(many);
    let old = &mut placed[0];
    assert!(old.send(REQUEST).await);
    assert_eq!(old.answer().await.status, 200, "those that have a place are served");
    drop(placed);
    let served = async || {
        let mut dialog = Dialog::with(&gateway).await;
        // Until the gateway notices the closed connections, this one may be closed without an
        // answer.
        dialog.send(REQUEST).await;
        dialog.try_answer().await.is_ok_and(|reply| reply.status == 200).then_some(())
    };
    eventually("places are free again", served).await;
    assert_eq!(upstream.received().len(), 5);
}

#[tokio::test]
async fn engine_never_gets_more_than_its_limit() {
    let options = EngineOptions {
        name: "engine".into(),
        latency: Duration::from_millis(20),
        ..EngineOptions::default()
    };
    let engine = Engine::with(options);
    let nobody = Port::take();
    let models = format!(
        "models:\n  - id: m\n    route:\n      - {{base_url: '{}', concurrency: {{max: 4, queue: 4}}}}\n      \
         - {{base_url: '{}', weight: 0}}\n",
        engine.url(),
        nobody.url()
    );
    let gateway = tests::setup!().models(models).routing("fallback: {standby: never}").start();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let request = gateway.client().post(gateway.url("/v1/chat/completions"));
        let request =
            request.body(r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#);
        clients.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..10 {
                let answer = request.try_clone().expect("no stream").send().await;
                statuses.push(answer.expect("an answer").status().as_u16());
            }
            statuses
        });
    }
    let (mut most, mut statuses) = (0, Vec::new());
    while !clients.is_empty() {
        most = most.max(engine.status().await["in_flight"].as_u64().expect("a number"));
        while let Some(done) = clients.try_join_next() {
            statuses.extend(done.expect("no panic"));
        }
    }
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count() as u64;
    assert_eq!(count(200) + count(503), 240, "{statuses:?}");
    assert!(count(503) > 0 && most <= 4, "{most} at a time");
    assert_eq!(engine.requests().await, count(200), "nothing was asked that was refused");
}
