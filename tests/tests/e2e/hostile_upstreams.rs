//! Upstreams that send no HTTP, or ambiguous HTTP: none of it reaches a client, and another
//! deployment answers where there is one.

use std::sync::Arc;

use tests::{Engine, Gateway, Raw, Received, Reply, Wire};

/// Part of every hostile answer; no client may see it.
const MARK: &str = "s3cr3t-of-the-upstream";

/// The bytes of an upstream, and the outcome of its attempt.
struct Row {
    what: &'static str,
    bytes: Vec<u8>,
    outcome: &'static str,
}

fn row(what: &'static str, text: impl Into<String>) -> Row {
    Row { what, bytes: text.into().into_bytes(), outcome: "protocol" }
}

/// A head with these lines, and a good body.
fn headed(what: &'static str, lines: &str) -> Row {
    row(
        what,
        format!("HTTP/1.1 200 OK\r\nx: {MARK}\r\n{lines}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{MARK}"),
    )
}

/// Answers that are refused before their body.
fn refused() -> Vec<Row> {
    let many = |count: usize| "x-n: 1\r\n".repeat(count) + "content-length: 2";
    let long = |length: usize| format!("x-long: {}\r\ncontent-length: 2", "y".repeat(length));
    let interim = |count: usize| format!("HTTP/1.1 100 {MARK}\r\n\r\n").repeat(count);
    vec![
        headed("CL and TE", "content-length: 2\r\ntransfer-encoding: chunked"),
        headed("TE and CL", "transfer-encoding: chunked\r\ncontent-length: 2"),
        headed("CL: 2, 2", "content-length: 2, 2"),
        headed("two CL", "content-length: 2\r\ncontent-length: 2"),
        headed("two CL that differ", "content-length: 2\r\nContent-Length: 20"),
        headed("CL with a sign", "content-length: +2"),
        headed("CL in hexadecimal", "content-length: 0x2"),
        headed("CL that is empty", "content-length:"),
        headed("CL of 2^63", "content-length: 9223372036854775808"),
        headed("TE unknown", "transfer-encoding: identity"),
        headed("TE gzip, chunked", "transfer-encoding: gzip, chunked"),
        headed("TE ,chunked", "transfer-encoding: ,chunked"),
        headed("two TE", "transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        headed("a space before the colon", "transfer-encoding : chunked"),
        headed("a folded header", "content-length: 2\r\nx: y\r\n folded"),
        headed("a header without a colon", "content-length 2"),
        headed("NUL in a header", "content-length: 2\r\nx: a\0b"),
        headed("CR in a header", "content-length: 2\r\nx: a\rb"),
        headed("a bare LF", "x: y\ncontent-length: 2"),
        headed("101 headers", &many(100)),
        headed("a head of 64 KiB", &long(64 * 1024)),
        row("LF only", format!("HTTP/1.1 200 OK\ncontent-length: 2\n\n{{}}{MARK}")),
        row(
            "101 that was not asked for",
            format!("HTTP/1.1 101 {MARK}\r\nupgrade: h2c\r\n\r\n{MARK}"),
        ),
        row("5,000 interim answers", interim(5000)),
        row("HTTP/2", "\0\0\u{12}\u{4}\0\0\0\0\0"),
        row("HTTP/3.0", format!("HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\n{{}}{MARK}")),
        row(
            "HTTP/1.0 in chunks",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        ),
        row("a status of two digits", "HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\n{}"),
        row("an empty line first", "\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
        row("another protocol", format!("SSH-2.0-{MARK}\r\n")),
        row("garbage", format!("{{\"{MARK}\": 1}}")),
        headed("a chunk size that is none", "transfer-encoding: chunked\r\n\r\nxyz\r\n"),
        headed("a chunk size of 2^64", "transfer-encoding: chunked\r\n\r\n10000000000000000\r\n"),
        headed("a negative chunk size", "transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0"),
        headed("a bare LF after a size", "transfer-encoding: chunked\r\n\r\n2\n{}\r\n0"),
        headed(
            "an extension of 64 KiB",
            &format!("transfer-encoding: chunked\r\n\r\n2;{}", "e".repeat(64 * 1024)),
        ),
    ]
}

/// Answers that end before their first content.
fn broken() -> Vec<Row> {
    let cut = |what, text: &str| Row { outcome: "broken", ..row(what, text) };
    let headed = |what, text: &str| Row { outcome: "truncated", ..row(what, text) };
    vec![
        cut("nothing", ""),
        cut("half a status line", "HTTP/1.1 20"),
        cut("half a head", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"),
        cut("an interim answer alone", "HTTP/1.1 100 Continue\r\n\r\n"),
        headed("a head alone", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
        headed("chunks that do not begin", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        headed("half a chunk size", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2"),
    ]
}

/// Answers that break after the first piece of their body.
fn late() -> Vec<Row> {
    let chunks = |what, rest: &str| {
        row(
            what,
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n{rest}"),
        )
    };
    vec![
        row("a body that is cut", "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{}"),
        chunks("chunks without an end", ""),
        chunks("a chunk that is cut", "20\r\nabc"),
        chunks("an end that is cut", "0\r\n"),
        chunks("a chunk longer than it says", "2\r\nabc\r\n0\r\n\r\n"),
        chunks("a bad size", "zz\r\n"),
        chunks("an answer for a trailer", "0\r\nHTTP/1.1 200 OK\r\n\r\n"),
        chunks("trailers without end", &format!("0\r\n{}", "t: v\r\n".repeat(20_000))),
    ]
}

/// A gateway with two models for each row: `alone-0` has the hostile upstream only, `beside-0`
/// falls back to a good engine.
struct Scene {
    upstream: Raw,
    _good: Engine,
    gateway: Gateway,
}

impl Scene {
    /// `last` is what an upstream does when it has said its bytes.
    fn start(rows: &Arc<Vec<Row>>, last: fn(&mut Wire)) -> Self {
        let (script, good) = (Arc::clone(rows), Engine::start("good"));
        let upstream = Raw::start(move |received, wire| {
            wire.send(&script[index(received)].bytes);
            last(wire);
        });
        let (bad, fine) = (upstream.url(), good.url());
        let models: String = (0..rows.len())
            .map(|i| {
                format!(
                    "  - {{id: alone-{i}, route: [{{base_url: '{bad}'}}]}}\n  \
                     - {{id: beside-{i}, route: [{{base_url: '{bad}'}}, {{base_url: '{fine}', weight: 0}}]}}\n"
                )
            })
            .collect();
        let gateway = tests::setup!().models(format!("models:\n{models}")).arg("--cores").arg("1");
        Self { upstream, _good: good, gateway: gateway.start() }
    }

    fn assert_hidden(&self, reply: &Reply, what: &str) {
        let place = self.upstream.url().trim_start_matches("http://").to_owned();
        let seen = format!("{:?}\n{}", reply.headers, reply.text());
        assert!(!seen.contains(MARK) && !seen.contains(&place), "{what}: {seen}");
    }
}

/// The row that is asked for, by the model's name.
fn index(received: &Received) -> usize {
    let body: serde_json::Value = serde_json::from_slice(&received.body).expect("JSON");
    let model = body["model"].as_str().expect("a model").to_owned();
    model.rsplit('-').next().and_then(|index| index.parse().ok()).expect("a row")
}

/// Checks that the client gets the gateway's own error, or another deployment's answer.
async fn assert_nothing_passes(rows: Vec<Row>, last: fn(&mut Wire)) {
    let rows = Arc::new(rows);
    let scene = Scene::start(&rows, last);
    for (i, Row { what, .. }) in rows.iter().enumerate() {
        let alone = scene.gateway.chat(&format!("alone-{i}")).await;
        assert_eq!(alone.status, 502, "{what}: {}", alone.text());
        let _ = alone.error();
        scene.assert_hidden(&alone, what);
        let beside = scene.gateway.chat(&format!("beside-{i}")).await;
        assert_eq!((beside.status, beside.engine()), (200, "good"), "{what}: {}", beside.text());
        scene.assert_hidden(&beside, what);
    }
    let metrics = scene.gateway.get("/metrics").await.text();
    for (i, Row { what, outcome, .. }) in rows.iter().enumerate() {
        let attempt = |line: &&str| {
            let of_row = line.contains(&format!("\"alone-{i}\""));
            line.starts_with("gateway_attempts_total") && of_row && !line.ends_with(" 0")
        };
        let counted: Vec<&str> = metrics.lines().filter(attempt).collect();
        assert_eq!(counted.len(), 1, "{what}: {counted:?}");
        assert!(counted[0].contains(&format!("outcome=\"{outcome}\"")), "{what}: {counted:?}");
    }
    let asked = scene.upstream.received().len();
    assert_eq!(scene.upstream.connections(), asked, "no connection is used again");
    assert_eq!(asked, 2 * rows.len(), "nothing is asked twice");
}

#[tokio::test]
async fn ambiguous_answers_are_refused() {
    // The upstream keeps the connection open: the refusal must not wait for its end.
    assert_nothing_passes(refused(), Wire::hang).await;
}

#[tokio::test]
async fn answers_ending_too_early_are_failed_attempts() {
    assert_nothing_passes(broken(), Wire::close).await;
    assert_nothing_passes(broken(), Wire::reset).await;
}

#[tokio::test]
async fn answer_breaking_later_never_looks_whole() {
    let rows = Arc::new(late());
    let scene = Scene::start(&rows, Wire::close);
    for (i, Row { what, .. }) in rows.iter().enumerate() {
        for model in [format!("alone-{i}"), format!("beside-{i}")] {
            let answer = scene.gateway.stream(&model).await.expect("a head");
            // The answer either broke visibly, or an error or another answer came in its place.
            if let Ok(reply) = Reply::read(answer).await {
                let own = reply.status == 502 || reply.engine() == "good";
                let told = reply.text().contains("\"error\"") && !reply.text().contains("[DONE]");
                assert!(own || told, "{what}: {} {}", reply.status, reply.text());
                scene.assert_hidden(&reply, what);
            }
        }
    }
    assert_eq!(scene.upstream.connections(), scene.upstream.received().len(), "none is used again");
}
