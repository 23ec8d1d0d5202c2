//! Clients that leave, and clients that pipeline requests.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use rustix::process::Signal;
use tests::{DEADLINE, Gateway, Port, Raw, Received, Step, Wire, eventually, let_pass, one_model};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const WHOLE: &str = r#"{"id":"x","choices":[{"message":{"role":"assistant","content":"hi"}}]}"#;
const ROLE: &str = r#"data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}"#;
const EVENT: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"a"}}]}"#;

/// Bytes of floods that the gateway has read.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// A request whose body tells the upstream what to do.
fn request(act: &str, fields: &str) -> String {
    let stream = act.starts_with("stream");
    let body = format!(r#"{{"model":"m","messages":[],"stream":{stream},"act":"{act}"}}"#);
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Answers, or begins an answer and waits until the gateway closes the connection.
fn act(received: &Received, wire: &mut Wire) {
    let asked = received.text();
    if asked.contains("whole") {
        return wire.answer(200, WHOLE);
    }
    if asked.contains("plain, begun") {
        wire.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"id\"");
    }
    if asked.contains("stream, ") {
        let event = if asked.contains("held") { ROLE } else { EVENT };
        wire.step(&Step::stream());
        wire.step(&Step::chunk(format!("{event}\n\n")));
    }
    if asked.contains("flooded") {
        let events = format!("{EVENT}\n\n").repeat(1000);
        let chunk = format!("{:x}\r\n{events}\r\n", events.len());
        wire.flood(chunk.as_bytes(), u64::MAX, &TAKEN);
    }
    wire.hang();
}

#[derive(Debug, Clone, Copy)]
enum Leave {
    Close,
    Reset,
    HalfClose,
}

/// Sends a request and `behind` more bytes. Waits until the upstream has the request and, where it
/// begins a stream, until the client has the first event.
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
    let begins = ["stream, begun", "stream, flooded"].contains(&state);
    while begins && !String::from_utf8_lossy(&said).contains("data: ") {
        let read = timeout(DEADLINE, stream.read_buf(&mut said)).await.expect("the answer begins");
        assert_ne!(read.expect("an open connection"), 0, "{}", String::from_utf8_lossy(&said));
    }
    if state == "stream, flooded" {
        let mut last = 0;
        eventually("the upstream is held back", async || {
            let_pass(Duration::from_millis(100)).await;
            let now = TAKEN.load(SeqCst);
            (std::mem::replace(&mut last, now) == now).then_some(())
        })
        .await;
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
async fn departing_client_cancels_its_upstream_request() {
    let upstream = Raw::start(act);
    // Long time-outs: only the client's leaving may cancel a request.
    let never = "timeouts: {first_byte: 3600, idle: 3600, client_idle: 3600, total: 3600}";
    let setup = tests::setup!().models(one_model(&[&upstream.url()]));
    let gateway = setup.routing(never).start();
    let (mut kept, mut left) = (Vec::new(), 0);
    let streams = ["stream", "stream, held", "stream, begun", "stream, flooded"];
    for state in ["plain", "plain, begun"].into_iter().chain(streams) {
        for how in [Leave::Close, Leave::Reset, Leave::HalfClose] {
            // Bytes behind the request: none, another request, and more than the gateway reads
            // ahead.
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
    gateway.is_idle().await;
    drop(kept);
}

#[tokio::test]
async fn requests_of_departed_clients_are_not_sent() {
    let upstream = Raw::start(act);
    let gateway = tests::setup!().models(one_model(&[&upstream.url()])).start();
    let mut kept = Vec::new();
    for how in [Leave::Close, Leave::Reset, Leave::HalfClose] {
        let mut asked = TcpStream::connect(gateway.address()).await.expect("a connection");
        asked.write_all(request("whole", "").as_bytes()).await.expect("room");
        assert_ne!(asked.read(&mut [0; 4096]).await.expect("an answer"), 0);
        gateway.stand_still();
        // A client that had an answer before, and one that the gateway has not accepted yet.
        let new = TcpStream::connect(gateway.address()).await.expect("a connection");
        for mut client in [asked, new] {
            client.write_all(request("whole, too late", "").as_bytes()).await.expect("room");
            kept.extend(leave(client, how).await);
        }
        gateway.signal(Signal::CONT);
        for mut client in kept.drain(..) {
            let mut said = Vec::new();
            let end = timeout(DEADLINE, client.read_to_end(&mut said)).await.expect("it is closed");
            assert!(said.is_empty(), "{end:?} {}", String::from_utf8_lossy(&said));
        }
        eventually("nobody is left", async || {
            (gateway.metric("gateway_connections", &[]).await == Some(1.0)).then_some(())
        })
        .await;
    }
    assert_eq!(upstream.received().len(), 3, "who had left was answered");
}

#[tokio::test]
async fn departing_client_cancels_its_upload() {
    let port = Port::take();
    let listener = port.listen();
    let gateway = tests::setup!().models(one_model(&[&port.url()])).start();
    for how in [Leave::Close, Leave::Reset, Leave::HalfClose] {
        let body = format!(r#"{{"model":"m","messages":[],"filler":"{}"}}"#, "x".repeat(16 << 20));
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let mut client = TcpStream::connect(gateway.address()).await.expect("a connection");
        client.write_all(request.as_bytes()).await.expect("room");
        // The upstream reads the beginning only, so the gateway cannot send the rest.
        let accepted = timeout(DEADLINE, listener.accept()).await.expect("the upstream is asked");
        let (mut upstream, _) = accepted.expect("a connection");
        upstream.read_exact(&mut [0; 64]).await.expect("the request begins");
        let kept = leave(client, how).await;
        let none = async || gateway.metric("gateway_deployment_in_flight", &[]).await;
        let ended = async || (none().await == Some(0.0)).then_some(());
        eventually(&format!("the upload ends, {how:?}"), ended).await;
        let mut rest = Vec::new();
        // Closed or reset: the rest of the body is not sent.
        let _ = timeout(DEADLINE, upstream.read_to_end(&mut rest)).await.expect("it is closed");
        assert!(rest.len() < body.len(), "{how:?}");
        drop(kept);
    }
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
async fn hundred_pipelined_requests_are_answered_in_order() {
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
async fn refusal_follows_earlier_answers_and_closes() {
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
