//! Time-outs of client connections, and headers that only a trusted proxy may set.

use std::time::{Duration, Instant};

use tests::{DEADLINE, Gate, Gateway, Raw, Step, eventually, one_model, split};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const WHOLE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
/// The default of `client_idle`.
const CLIENT_IDLE: Duration = Duration::from_secs(30);
const BODY: &str = r#"{"model":"m","messages":[]}"#;

fn gateway(upstream: &Raw, more: &str) -> Gateway {
    let url = upstream.url();
    let setup = tests::setup!().models(one_model(&[&url]));
    setup.routing(split(1.0, &[&url], &[], more)).start()
}

/// Sends bytes, keeps the connection open, and reads until the gateway closes it.
async fn wait(gateway: &Gateway, bytes: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("room");
    let mut said = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut said)).await;
    read.expect("the gateway closes").expect("an orderly end");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn silent_clients_are_given_up() {
    // Waiting for an engine counts against no client time-out: this answer comes after all others
    // timed out.
    let others_left = Gate::default();
    let upstream = Raw::steps(vec![Step::Wait(others_left.clone()), Step::send(WHOLE)]);
    let times = "timeouts: {client_headers: 1, client_idle: 1, keep_alive: 1}";
    let gateway = gateway(&upstream, times);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n";
    let whole = format!("{head}Content-Length: {}\r\n\r\n{BODY}", BODY.len());
    let chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{{\"mo");
    let cut = format!("{head}Content-Length: 100000\r\n\r\n{BODY}");
    let start = Instant::now();
    let silent = async {
        let ends = tokio::join!(
            wait(&gateway, ""),
            wait(&gateway, head),
            wait(&gateway, &cut),
            wait(&gateway, &chunk),
        );
        others_left.open();
        ends
    };
    let ((nothing, part, body, chunk), kept) = tokio::join!(silent, wait(&gateway, &whole));
    assert!(start.elapsed() < CLIENT_IDLE, "the default ended them");
    assert_eq!(nothing, "");
    assert!(part.starts_with("HTTP/1.1 408") && part.contains("timeout_client_headers"), "{part}");
    for body in [body, chunk] {
        assert!(body.starts_with("HTTP/1.1 408") && body.contains("timeout_client_idle"), "{body}");
    }
    assert!(kept.starts_with("HTTP/1.1 200") && kept.ends_with("{}"), "{kept}");
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn keep_alive_ends_after_any_kind_of_answer() {
    // Sizes: buffered until complete, forwarded in pieces, and more than the socket buffers hold.
    for size in [5, 300_000, 3 << 20] {
        let text = format!("[\"{}\"]", "x".repeat(size - 4));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        let framed = format!("{head}content-length: {size}\r\n\r\n{text}");
        let chunked =
            format!("{head}transfer-encoding: chunked\r\n\r\n{size:x}\r\n{text}\r\n0\r\n\r\n");
        for answer in [framed, chunked] {
            let upstream = Raw::steps(vec![Step::send(&answer)]);
            let gateway = gateway(&upstream, "timeouts: {keep_alive: 0.4}");
            let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
            let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n";
            let request = format!("{head}Content-Length: {}\r\n\r\n{BODY}", BODY.len());
            stream.write_all(request.as_bytes()).await.expect("room");
            eventually("it is asked", async || (upstream.received().len() == 1).then_some(()))
                .await;
            let (mut said, mut piece) = (Vec::new(), vec![0; (size / 30).max(4096)]);
            loop {
                let read = timeout(DEADLINE, stream.read(&mut piece)).await;
                match read.expect("the gateway closes").expect("an orderly end") {
                    0 => break,
                    read => said.extend_from_slice(&piece[..read]),
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let said = String::from_utf8_lossy(&said);
            let (head, body) = said.split_once("\r\n\r\n").expect("a head");
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(body.matches('x').count() + 4, size);
        }
    }
}

#[tokio::test]
async fn client_that_reads_nothing_is_given_up() {
    // More than all socket buffers hold.
    let flood = Step::Send([b"data: ", &vec![b'x'; 1 << 20][..], b"\n\n"].concat());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let steps = [vec![Step::send(head)], vec![flood; 32], vec![Step::Hang]].concat();
    let upstream = Raw::steps(steps);
    let gateway = gateway(&upstream, "timeouts: {client_idle: 0.4}");
    let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{BODY}", BODY.len());
    stream.write_all(request.as_bytes()).await.expect("room");
    eventually("its request is cancelled", async || (upstream.hung_up() == 1).then_some(())).await;
    gateway.is_idle().await;
    drop(stream);
}

#[tokio::test]
async fn forwarded_headers_count_from_trusted_proxies_only() {
    let told = ["x-forwarded-for", "x-forwarded-host", "forwarded", "x-real-ip", "via"];
    let fields: String = told.iter().map(|name| format!("{name}: 192.0.2.7\r\n")).collect();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close, x-mine\r\nx-mine: b\r\n\
         {fields}Content-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    for (more, believed) in [
        ("", false),
        ("trusted_proxies: [10.0.0.0/8, 127.0.0.2]", false),
        ("trusted_proxies: ['::1', 127.0.0.0/8]", true),
    ] {
        let upstream = Raw::answering(200, "{}");
        let gateway = gateway(&upstream, more);
        let said = wait(&gateway, &request).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        let got = upstream.last();
        let client = if believed { "192.0.2.7, 127.0.0.1" } else { "127.0.0.1" };
        assert_eq!(got.header("x-forwarded-for"), Some(client), "{more}");
        for name in &told[1..] {
            assert_eq!(got.header(name), believed.then_some("192.0.2.7"), "{name}, {more}");
        }
        // Naming a header in `Connection` does not remove it.
        assert_eq!((got.header("x-mine"), got.header("connection")), (Some("b"), None));
    }
}

#[test]
fn invalid_trusted_proxy_is_refused_at_its_line() {
    let routing = split(1.0, &["http://127.0.0.1:1"], &[], "trusted_proxies:\n  - 10.0.0.0/33");
    let setup = tests::setup!().models(one_model(&["http://127.0.0.1:1"])).routing(routing);
    let output = setup.arg("check").output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("this is not a network"), "{said}");
}
