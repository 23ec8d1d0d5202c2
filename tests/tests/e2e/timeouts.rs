//! Time-outs: the most specific setting wins, each has one name in responses, log and metrics, and
//! no slow client can prevent one.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{ACCESS_LOG, DEADLINE, Dialog, Gateway, Raw, Reply, Step, eventually, logged};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

const HALF: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"id\"";
const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";

/// A metric, by its name and one label.
async fn count(gateway: &Gateway, name: &str, label: (&str, &str)) -> Option<f64> {
    gateway.metric(name, &[label]).await
}

#[tokio::test]
async fn the_innermost_limit_holds() {
    let silent = Raw::steps(vec![Step::Hang]);
    let begun = Raw::steps(vec![Step::send(HALF), Step::Hang]);
    let refusing = "HTTP/1.1 400 X\r\ncontent-length: 90\r\n\r\n{";
    let refusing = Raw::steps(vec![Step::send(refusing), Step::Hang]);
    let (url, half, refusing) = (silent.url(), begun.url(), refusing.url());
    let models = format!(
        "models:
  - {{id: model, base_url: '{url}', timeouts: {{first_byte: 0.2}}}}
  - {{id: total, base_url: '{url}', timeouts: {{total: 0.2}}}}
  - {{id: route, timeouts: {{first_byte: 3600}}, route: [{{base_url: '{url}', timeouts: {{first_byte: 0.2}}}}]}}
  - {{id: entry, route: [{{base_url: '{url}', timeouts: {{first_byte: 3600}}}}]}}
  - {{id: refusal, base_url: '{refusing}', timeouts: {{idle: 0.2}}}}
  - {{id: half, route: [{{base_url: '{half}', timeouts: {{idle: 0.2}}}}]}}
"
    );
    let entry = format!(
        "timeouts: {{first_byte: 3600, idle: 3600}}
local_deployment:
  - {{endpoint: '{url}', models: [entry], timeouts: {{first_byte: 0.2}}}}"
    );
    let gateway = tests::setup!().models(models).routing(logged(&entry)).start();
    let ask = async |model: &str, code: &str| {
        let reply = gateway.chat(model).await;
        assert_eq!((reply.status, &reply.error()["code"]), (504, &json!(code)), "{model}");
    };
    tokio::join!(
        ask("model", "timeout_first_byte"),
        ask("total", "timeout_total"),
        ask("route", "timeout_first_byte"),
        ask("entry", "timeout_first_byte"),
        ask("half", "timeout_idle"),
    );
    let reply = gateway.chat("refusal").await;
    let told = "the deployment refused the request";
    assert_eq!((reply.status, &reply.error()["message"]), (400, &json!(told)));
    // The only attempt had all of the time, so it is charged.
    let rate = gateway.metric("gateway_deployment_error_rate", &[("model", "total")]).await;
    assert!(rate > Some(0.0), "{rate:?}");
}

#[test]
fn check_shows_what_differs_from_the_defaults() {
    let models = "models:
  - {id: a, base_url: 'http://a.test', timeouts: {total: 900, idle: 90}}
  - {id: b, route: [{base_url: 'http://b.test', timeouts: {first_byte: 5, pool_idle: 0}}]}
";
    let setup = tests::setup!().models(models).routing("timeouts: {connect: 2.5, idle: 90}\n");
    let output = setup.arg("check").output();
    let said = String::from_utf8_lossy(&output.stdout);
    let shown = |line: &&str| line.starts_with("timeouts:") || line.starts_with(['m', ' ']);
    let lines: Vec<&str> = said.lines().filter(shown).map(str::trim).collect();
    let place = |host: &str| {
        format!("{:<16} {:<6} 1.0000  http://{host}.test/v1/chat/completions", "remote-1", "remote")
    };
    assert_eq!(
        lines,
        [
            "timeouts: {client_headers: 10, client_idle: 30, connect: 2.5, first_byte: 120, idle: 90, \
             keep_alive: 75, pool_idle: 4, total: 600}",
            "model a",
            "timeouts: {total: 900}",
            &place("a"),
            "model b",
            &place("b"),
            "timeouts: {first_byte: 5, pool_idle: 0}",
        ]
    );
}

/// The text of a stream that breaks, and its request id.
async fn broken_stream(gateway: &Gateway, model: &str) -> (String, String) {
    let mut answer = gateway.stream(model).await.expect("an answer");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    let mut text = Vec::new();
    while let Ok(chunk) = answer.chunk().await {
        text.extend_from_slice(&chunk.expect("it must not end cleanly"));
    }
    (String::from_utf8(text).expect("text"), id)
}

/// Checks that access log and metrics have the name of the time-out.
async fn written_down(gateway: &Gateway, id: &str, code: &str) {
    let record = gateway.record(id).await;
    assert_eq!(record["error"], code, "{record}");
    assert_eq!(tests::outcomes(&record), [("remote-1".into(), code.to_owned())], "{record}");
    let ended = count(gateway, "gateway_attempts_total", ("outcome", code)).await;
    assert!(ended >= Some(1.0), "{code}: {ended:?}");
}

#[tokio::test]
async fn deployment_timeout_has_one_name_everywhere() {
    let silent = Raw::steps(vec![Step::Hang]);
    let begun = Raw::steps(vec![Step::stream(), Step::chunk(EVENT), Step::Hang]);
    // The kernel completes connections, and nobody answers the TLS handshake.
    let deaf = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let tls = format!("https://{}", deaf.local_addr().expect("bound"));
    let (silent, begun) = (silent.url(), begun.url());
    let models: String = [
        ("connect", &tls, "connect: 0.2"),
        ("first_byte", &silent, "first_byte: 0.2"),
        ("total", &silent, "total: 0.2"),
        ("idle-stream", &begun, "idle: 0.2"),
        ("total-stream", &begun, "total: 1"),
    ]
    .map(|(id, url, limit)| {
        format!("  - {{id: {id}, route: [{{base_url: '{url}', side: remote}}], timeouts: {{{limit}}}}}\n")
    })
    .concat();
    let gateway = tests::setup!().models(format!("models:\n{models}")).routing(logged("")).start();
    for kind in ["connect", "first_byte", "total"] {
        let (reply, code) = (gateway.chat(kind).await, format!("timeout_{kind}"));
        let error = reply.error();
        assert_eq!((reply.status, &error["code"]), (504, &json!(code)), "{}", reply.text());
        let told = format!("{kind} time-out");
        assert!(error["message"].as_str().expect("text").contains(&told), "{error}");
        written_down(&gateway, reply.header("x-request-id"), &code).await;
    }
    for kind in ["idle", "total"] {
        let (text, id) = broken_stream(&gateway, &format!("{kind}-stream")).await;
        let code = format!("timeout_{kind}");
        let (content, told) = text.split_at(EVENT.len());
        let told = told.strip_prefix("data: ").and_then(|event| event.strip_suffix("\n\n"));
        let told: Value = serde_json::from_str(told.expect("one event")).expect("JSON");
        assert_eq!((content, &told["error"]["code"]), (EVENT, &json!(code)));
        written_down(&gateway, &id, &code).await;
    }
}

#[tokio::test]
async fn client_timeout_has_one_name_everywhere() {
    let routing = logged("timeouts: {client_headers: 0.2, client_idle: 0.2}");
    let models = "models: [{id: m, base_url: 'http://127.0.0.1:1'}]\n";
    let gateway = tests::setup!().models(models).routing(routing).start();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n";
    for (sent, code) in [
        (head.to_owned(), "timeout_client_headers"),
        (format!("{head}Content-Length: 100\r\n\r\n{{"), "timeout_client_idle"),
    ] {
        let mut client = Dialog::with(&gateway).await;
        assert!(client.send(sent).await);
        let reply = client.answer().await;
        assert_eq!((reply.status, &reply.error()["code"]), (408, &json!(code)));
        let record = gateway.record(reply.header("x-request-id")).await;
        assert_eq!((&record["error"], &record["status"]), (&json!(code), &json!(408)));
        assert_eq!(count(&gateway, "gateway_refused_total", ("code", code)).await, Some(1.0));
    }
}

/// An upstream that sends without end.
fn flood() -> Raw {
    let event = [b"data: ", &vec![b'x'; 64 << 10][..], b"\n\n"].concat();
    Raw::start(move |_, wire| {
        wire.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
        // Writing fails fast once the gateway has closed the connection.
        (0..1 << 16).for_each(|_| wire.send(&event));
        wire.close();
    })
}

fn in_front_of(upstream: &Raw, timeouts: &str) -> Gateway {
    let models =
        format!("models: [{{id: m, route: [{{base_url: '{}', side: remote}}]}}]\n", upstream.url());
    tests::setup!().models(models).routing(logged(&format!("timeouts: {{{timeouts}}}"))).start()
}

async fn ask(gateway: &Gateway, id: &str) -> TcpStream {
    let body = r#"{"model":"m","stream":true,"messages":[]}"#;
    let mut stream = TcpStream::connect(gateway.address()).await.expect("a connection");
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nx-request-id: {id}\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.expect("room");
    stream
}

/// Reads `most` bytes at a time, with a pause after each, to the end of the connection. Gives
/// whether it was reset, and the last bytes.
async fn read_slowly(stream: &mut TcpStream, most: usize, pause: Duration) -> (bool, Vec<u8>) {
    let (mut piece, mut last) = (vec![0; most], Vec::new());
    let deadline = Instant::now() + DEADLINE;
    loop {
        let read = timeout_at(deadline, stream.read(&mut piece)).await;
        match read.expect("an end in time") {
            Ok(0) => return (false, last),
            Ok(read) => last = [&last[last.len().saturating_sub(1000)..], &piece[..read]].concat(),
            Err(_) => return (true, last),
        }
        assert!(Instant::now() < deadline, "it goes on and on");
        sleep(pause).await;
    }
}

/// Checks that the access log has the time-out, and that no deployment is charged.
async fn given_up(gateway: &Gateway, id: &str, code: &str) {
    let record = gateway.record(id).await;
    assert_eq!((&record["outcome"], &record["error"]), (&json!("broken"), &json!(code)));
    assert_eq!(tests::outcomes(&record), [("remote-1".into(), code.to_owned())]);
    assert!(record["wasted_ms"].as_f64() > Some(0.0), "{record}");
    assert_eq!(gateway.metric("gateway_deployment_error_rate", &[]).await, Some(0.0));
    let wasted = count(gateway, "gateway_wasted_attempts_total", ("cause", "timeout")).await;
    assert!(wasted >= Some(1.0), "{wasted:?}");
}

#[tokio::test]
async fn total_timeout_ends_however_the_client_reads() {
    let upstream = flood();
    let gateway = in_front_of(&upstream, "total: 1");
    let nothing = ask(&gateway, "nothing").await;
    let little = async {
        let mut stream = ask(&gateway, "little").await;
        read_slowly(&mut stream, 64 << 10, Duration::from_millis(50)).await
    };
    let all = async {
        let mut stream = ask(&gateway, "all").await;
        read_slowly(&mut stream, 1 << 20, Duration::ZERO).await
    };
    let ((reset, last), (_, told)) = tokio::join!(little, all);
    let (last, told) = (String::from_utf8_lossy(&last), String::from_utf8_lossy(&told));
    assert!(reset || last.contains("timeout_total"), "it must not end as if that was all");
    assert!(told.contains("\"code\":\"timeout_total\""), "{told:.200}");
    for id in ["nothing", "little", "all"] {
        given_up(&gateway, id, "timeout_total").await;
    }
    gateway.is_idle().await;
    drop(nothing);
}

#[tokio::test]
async fn client_that_reads_nothing_has_own_outcome() {
    let upstream = flood();
    let gateway = in_front_of(&upstream, "client_idle: 0.5");
    let mut stream = ask(&gateway, "stuck").await;
    given_up(&gateway, "stuck", "timeout_client_idle").await;
    let ended = count(&gateway, "gateway_attempts_total", ("outcome", "timeout_client_idle")).await;
    assert_eq!(ended, Some(1.0));
    let (reset, _) = read_slowly(&mut stream, 1 << 20, Duration::ZERO).await;
    assert!(reset, "what it did not take is dropped, and it sees that there was more");
}

#[tokio::test]
async fn total_timeout_is_charged_only_where_deserved() {
    // The first takes more than half of the time, so that the second has less than half.
    let late = Raw::steps(vec![Step::Pause(Duration::from_millis(1200)), Step::Close]);
    let silent = Raw::steps(vec![Step::Hang]);
    let models = format!(
        "models:
  - id: m
    timeouts: {{total: 2}}
    route: [{{base_url: '{}', name: late}}, {{base_url: '{}', name: silent, weight: 0}}]
",
        late.url(),
        silent.url()
    );
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let reply: Reply = gateway.chat("m").await;
    assert_eq!(reply.error()["code"], "timeout_total");
    let rate =
        async |name| gateway.metric("gateway_deployment_error_rate", &[("deployment", name)]).await;
    assert!(rate("late").await > Some(0.0));
    assert_eq!(rate("silent").await, Some(0.0));
    eventually("it is let go", async || (silent.hung_up() == 1).then_some(())).await;
    assert!(gateway.path(ACCESS_LOG).exists());
}
