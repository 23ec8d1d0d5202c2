//! The pool of upstream connections: which ones are reused, and that clients notice nothing of it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;

use serde_json::json;
use tests::{Engine, Gate, Gateway, Raw, Reply, Setup, Step, eventually, one_model};

const RESPONSES: &str = r#"{"model": "m", "input": "hello"}"#;

/// One core has one pool: each request finds the connection of the one before.
fn setup() -> Setup {
    tests::setup!().arg("--cores").arg("1")
}

fn in_front_of(url: &str) -> Gateway {
    setup().models(one_model(&[url])).start()
}

/// The models `m-0`, `m-1`, ...
fn with_a_model_for_each(upstreams: &[Raw]) -> Gateway {
    let models = upstreams.iter().enumerate().map(|(i, upstream)| {
        let url = upstream.url();
        format!("  - {{id: m-{i}, route: [{{base_url: '{url}'}}]}}\n")
    });
    setup().models(format!("models:\n{}", models.collect::<String>())).start()
}

fn answer(lines: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{lines}\r\n{body}")
}

#[tokio::test]
async fn connection_is_reused_only_after_framed_answers() {
    let chunked = "transfer-encoding: chunked\r\n";
    // What, answer, whether it ends by closing, connections for three requests.
    let table = [
        ("by length", answer("content-length: 2\r\n", "{}"), false, 1),
        ("no reason", "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}".to_owned(), false, 1),
        ("in chunks", answer(chunked, "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), false, 1),
        ("extensions", answer(chunked, "2;a=\"b\"\r\n{}\r\n0;c\r\n\r\n"), false, 1),
        ("trailers", answer(chunked, "2\r\n{}\r\n0\r\nx-t: v\r\ny: z\r\n\r\n"), false, 1),
        (
            "interim",
            "HTTP/1.1 100 C\r\n\r\n".repeat(16) + &answer("content-length: 2\r\n", "{}"),
            false,
            1,
        ),
        ("says close", answer("content-length: 2\r\nconnection: x, CLOSE\r\n", "{}"), false, 3),
        ("more behind", answer("content-length: 2\r\n", "{}HTTP/1.1 200 OK\r\n\r\n"), false, 3),
        ("more behind chunks", answer(chunked, "2\r\n{}\r\n0\r\n\r\n{}"), false, 3),
        ("until close", answer("", "{}"), true, 3),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned(), false, 3),
        ("HTTP/1.0 until close", "HTTP/1.0 200 OK\r\n\r\n{}".to_owned(), true, 3),
        (
            "HTTP/1.0 keep-alive",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
            false,
            1,
        ),
    ];
    let upstream = |(_, text, close, _): &(_, String, bool, _)| {
        Raw::steps([vec![Step::send(text)], vec![Step::Close; usize::from(*close)]].concat())
    };
    let upstreams: Vec<Raw> = table.iter().map(upstream).collect();
    let gateway = with_a_model_for_each(&upstreams);
    for (i, (what, _, _, connections)) in table.iter().enumerate() {
        for _ in 0..3 {
            let reply = gateway.chat(&format!("m-{i}")).await;
            assert_eq!((reply.status, reply.text().as_str()), (200, "{}"), "{what}");
            assert_eq!(reply.header("x-t"), "", "{what}");
        }
        assert_eq!(upstreams[i].connections(), *connections, "{what}");
    }
}

#[tokio::test]
async fn bodiless_answer_ends_with_its_head() {
    let table = [
        ("HTTP/1.1 204 No Content\r\n\r\n", 1),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", 2),
    ];
    let upstreams = table.map(|(head, _)| Raw::steps(vec![Step::send(head)]));
    let gateway = with_a_model_for_each(&upstreams);
    for (i, (head, connections)) in table.into_iter().enumerate() {
        for _ in 0..2 {
            let reply = gateway.chat(&format!("m-{i}")).await;
            assert!(reply.status == 502 && reply.text().contains("without content"), "{head}");
        }
        assert_eq!(upstreams[i].connections(), connections, "{head}");
    }
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_no_error() {
    // Closes after each answer, without announcing it.
    let closing = Step::send(&answer("content-length: 2\r\n", "{}"));
    let upstream = Raw::steps(vec![closing, Step::Close]);
    let gateway = in_front_of(&upstream.url());
    for n in 0..50 {
        let reply = gateway.chat("m").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"), "request {n}");
    }
    let metrics = gateway.get("/metrics").await.text();
    assert!(!metrics.contains("outcome=\"broken\""), "nor one that is counted: {metrics}");
}

/// An upstream that closes the connection instead of answering its second request.
fn forgetful() -> (Raw, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&count);
    let upstream = Raw::start(move |_, wire| match counter.fetch_add(1, SeqCst) {
        1 => wire.close(),
        _ => wire.answer(200, "{}"),
    });
    (upstream, count)
}

#[tokio::test]
async fn repeatable_request_uses_a_new_connection() {
    let (upstream, asked) = forgetful();
    let gateway = in_front_of(&upstream.url());
    for _ in 0..2 {
        assert_eq!(gateway.chat("m").await.status, 200);
    }
    assert_eq!((asked.load(SeqCst), upstream.connections()), (3, 2));
    let received = upstream.received();
    assert_eq!(received[1].body, received[2].body, "whole, both times");
}

#[tokio::test]
async fn non_repeatable_request_is_sent_once() {
    let ((upstream, asked), good) = (forgetful(), Engine::start("good"));
    let route =
        format!("{{base_url: '{}'}}, {{base_url: '{}', weight: 0}}", upstream.url(), good.url());
    let models = format!("models: [{{id: m, route: [{route}]}}]");
    let gateway = setup().models(models).start();
    assert_eq!(gateway.post("/v1/responses", RESPONSES).await.status, 200);
    let reply = gateway.post("/v1/responses", RESPONSES).await;
    assert_eq!(reply.status, 502, "{}", reply.text());
    assert_eq!((asked.load(SeqCst), upstream.connections()), (2, 1));
    assert_eq!(good.requests().await, 0, "the first deployment may be at work on it");
}

#[tokio::test]
async fn connection_ending_under_a_request_costs_nothing() {
    // The request may be read, reset, or lost in between: no answer comes.
    for end in [Step::Close, Step::Reset] {
        let upstream = Raw::start(move |_, wire| match wire.served() {
            0 => wire.answer(200, "{}"),
            _ => wire.step(&end),
        });
        let gateway = in_front_of(&upstream.url());
        for n in 0..20 {
            let reply = gateway.chat("m").await;
            assert_eq!((reply.status, reply.text().as_str()), (200, "{}"), "request {n}");
        }
        // Each request but the first met a dead connection and was repeated on a new one.
        assert_eq!((upstream.received().len(), upstream.connections()), (39, 20));
        let failed = gateway.metric("gateway_attempts_total", &[("outcome", "broken")]).await;
        assert_eq!(failed, None, "nor is it counted as one");
    }
}

#[tokio::test]
async fn pool_idle_is_set_for_each_deployment() {
    let answer_and_wait = || {
        Raw::start(|_, wire| {
            wire.answer(200, "{}");
            if wire.served() == 1 {
                wire.hang();
            }
        })
    };
    let (short, none) = (answer_and_wait(), Raw::answering(200, "{}"));
    let models = |none_idle: &str| {
        format!(
            "models:
  - {{id: short, base_url: '{}', timeouts: {{pool_idle: 1}}}}
  - {{id: none, route: [{{base_url: '{}', timeouts: {{pool_idle: {none_idle}}}}}]}}
",
            short.url(),
            none.url()
        )
    };
    let gateway = setup().models(models("0")).start();
    for model in ["short", "short", "none", "none"] {
        assert_eq!(gateway.chat(model).await.status, 200);
    }
    assert_eq!((short.connections(), none.connections()), (1, 2));
    // No request follows.
    eventually("it is closed", async || (short.hung_up() == 1).then_some(())).await;

    let before = gateway.reloads("loaded").await;
    gateway.write("config/models.yaml", models("60"));
    gateway.loaded_since(before).await;
    for _ in 0..3 {
        assert_eq!(gateway.chat("none").await.status, 200);
    }
    assert_eq!(none.connections(), 3, "the new value holds from now on");
}

/// Reads the head of one request and answers. Once the gate is open, reads to the end of the
/// connection and gives the number of body bytes that were sent.
fn impatient(answer: String, gate: Gate) -> (String, JoinHandle<u64>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).expect("the gateway reads");
        gate.wait();
        std::io::copy(&mut stream, &mut std::io::sink()).expect("an orderly end")
    });
    (url, thread)
}

#[tokio::test]
async fn refusal_during_an_upload_is_passed_on() {
    let body = r#"{"error": {"message": "too large", "type": "invalid_request_error"}}"#;
    let head = "HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\n";
    let length = body.len();
    let gate = Gate::default();
    let text = format!("{head}content-length: {length}\r\n\r\n{body}");
    let (url, thread) = impatient(text, gate.clone());
    let gateway = in_front_of(&url);
    // More than the socket buffers hold.
    let large = json!({"model": "m", "messages": [], "padding": "x".repeat(16 << 20)}).to_string();
    let whole = large.len() as u64;
    let reply = gateway.post("/v1/chat/completions", large).await;
    assert_eq!((reply.status, reply.text().as_str()), (413, body));
    gate.open();
    eventually("the connection is closed", async || thread.is_finished().then_some(())).await;
    assert!(thread.join().expect("no panic") < whole, "the upload stops");
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let upstream = Raw::answering(200, "{}");
    let gateway = in_front_of(&upstream.url());
    let large = json!({"model": "m", "messages": [], "padding": "x".repeat(4 << 20)}).to_string();
    for _ in 0..2 {
        let reply = gateway.post("/v1/chat/completions", large.clone()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(upstream.last().text() == large, "the body differs");
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let text = format!("[\"{}\"]", "0123456789abcdef".repeat(1 << 18));
    let chunks: String = text.as_bytes().chunks(10_007).fold(String::new(), |all, chunk| {
        all + &format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk))
    });
    let length = format!("content-length: {}\r\n", text.len());
    for answer in [
        answer(&length, &text),
        answer("transfer-encoding: chunked\r\n", &format!("{chunks}0\r\n\r\n")),
    ] {
        let upstream = Raw::steps(vec![Step::send(&answer)]);
        let gateway = in_front_of(&upstream.url());
        for _ in 0..2 {
            assert!(gateway.chat("m").await.text() == text, "the answer differs");
        }
        assert_eq!(upstream.connections(), 1);
    }
}

#[tokio::test]
async fn each_chunk_goes_on_before_the_next_comes() {
    let gate = Gate::default();
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let upstream = Raw::steps(vec![
        Step::Send(format!("{head}9\r\ndata: a\n\n\r\n").into_bytes()),
        Step::Wait(gate.clone()),
        Step::send("9\r\ndata: b\n\n\r\n0\r\n\r\n"),
    ]);
    let gateway = in_front_of(&upstream.url());
    let mut stream = gateway.stream("m").await.expect("an answer");
    let first = stream.chunk().await.expect("a chunk").expect("not the end");
    assert_eq!(first, "data: a\n\n");
    gate.open();
    let rest = Reply::read(stream).await.expect("the rest");
    assert_eq!(rest.text(), "data: b\n\n");
}
