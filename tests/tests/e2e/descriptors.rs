//! No file descriptors left: the gateway waits without spinning, requests under way go on, no
//! deployment is charged, and it recovers.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use serde_json::json;
use tests::{Dialog, Gate, Gateway, Raw, Step, eventually, let_pass, one_model, split};
use tokio::net::TcpStream;

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;

fn request() -> String {
    let length = BODY.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{BODY}"
    )
}

async fn state(gateway: &Gateway) -> String {
    let deployment = gateway.routing().await["models"]["m"]["deployments"][0].clone();
    deployment["state"].as_str().expect("text").to_owned()
}

#[tokio::test]
async fn there_is_room_for_thousands_from_the_start() {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let gateway = tests::setup!().models(one_model(&["http://127.0.0.1:9"])).start();
    let (room, open) = (gateway.room_for_files(), gateway.open_files());
    assert!(room >= most.min(32 * 1024), "room for {room} of {most}");
    assert!(open < 100, "{open} are open");
}

#[tokio::test]
async fn accepting_pauses_without_descriptors_and_streams_go_on() {
    let gate = Gate::default();
    let upstream = Raw::steps(vec![
        Step::stream(),
        Step::chunk("data: 1\n\n"),
        Step::Wait(gate.clone()),
        Step::chunk("data: 2\n\n"),
        Step::chunk("data: [DONE]\n\n"),
        Step::chunk(""),
    ]);
    let gateway = tests::setup!().models(one_model(&[&upstream.url()])).start();
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut answer = gateway.stream("m").await.expect("an answer");
        assert_eq!(answer.chunk().await.expect("a chunk").expect("one"), "data: 1\n\n");
        streams.push(answer);
    }
    gateway.limit_open_files(Some(gateway.open_files() + 10));
    let mut crowd = Vec::new();
    for _ in 0..60 {
        // The kernel completes these connections even if the gateway accepts none.
        crowd.push(TcpStream::connect(gateway.address()).await.expect("room in the queue"));
    }
    let full = async || gateway.log().contains("Too many open files").then_some(());
    eventually("the gateway is out of descriptors", full).await;
    let (before, start) = (gateway.processor_time(), Instant::now());
    let_pass(Duration::from_secs(1)).await;
    let (used, span) = (gateway.processor_time() - before, start.elapsed());
    eprintln!("{used:?} of processor time in {span:?} without descriptors");
    assert!(used < span / 4, "it spins: {used:?} in {span:?}");
    gate.open();
    for mut answer in streams {
        let mut rest = Vec::new();
        while let Some(chunk) = answer.chunk().await.expect("not broken off") {
            rest.extend_from_slice(&chunk);
        }
        assert_eq!(rest, b"data: 2\n\ndata: [DONE]\n\n");
    }
    drop(crowd);
    let reply = gateway.get("/health").await;
    assert_eq!(reply.status, 200);
    assert_eq!(gateway.stream("m").await.expect("an answer").status().as_u16(), 200);
}

/// An engine that closes each connection after one request.
fn engine() -> Raw {
    Raw::start(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
        wire.close();
    })
}

#[tokio::test]
async fn missing_descriptors_are_charged_to_no_deployment() {
    let engine = engine();
    let more = "health_check: 0.02\nhealth: {down_after: 1}\nlogging: {output: access.log}";
    for url in [engine.url(), engine.url().replace("127.0.0.1", "localhost")] {
        let setup = tests::setup!().models(one_model(&[&url])).arg("--cores").arg("1");
        let gateway = setup.routing(split(1.0, &[&url], &[], more)).start();
        let mut dialog = Dialog::with(&gateway).await;
        assert_eq!(state(&gateway).await, "healthy");
        gateway.limit_open_files(Some(3));
        for _ in 0..10 {
            assert!(dialog.send(request()).await);
            let reply = dialog.answer().await;
            let error = reply.error();
            assert_eq!((reply.status, &error["code"]), (503, &json!("overloaded")), "{error}");
            assert_eq!(reply.header("retry-after"), "1");
            let said = error["message"].as_str().expect("text");
            assert!(said.contains("the gateway has no file descriptors left"), "{said}");
            let attempts = gateway.attempts(&reply).await;
            assert_eq!(attempts, [("local-1".into(), "no_descriptors".into())], "{url}");
        }
        // Ten intervals, in which no probe can connect.
        let probes = engine.received().len();
        let_pass(Duration::from_millis(200)).await;
        assert_eq!(engine.received().len(), probes, "{url}");
        gateway.limit_open_files(None);
        assert_eq!(state(&gateway).await, "healthy", "{url}");
        assert!(dialog.send(request()).await);
        assert_eq!(dialog.answer().await.status, 200, "{url}");
        assert!(!gateway.log().contains("health changed"), "{}", gateway.log());
        let failing = gateway.metric("gateway_deployment_error_rate", &[]).await;
        assert_eq!(failing, Some(0.0), "{url}");
    }
}
