//! Clients that go away, and clients that send ahead and stay.

use std::time::Duration;

use tests::{DEADLINE, Gateway, Raw, Received, Wire, eventually, one_model};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const WHOLE: &str = r#"{"id":"x","choices":[{"message":{"role":"assistant","content":"hi"}}]}"#;
const EVENT: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"a"}}]}"#;

/// A request whose body names what the upstream does with it.
fn request(act: &str, fields: &str) -> String {
    let stream = act.starts_with("stream");
    let body = format!(r#"{{"model":"m","messages":[],"stream":{stream},"act":"{act}"}}"#);
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Answers, or begins to, and waits for the gateway to hang up.
fn act(received: &Received, wire: &mut Wire) {
    let asked = received.text();
    if asked.contains("whole") {
        return wire.answer(200, WHOLE);
    }
    if asked.contains("plain, begun") {
        wire.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"id\"");
    }
    if asked.contains("stream, begun") {
        let length = EVENT.len() + 2;
        wire.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
             {length:x}\r\n{EVENT}\n\n\r\n"
        ));
    }
    wire.hang();
}

#[derive(Debug, Clone, Copy)]
enum Leave {
    Close,
    Reset,
    HalfClose,
}

/// Sends a request and bytes behind it, and waits until the upstream has it and, where the answer is
/// a stream that has begun, until that has come here.
async fn ask(gateway: &Gateway, upstream: &Raw, state: &str, behind: usize) -> TcpStream {
    let before = upstream.received().len();
    let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    let mut bytes = request(state, "").into_bytes();
    while bytes.len() < behind {
        bytes.extend(request("never read", "").bytes());
    }
    stream.write_all(&bytes).await.expect("room");
    eventually("the upstream is asked", async || {
        (upstream.received().len() > before).then_some(())
    })
    .await;
    let mut said = Vec::new();
    while state == "stream, begun" && !String::from_utf8_lossy(&said).contains("data: ") {
        let read = timeout(DEADLINE, stream.read_buf(&mut said)).await.expect("the answer begins");
        assert_ne!(read.expect("an open connection"), 0, "{}", String::from_utf8_lossy(&said));
    }
    stream
}

async fn leave(mut stream: TcpStream, how: Leave) -> Option<TcpStream> {
    match how {
        Leave::Close => None,
        Leave::Reset => {
            let lingering = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
            lingering.expect("an option of every system");
            None
        }
        Leave::HalfClose => {
            stream.shutdown().await.expect("an open connection");
            Some(stream)
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_request_upstream() {
    let upstream = Raw::start(act);
    let gateway = tests::setup!().models(one_model(&[&upstream.url()])).start();
    let mut kept = Vec::new();
    let mut left = 0;
    for state in ["plain", "stream", "plain, begun", "stream, begun"] {
        for how in [Leave::Close, Leave::Reset, Leave::HalfClose] {
            // Alone, with a request behind it, and with more than the gateway reads ahead.
            for behind in [0, 300, 40_000] {
                let stream = ask(&gateway, &upstream, state, behind).await;
                kept.extend(leave(stream, how).await);
                left += 1;
                let what = format!("{state}, {how:?}, {behind} bytes behind");
                eventually(&what, async || (upstream.hung_up() == left).then_some(())).await;
            }
        }
    }
    assert_eq!(upstream.received().len(), left, "what stood behind a request was read as one");
    eventually("nothing is in flight", async || {
        let metrics = gateway.get("/metrics").await.text();
        metrics.contains("\ngateway_requests_in_flight 0\n").then_some(())
    })
    .await;
    drop(kept);
}

/// Sends bytes and reads until the gateway closes.
async fn converse(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    stream.write_all(bytes).await.expect("room");
    let mut said = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut said)).await;
    read.expect("the gateway closes").expect("an orderly end");
    String::from_utf8_lossy(&said).into_owned()
}

fn ids(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect()
}

#[tokio::test]
async fn a_hundred_requests_sent_ahead_are_answered_in_order() {
    let upstream = Raw::start(act);
    let gateway = tests::setup!().models(one_model(&[&upstream.url()])).start();
    let named: Vec<String> = (0..100).map(|n| format!("ahead-{n}")).collect();
    let requests: String = named
        .iter()
        .map(|id| {
            let close = if id == "ahead-99" { "Connection: close\r\n" } else { "" };
            request("whole", &format!("x-request-id: {id}\r\n{close}"))
        })
        .collect();
    let said = converse(&gateway, requests.as_bytes()).await;
    assert_eq!(ids(&said), named);
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 100);
    assert_eq!(upstream.received().len(), 100);
}

#[tokio::test]
async fn a_refusal_stands_behind_the_answers_before_it_and_ends_the_connection() {
    let upstream = Raw::start(act);
    let gateway = tests::setup!().models(one_model(&[&upstream.url()])).start();
    let good = request("whole", "x-request-id: good\r\n");
    let bad = request("whole", "Transfer-Encoding: chunked\r\n");
    let said = converse(&gateway, [&*good, &good, &bad, &good].concat().as_bytes()).await;
    let refused = said.find("HTTP/1.1 400").expect("a refusal");
    assert_eq!(said[..refused].matches("HTTP/1.1 200 OK").count(), 2, "{said}");
    assert_eq!(said.matches("HTTP/1.1 ").count(), 3, "{said}");
    assert!(said.contains(r#""code":"bad_framing""#), "{said}");
    assert_eq!(upstream.received().len(), 2);
    let metrics = gateway.get("/metrics").await.text();
    assert!(metrics.contains(r#"gateway_refused_total{code="bad_framing"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"gateway_requests_total{model="",status="400"} 1"#), "{metrics}");
}
