//! Web pages and old clients: who is answered, and with which headers. Requests with the headers of
//! browsers stand for browsers. The clients of the JDK and curl are real ones, where they are
//! installed.

use std::process::Command;

use tests::{Dialog, Engine, Gate, Gateway, Raw, Reply, Step, eventually, logged, one_model};

const CHAT: &str = "/v1/chat/completions";
const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const STREAM: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

fn gateway(upstream: &str, more: &str) -> Gateway {
    tests::setup!().models(one_model(&[upstream])).routing(logged(more)).start()
}

/// Sends a request with these headers. No content type is what a simple POST of a page has.
async fn ask(
    gateway: &Gateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let method = method.parse().expect("a method");
    let mut request = gateway.client().request(method, gateway.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body.to_owned()).send().await.expect("an answer");
    Reply::read(answer).await.expect("a whole answer")
}

#[tokio::test]
async fn a_foreign_page_spends_nothing() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine.url(), "");
    for headers in [
        [("origin", "https://evil.example"), ("content-type", "text/plain")],
        [("origin", "null"), ("content-type", "text/plain")],
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
    ] {
        for path in [CHAT, "/v1/models", "/routing", "/metrics"] {
            let method = if path == CHAT { "POST" } else { "GET" };
            let reply = ask(&gateway, method, path, &headers, BODY).await;
            assert_eq!((reply.status, &reply.error()["code"]), (403, &"origin_not_allowed".into()));
            assert!(reply.text().contains("cors.origins"), "{}", reply.text());
            assert!(!reply.headers.contains_key("access-control-allow-origin"));
        }
        let preflight = [headers[0], ("access-control-request-method", "POST")];
        assert_eq!(ask(&gateway, "OPTIONS", CHAT, &preflight, "").await.status / 100, 4);
    }
    assert_eq!(engine.requests().await, 0);
    let own = format!("http://{}", gateway.address());
    for origin in [&[][..], &[("origin", own.as_str()), ("sec-fetch-site", "same-origin")]] {
        assert_eq!(ask(&gateway, "POST", CHAT, origin, BODY).await.status, 200);
    }
    let refused = gateway.metric("gateway_refused_total", &[("code", "origin_not_allowed")]).await;
    assert_eq!(refused, Some(15.0), "each is counted");
}

#[tokio::test]
async fn loopback_answers_to_its_own_names() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine.url(), "hosts: [gw.example]");
    let (_, port) = gateway.address().split_once(':').expect("a port");
    let asked = async |host: &str| {
        let mut client = Dialog::with(&gateway).await;
        client.send(format!("GET /v1/models HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        client.answer().await
    };
    for own in ["localhost", "gw.example", "[::1]"] {
        assert_eq!(asked(&format!("{own}:{port}")).await.status, 200, "{own}");
    }
    let rebound = asked(&format!("evil.example:{port}")).await;
    assert_eq!((rebound.status, &rebound.error()["code"]), (403, &"host_not_allowed".into()));
    assert!(rebound.text().contains("`hosts`"));
}

#[tokio::test]
async fn an_allowed_page_reads_answers_errors_and_streams() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine.url(), "cors: {origins: ['https://chat.example'], max_age: 60}");
    let page = ("origin", "https://chat.example");
    let preflight = [
        page,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization, content-type"),
    ];
    let reply = ask(&gateway, "OPTIONS", CHAT, &preflight, "").await;
    assert_eq!((reply.status, reply.header("access-control-max-age")), (204, "60"));
    assert_eq!(reply.header("access-control-allow-headers"), "authorization, content-type");
    assert!(reply.header("access-control-allow-methods").contains("POST"));
    let unknown = r#"{"model":"none"}"#;
    for (path, body, status) in
        [(CHAT, BODY, 200), (CHAT, STREAM, 200), (CHAT, unknown, 404), ("/nowhere", "", 404)]
    {
        let reply = ask(&gateway, "POST", path, &[page], body).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), page.1);
        let vary = reply.headers.get_all("vary");
        assert!(vary.iter().any(|vary| vary.to_str().is_ok_and(|vary| vary.contains("origin"))));
    }
    // A cache must not give the answer of a program to a page.
    assert_eq!(gateway.get("/v1/models").await.header("vary"), "origin");
    let other = [("origin", "https://chat.example.evil")];
    assert_eq!(ask(&gateway, "POST", CHAT, &other, BODY).await.status, 403);
}

/// What Java's HttpClient sends before it has talked to a host.
const OFFER: &str = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                     HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n";

#[tokio::test]
async fn offers_of_http2_are_ignored_and_not_forwarded() {
    let upstream = Raw::answering(200, "{}");
    let gateway = gateway(&upstream.url(), "");
    let mut client = Dialog::with(&gateway).await;
    let length = BODY.len();
    for round in 1..=3 {
        let fields = format!("{OFFER}Host: localhost\r\nContent-Length: {length}\r\n\r\n{BODY}");
        client.send(format!("POST {CHAT} HTTP/1.1\r\n{fields}")).await;
        let reply = client.answer().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(!reply.headers.contains_key("upgrade"));
        assert_eq!(upstream.received().len(), round, "on one connection");
    }
    let got = upstream.last();
    for name in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(got.header(name), None, "{name}");
    }
    assert_eq!(got.text(), BODY);
    let mut client = Dialog::with(&gateway).await;
    let socket = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.send(format!("GET /v1/realtime HTTP/1.1\r\n{socket}")).await;
    let reply = client.answer().await;
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("websockets"), "{}", reply.text());
}

/// The output of a program. None: it is not installed.
async fn run(program: &'static str, arguments: Vec<String>) -> Option<String> {
    let run = move || Command::new(program).args(arguments).output();
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let Ok(output) = output else {
        eprintln!("passed over: there is no {program}");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn the_client_of_the_jdk_is_answered() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine.url(), "");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/browsers/Client.java");
    let arguments = [source, &gateway.url(CHAT), BODY].map(str::to_owned);
    let Some(said) = run("java", arguments.into()).await else { return };
    assert_eq!(said.lines().filter(|line| line.starts_with("HTTP_1_1 200 {")).count(), 3, "{said}");
    assert_eq!(engine.requests().await, 3);
}

#[tokio::test]
async fn curl_may_offer_http2() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine.url(), "");
    let url = gateway.url(CHAT);
    let arguments = [
        "-sS",
        "--http2",
        "-w",
        "%{http_version} %{http_code}",
        "-d",
        BODY,
        &url,
        "-o",
        "/dev/null",
    ];
    let Some(said) = run("curl", arguments.map(str::to_owned).into()).await else { return };
    assert_eq!(said, "1.1 200");
    let stream = ["-sS", "--http2", "-N", "-d", STREAM, &url].map(str::to_owned);
    let said = run("curl", stream.into()).await.expect("it is installed");
    assert!(said.trim_end().ends_with("data: [DONE]"), "{said}");
}

#[tokio::test]
async fn targets_slashes_and_marks_of_old_clients_pass() {
    let upstream = Raw::answering(200, "{}");
    let gateway = gateway(&upstream.url(), "");
    let whole = format!("http://{}{CHAT}", gateway.address());
    for (target, body) in [
        (whole.as_str(), BODY.to_owned()),
        ("/v1/chat/completions/", BODY.to_owned()),
        (CHAT, format!("\u{feff}{BODY}")),
    ] {
        let mut client = Dialog::with(&gateway).await;
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n");
        client.send(format!("{head}Content-Length: {length}\r\n\r\n{body}")).await;
        let reply = client.answer().await;
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        assert_eq!((upstream.last().path.as_str(), upstream.last().text()), (CHAT, BODY.into()));
    }
    let models = gateway.get("/v1/models/").await;
    assert_eq!((models.status, models.text()), (200, gateway.get("/v1/models").await.text()));
    for (path, meant) in [
        ("/chat/completions", CHAT),
        ("/v1/v1/chat/completions", CHAT),
        ("/openai/completions/", "/v1/completions"),
        ("/models", "/v1/models"),
    ] {
        let reply = gateway.post(path, BODY).await;
        assert_eq!(reply.status, 404);
        assert!(reply.text().contains(&format!("this is at {meant}")), "{}", reply.text());
    }
}

#[tokio::test]
async fn streams_are_not_held_back() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine.url(), "");
    let reply = ask(&gateway, "POST", CHAT, &[], STREAM).await;
    assert_eq!(
        (reply.header("cache-control"), reply.header("x-accel-buffering")),
        ("no-cache", "no")
    );
    let plain = ask(&gateway, "POST", CHAT, &[], BODY).await;
    assert!(!plain.headers.contains_key("x-accel-buffering"));
}

#[tokio::test]
async fn comments_keep_a_waiting_stream_alive() {
    let chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let gate = Gate::default();
    let upstream = Raw::steps(vec![
        Step::Wait(gate.clone()),
        Step::stream(),
        Step::chunk(chunk),
        Step::chunk("data: [DONE]\n\n"),
        Step::chunk(""),
    ]);
    let gateway = gateway(&upstream.url(), "keep_alive_comments: 50ms");
    let request = gateway.client().post(gateway.url(CHAT)).body(STREAM);
    let mut answer = request.send().await.expect("a head before any content");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut said = String::new();
    while said.matches(": keep-alive\n\n").count() < 3 {
        let piece = answer.chunk().await.expect("a piece").expect("no end");
        said += &String::from_utf8_lossy(&piece);
    }
    gate.open();
    while let Some(piece) = answer.chunk().await.expect("a whole stream") {
        said += &String::from_utf8_lossy(&piece);
    }
    assert!(said.ends_with(&format!("{chunk}data: [DONE]\n\n")), "{said}");
}

#[tokio::test]
async fn a_failure_after_comments_is_an_event() {
    let gate = Gate::default();
    let refusal = "HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: 34\r\n\r\n\
                   {\"error\":{\"code\":\"from_upstream\"}}";
    let upstream = Raw::steps(vec![Step::Wait(gate.clone()), Step::send(refusal)]);
    let gateway = gateway(&upstream.url(), "keep_alive_comments: 50ms");
    let request = gateway.client().post(gateway.url(CHAT)).body(STREAM);
    let mut answer = request.send().await.expect("a head before any content");
    gate.open();
    let mut said = String::new();
    let cut = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => said += &String::from_utf8_lossy(&piece),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(cut && said.contains("data: {\"error\":{\"code\":\"from_upstream\"}}\n\n"), "{said}");
    eventually("the line", async || gateway.records().pop()).await;
}
