//! The orderly stop, as clients, load balancers and operators see it.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Response;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Dialog, Engine, Gate, Gateway, Raw, Reply, Setup, eventually};
use tests::{in_order, logged, outcomes};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CHAT: &str = "/v1/chat/completions";
const EVENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const WHOLE: &str = r#"{"id":"x","choices":[{"message":{"role":"assistant","content":"hi"}}]}"#;

/// An upstream that waits for the gate: before a plain answer, and after the first event of a
/// stream.
fn held_by(gate: &Gate) -> Raw {
    let gate = gate.clone();
    Raw::start(move |received, wire| {
        if !received.text().contains(r#""stream":true"#) {
            gate.wait();
            return wire.answer(200, WHOLE);
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
        wire.send(format!("{head}connection: close\r\n\r\n{EVENT}"));
        gate.wait();
        wire.send(DONE);
        wire.close();
    })
}

/// Long time-outs: only the stop may end a connection.
const PATIENT: &str = "timeouts: {client_headers: 3600, client_idle: 3600, keep_alive: 3600}";

fn setup(url: &str, shutdown: &str) -> Setup {
    let routing = logged(&format!("{PATIENT}\nshutdown: {shutdown}"));
    let setup = tests::setup!().models(in_order(&[("m", &[url])])).routing(routing);
    setup.arg("--cores").arg("2")
}

/// Streams whose first event has come.
async fn streams(gateway: &Gateway, count: usize) -> Vec<Response> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut answer = gateway.stream("m").await.expect("an answer");
        assert_eq!(answer.chunk().await.expect("it lives").expect("an event"), EVENT);
        streams.push(answer);
    }
    streams
}

/// What is left of a stream, and whether it ended well.
async fn rest(mut stream: Response) -> (String, bool) {
    let mut text = String::new();
    loop {
        match stream.chunk().await {
            Ok(Some(chunk)) => text.push_str(&String::from_utf8_lossy(&chunk)),
            Ok(None) => return (text, true),
            Err(_) => return (text, false),
        }
    }
}

/// Waits until the gateway's port is closed.
async fn closed(gateway: &Gateway) {
    eventually("connections are refused", async || {
        let refused = TcpStream::connect(gateway.address()).await.err()?;
        (refused.kind() == ErrorKind::ConnectionRefused).then_some(())
    })
    .await;
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

fn chat() -> String {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a request, and checks that the answer announces the end of the connection.
async fn ask_last(mut client: Dialog, request: String) -> Reply {
    assert!(client.send(request).await);
    let reply = client.answer().await;
    assert_eq!(reply.header("connection"), "close");
    assert!(client.ends().await);
    reply
}

#[tokio::test]
async fn fifty_streams_finish_while_nothing_is_accepted() {
    for signal in [Signal::TERM, Signal::INT] {
        let gate = Gate::default();
        let upstream = held_by(&gate);
        let mut gateway = setup(&upstream.url(), "{accept: 0}").start();
        let streams = streams(&gateway, 50).await;
        let mut idle = Dialog::with(&gateway).await;
        idle.send(get("/health")).await;
        assert_eq!(idle.answer().await.status, 200);
        let mut silent = Dialog::with(&gateway).await;
        gateway.signal(signal);
        closed(&gateway).await;
        assert!(idle.ends().await && silent.ends().await, "they had nothing to wait for");
        // SIGHUP during the stop is ignored.
        (0..100).for_each(|_| gateway.signal(Signal::HUP));
        assert!(gateway.is_running());
        gate.open();
        for stream in streams {
            assert_eq!(rest(stream).await, (DONE.to_owned(), true));
        }
        assert_eq!(gateway.ended().await.code(), Some(0));
        let records = gateway.records();
        assert_eq!(records.len(), 50);
        assert!(records.iter().all(|record| record["outcome"] == "ok"), "{records:?}");
    }
}

#[tokio::test]
async fn draining_gateway_is_not_ready_but_answers() {
    let engine = Engine::start("only");
    let mut gateway = setup(&engine.url(), "{accept: 3600}").start();
    let ready = gateway.get("/health/ready").await;
    assert_eq!((ready.status, ready.header("connection")), (200, ""));
    let mut kept = Dialog::with(&gateway).await;
    kept.send(chat()).await;
    assert_eq!(kept.answer().await.header("connection"), "");
    let fresh = Dialog::with(&gateway).await;
    gateway.signal(Signal::TERM);
    eventually("it is not ready", async || {
        (gateway.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    // A connection that was idle at the signal stays open for one more request.
    assert_eq!(ask_last(kept, chat()).await.status, 200);
    assert_eq!(ask_last(fresh, get("/health")).await.status, 200);
    let ask = async |request| ask_last(Dialog::with(&gateway).await, request).await;
    let ready = ask(get("/health/ready")).await;
    assert_eq!((ready.status, ready.json()), (503, json!({"status": "draining"})));
    assert_eq!(ask(chat()).await.engine(), "only");
    assert_eq!(ask(get("/v1/models/none")).await.status, 404);
    let stream = Reply::read(gateway.stream("m").await.expect("an answer")).await.expect("whole");
    assert_eq!(stream.header("connection"), "close");
    assert!(stream.text().ends_with(DONE), "{}", stream.text());
    assert!(gateway.is_running());
    gateway.signal(Signal::INT);
    assert_eq!(gateway.ended().await.code(), Some(130), "128 + the number of SIGINT");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let gate = Gate::default();
    let upstream = held_by(&gate);
    let mut gateway = setup(&upstream.url(), "{accept: 0, grace: 3600}").start();
    let streams = streams(&gateway, 2).await;
    gateway.signal(Signal::INT);
    closed(&gateway).await;
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().await.code(), Some(143), "128 + the number of SIGTERM");
    for stream in streams {
        assert!(!rest(stream).await.1);
    }
}

#[tokio::test]
async fn end_of_grace_is_told_to_everyone_left() {
    let gate = Gate::default();
    let upstream = held_by(&gate);
    let mut gateway = setup(&upstream.url(), "{accept: 0, grace: 0.5}").start();
    let streams = streams(&gateway, 8).await;
    let mut waiting = Dialog::with(&gateway).await;
    waiting.send(chat()).await;
    eventually("it is asked", async || (upstream.received().len() == 9).then_some(())).await;
    let mut uploading = Dialog::with(&gateway).await;
    let mut half = chat();
    half.truncate(half.len() - 5);
    uploading.send(half).await;
    eventually("all are under way", async || {
        let metrics = gateway.get("/metrics").await.text();
        metrics.contains("gateway_requests_in_flight 10\n").then_some(())
    })
    .await;
    let mut in_head = Dialog::with(&gateway).await;
    in_head.send("POST /v1/chat").await;
    gateway.signal(Signal::TERM);
    for stream in streams {
        let (text, whole) = rest(stream).await;
        assert!(!whole, "a stream that was cut must not end well");
        let error: Value = text
            .strip_prefix("data: ")
            .and_then(|text| serde_json::from_str(text.trim_end()).ok())
            .unwrap_or_else(|| panic!("one event: {text:?}"));
        assert_eq!(error["error"]["code"], "stopping", "{error}");
    }
    for mut client in [waiting, uploading] {
        let reply = client.answer().await;
        assert_eq!((reply.status, &reply.error()["code"]), (503, &json!("stopping")));
        assert_eq!((reply.header("retry-after"), reply.header("connection")), ("1", "close"));
    }
    assert!(in_head.ends().await);
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(gateway.log().contains("\"in_flight\":10"), "{}", gateway.log());
    told_apart(gateway.records());
}

/// Checks the access log of eight streams, a request without an answer and one without its body.
/// None counts as cancelled by its client.
fn told_apart(mut records: Vec<Value>) {
    records.sort_by_key(|record| (record["status"].as_u64(), outcomes(record).len()));
    let said = |record: &Value| {
        let attempts = outcomes(record).into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>();
        (record["status"].clone(), record["outcome"].clone(), attempts.concat())
    };
    let said: Vec<_> = records.iter().map(said).collect();
    assert_eq!(said.len(), 10, "{said:?}");
    let broken = (json!(200), json!("broken"), "stopping".to_owned());
    assert!(said[..8].iter().all(|said| *said == broken), "{said:?}");
    assert_eq!(said[8], (json!(503), json!("error"), String::new()));
    assert_eq!(said[9], (json!(503), json!("error"), "stopping".to_owned()));
}

#[tokio::test]
async fn non_reading_client_does_not_delay_the_stop() {
    let flood = Raw::start(|_, wire| {
        let length = 1 << 30;
        wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"));
        let block = vec![b' '; 1 << 16];
        for _ in 0..length / block.len() {
            wire.send(&block);
        }
    });
    let mut gateway = setup(&flood.url(), "{accept: 0, grace: 0}").start();
    let mut client = Dialog::with(&gateway).await;
    client.send(chat()).await;
    assert_eq!(client.head().await.status, 200);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().await.code(), Some(0));
    let records = gateway.records();
    assert_eq!(records[0]["outcome"], "broken", "{records:?}");
    assert_eq!(outcomes(&records[0]), [("first".to_owned(), "stopping".to_owned())]);
}

#[tokio::test]
async fn request_sent_before_the_stop_is_answered() {
    const CLIENTS: usize = 20;
    let (gate, asked) = (Gate::default(), AtomicUsize::new(0));
    let held = gate.clone();
    let engine = Raw::start(move |_, wire| {
        // The second request of each client waits.
        if asked.fetch_add(1, Ordering::SeqCst) >= CLIENTS {
            held.wait();
        }
        wire.answer(200, WHOLE);
    });
    let mut gateway = setup(&engine.url(), "{accept: 0}").start();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Dialog::with(&gateway).await;
        client.send(chat()).await;
        assert_eq!(client.answer().await.status, 200);
        clients.push(client);
    }
    // Requests sent to the stopped process arrive before it handles the signal.
    gateway.signal(Signal::STOP);
    gateway.signal(Signal::TERM);
    for client in &mut clients {
        assert!(client.send(chat()).await);
    }
    gateway.signal(Signal::CONT);
    // The gateway may read the requests before it sees the signal, but it answers them after.
    eventually("it stops", async || {
        gateway.log().contains("no connection is accepted").then_some(())
    })
    .await;
    gate.open();
    for mut client in clients {
        let reply = client.answer().await;
        assert_eq!((reply.status, reply.header("connection")), (200, "close"));
    }
    assert_eq!(gateway.ended().await.code(), Some(0));
}

/// A client that sends request after request on one connection, and on a new one when that is
/// closed, until connections are refused. Gives the number of answers, and the errors on reused
/// connections.
async fn persist(address: String) -> (u32, Vec<String>) {
    let (mut answers, mut errors) = (0, Vec::new());
    loop {
        let mut client = match Dialog::connect(&address).await {
            Ok(client) => client,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return (answers, errors),
            Err(error) => panic!("{error}"),
        };
        for nth in 0.. {
            let sent = client.send(chat()).await;
            match client.try_answer().await {
                Ok(reply) if sent && reply.status == 200 => {
                    answers += 1;
                    if reply.header("connection") == "close" {
                        break;
                    }
                }
                Ok(reply) => errors.push(format!("{}: {}", reply.status, reply.text())),
                // Linux resets a connection made between the last accept and the close of the
                // listener.
                Err(_) if nth == 0 => break,
                Err(error) => {
                    errors.push(format!("request {nth} of a connection: {error}"));
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(answers as u64 % 7)).await;
        }
    }
}

#[tokio::test]
async fn kept_connection_is_never_reset() {
    let engine = Engine::start("only");
    let mut gateway = setup(&engine.url(), "{accept: 0.5}").start();
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        clients.spawn(persist(gateway.address().to_owned()));
    }
    eventually("the clients are answered", async || (engine.requests().await > 60).then_some(()))
        .await;
    gateway.signal(Signal::TERM);
    while let Some(client) = clients.join_next().await {
        let (answers, errors) = client.expect("a client");
        assert!(answers > 0);
        assert_eq!(errors, [""; 0]);
    }
    assert_eq!(gateway.ended().await.code(), Some(0));
}
