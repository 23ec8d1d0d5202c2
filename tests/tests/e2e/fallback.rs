//! Fallback: which failures lead to another attempt, and what the client is told when all attempts
//! fail.

use std::net::TcpListener;

use tests::{Engine, Gateway, Port, Raw, Reply, Step, in_order, logged};

/// Short, so that a hung upstream costs a test little. Only for deployments that hang: a good one
/// may be slow on a busy machine.
const TIMEOUTS: &str = "timeouts: {connect: 0.5, first_byte: 0.5}";

fn json(status: u16, headers: &str, body: &str) -> Step {
    let length = body.len();
    Step::send(&format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    ))
}

fn start(models: &[(&str, &[&str])], more: &str) -> Gateway {
    tests::setup!().models(in_order(models)).routing(logged(more)).start()
}

/// The same with remote deployments, whose `Retry-After` is a pause.
fn start_remote(models: &[(&str, &[&str])]) -> Gateway {
    let models = in_order(models).replace(", weight:", ", side: remote, weight:");
    tests::setup!().models(models).routing(logged("concurrency: {wait: 1}")).start()
}

/// A gateway with [`TIMEOUTS`] for the first deployment of each model in `hung`.
fn start_with_hung(models: &[(&str, &[&str])], hung: &[&str]) -> Gateway {
    let limited = |text: String, id: &&str| {
        let (before, after) = text.split_once(&format!("  - id: {id}\n")).expect("a known model");
        let after = after.replacen("name: first,", &format!("name: first, {TIMEOUTS},"), 1);
        format!("{before}  - id: {id}\n{after}")
    };
    let models = hung.iter().fold(in_order(models), limited);
    let models = models.replace(", weight:", ", side: remote, weight:");
    tests::setup!().models(models).routing(logged("")).start()
}

#[tokio::test]
async fn every_failure_before_an_answer_falls_back() {
    let good = Engine::start("good");
    let refused = Port::take();
    let reset = Raw::steps(vec![Step::Reset]);
    let closed = Raw::steps(vec![Step::Close]);
    let garbage = Raw::steps(vec![Step::send("SSH-2.0-OpenSSH\r\n\r\n"), Step::Close]);
    let cut =
        Raw::steps(vec![Step::send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"), Step::Close]);
    let hung = Raw::steps(vec![Step::Hang]);
    let headed = Raw::steps(vec![Step::stream(), Step::Hang]);
    // The kernel completes connections, and nobody answers the TLS handshake.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let deaf = format!("https://{}", deaf.local_addr().expect("bound"));
    let plain = good.url().replace("http:", "https:");
    let cases = [
        ("refused", refused.url(), "connect"),
        ("reset", reset.url(), "broken"),
        ("closed", closed.url(), "broken"),
        ("garbage", garbage.url(), "protocol"),
        ("cut", cut.url(), "truncated"),
        ("tls", plain, "tls"),
        ("deaf", deaf, "timeout_connect"),
        ("hung", hung.url(), "timeout_first_byte"),
        ("headed", headed.url(), "timeout_first_byte"),
    ];
    let good = good.url();
    let routes: Vec<_> = cases.iter().map(|(id, url, _)| (*id, [url.as_str(), &good])).collect();
    let models: Vec<_> = routes.iter().map(|(id, urls)| (*id, &urls[..])).collect();
    let gateway = start_with_hung(&models, &["deaf", "hung", "headed"]);
    for (model, _, outcome) in cases {
        let streamed = gateway.stream(model).await.expect("an answer");
        let streamed = Reply::read(streamed).await.expect("a whole answer");
        for reply in [gateway.chat(model).await, streamed] {
            assert_eq!((reply.status, reply.engine()), (200, "good"), "{model}: {}", reply.text());
            let want = [("first", outcome), ("second", "ok")].map(|(d, o)| (d.into(), o.into()));
            assert_eq!(gateway.attempts(&reply).await, want, "{model}");
        }
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_falls_back() {
    let good = Engine::start("good");
    let gateway = start_with_hung(&[("m", &["http://nobody.invalid:8000", &good.url()])], &["m"]);
    let reply = gateway.chat("m").await;
    assert_eq!((reply.status, reply.engine()), (200, "good"), "{}", reply.text());
    let (name, outcome) = gateway.attempts(&reply).await.swap_remove(0);
    assert_eq!(name, "first");
    // An unreachable resolver runs into the connect time-out.
    assert!(["connect", "timeout_connect"].contains(&outcome.as_str()), "{outcome}");
}

#[tokio::test]
async fn retryable_statuses_fall_back() {
    let good = Engine::start("good");
    // The model's name is the status that this upstream returns.
    let bad = Raw::start(|received, wire| {
        let body: serde_json::Value = serde_json::from_slice(&received.body).expect("JSON");
        let status = body["model"].as_str().and_then(|m| m[1..].parse().ok()).expect("sNNN");
        wire.answer(status, r#"{"error": "of the first"}"#);
    });
    let statuses = [302, 401, 403, 407, 408, 429, 500, 502, 503, 504, 529];
    let ids: Vec<String> = statuses.iter().map(|status| format!("s{status}")).collect();
    let (bad, good) = (bad.url(), good.url());
    let urls = [bad.as_str(), good.as_str()];
    let models: Vec<_> = ids.iter().map(|id| (id.as_str(), &urls[..])).collect();
    let gateway = start(&models, "");
    for (id, status) in ids.iter().zip(statuses) {
        let reply = gateway.chat(id).await;
        assert_eq!((reply.status, reply.engine()), (200, "good"), "{id}: {}", reply.text());
        let outcome = match status {
            401 | 407 => format!("credential_{status}"),
            403 => "refused_403".into(),
            _ => format!("status_{status}"),
        };
        let want = [("first".into(), outcome), ("second".into(), "ok".into())];
        assert_eq!(gateway.attempts(&reply).await, want);
        let charged = gateway.metric("gateway_deployment_error_rate", &[("model", id)]).await;
        // These are not charged to the deployment.
        let free = [401, 403, 407, 408, 429, 503, 529].contains(&status);
        assert_eq!(charged > Some(0.0), !free, "{status}: {charged:?}");
    }
}

#[tokio::test]
async fn no_more_than_the_configured_attempts_are_made() {
    let bad: Vec<Raw> = (0..5).map(|_| Raw::answering(500, "{}")).collect();
    let urls: Vec<String> = bad.iter().map(Raw::url).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let tried = || bad.iter().map(|raw| raw.received().len()).collect::<Vec<_>>();
    for (more, attempts) in
        [("", 3), ("fallback: {attempts: 1}", 1), ("fallback: {attempts: 9}", 5)]
    {
        let gateway = tests::setup!().models(tests::one_model(&urls)).routing(logged(more)).start();
        let before = tried();
        let reply = gateway.chat("m").await;
        assert_eq!(reply.status, 502);
        let new: Vec<usize> = tried().iter().zip(before).map(|(now, then)| now - then).collect();
        assert_eq!(new.iter().sum::<usize>(), attempts, "{more}");
        assert!(new.iter().all(|n| *n <= 1), "each deployment is tried once: {new:?}");
        assert_eq!(gateway.attempts(&reply).await.len(), attempts);
    }
}

#[tokio::test]
async fn closed_pooled_connection_costs_no_request() {
    // Closes the connection instead of answering its second request, as a server may do with an
    // idle one.
    let raw = Raw::start(|_, wire| match wire.served() {
        0 => wire.answer(200, "{}"),
        _ => wire.close(),
    });
    let gateway = start(&[("m", &[&raw.url()])], "");
    for _ in 0..20 {
        let reply = gateway.chat("m").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(gateway.attempts(&reply).await, [("first".into(), "ok".into())]);
    }
    assert!(raw.received().len() > 20, "some requests met a connection that was closed");
}

/// A client error with text that the gateway itself never produces.
const REFUSAL: &str = "{ \"error\" :\t{\"message\":\"größe: 森\",\"type\":null}}\r\n ";

#[tokio::test]
async fn client_error_passes_unchanged_and_uncharged() {
    let other = Engine::start("other");
    let upstreams: Vec<(u16, Raw)> = [400, 413, 415, 422]
        .map(|status| (status, Raw::steps(vec![json(status, "x-mine: kept\r\n", REFUSAL)])))
        .into();
    let ids: Vec<String> = upstreams.iter().map(|(status, _)| format!("s{status}")).collect();
    let urls: Vec<[String; 2]> =
        upstreams.iter().map(|(_, raw)| [raw.url(), other.url()]).collect();
    let urls: Vec<[&str; 2]> = urls.iter().map(|[a, b]| [a.as_str(), b.as_str()]).collect();
    let models: Vec<_> = ids.iter().zip(&urls).map(|(id, urls)| (id.as_str(), &urls[..])).collect();
    let gateway = start(&models, "");
    for (id, (status, raw)) in ids.iter().zip(&upstreams) {
        let before = gateway.weights(id).await;
        let streamed = gateway.stream(id).await.expect("an answer");
        let streamed = Reply::read(streamed).await.expect("a whole answer");
        for reply in [gateway.chat(id).await, streamed] {
            assert_eq!((reply.status, reply.text().as_str()), (*status, REFUSAL));
            assert_eq!(reply.header("content-type"), "application/json");
            assert_eq!(reply.header("x-mine"), "kept");
            assert_eq!(gateway.attempts(&reply).await, [("first".into(), "rejected".into())]);
        }
        assert_eq!(raw.received().len(), 2, "one attempt a request");
        assert_eq!(gateway.weights(id).await, before, "nobody is ejected");
        let rate = gateway.metric("gateway_deployment_error_rate", &[("model", id)]).await;
        assert_eq!(rate, Some(0.0));
    }
    assert_eq!(other.requests().await, 0, "no client error falls back");
}

#[tokio::test]
async fn client_error_of_the_fallback_is_shown() {
    let (dead, down) = (Raw::answering(500, r#"{"error":"dead"}"#), Port::take());
    let judge = Raw::answering(400, REFUSAL);
    let judge = judge.url();
    let gateway = start(&[("dead", &[&dead.url(), &judge]), ("down", &[&down.url(), &judge])], "");
    for model in ["dead", "down"] {
        let reply = gateway.chat(model).await;
        assert_eq!((reply.status, reply.text().as_str()), (400, REFUSAL), "{model}");
    }
}

/// An upstream for each kind of failure, and the status and code that the client gets.
fn failing() -> Vec<(&'static str, Raw, u16, &'static str)> {
    let status = |status: u16| {
        Raw::steps(vec![json(status, "retry-after: 70\r\n", r#"{"error":"upstream-text"}"#)])
    };
    let none = "no_deployment_answered";
    vec![
        ("s401", status(401), 502, none),
        ("s403", status(403), 403, none),
        ("s407", status(407), 502, none),
        ("s408", status(408), 504, none),
        ("s429", status(429), 429, "rate_limit_exceeded"),
        ("s500", status(500), 502, none),
        ("s503", status(503), 503, none),
        ("s504", status(504), 504, none),
        ("s307", status(307), 502, none),
        ("reset", Raw::steps(vec![Step::Reset]), 502, none),
        ("hung", Raw::steps(vec![Step::Hang]), 504, "timeout_first_byte"),
    ]
}

#[tokio::test]
async fn status_says_why_all_deployments_failed() {
    let failing = failing();
    let urls: Vec<(&str, String)> = failing.iter().map(|(id, raw, ..)| (*id, raw.url())).collect();
    let urls: Vec<(&str, [&str; 1])> = urls.iter().map(|(id, url)| (*id, [url.as_str()])).collect();
    let models: Vec<_> = urls.iter().map(|(id, urls)| (*id, &urls[..])).collect();
    let gateway = start_with_hung(&models, &["hung"]);
    for (id, raw, status, code) in &failing {
        let streamed = gateway.stream(id).await.expect("an answer");
        let streamed = Reply::read(streamed).await.expect("a whole answer");
        // After 429 and 503 the deployment cools for its `Retry-After`.
        let waits = ["s429", "s503"].contains(id);
        let plain = gateway.chat(id).await;
        let second = if waits { (503, "no_deployment_answered") } else { (*status, *code) };
        for (reply, (status, code)) in [(streamed, (*status, *code)), (plain, second)] {
            let error = reply.error();
            assert_eq!((reply.status, error["code"].as_str()), (status, Some(code)), "{id}");
            let kind = match status {
                429 => "rate_limit_error",
                403 => "invalid_request_error",
                _ => "server_error",
            };
            assert_eq!(error["type"], kind, "{id}");
            // Its words are told unless they are about the gateway's key.
            let silent = ["s401", "s407", "s307"].contains(id);
            assert!(!silent || !reply.text().contains("upstream-text"), "{id}: {}", reply.text());
            assert!(reply.header("x-request-id").starts_with("req_"), "{id}");
            assert_eq!(!reply.header("retry-after").is_empty(), waits, "{id}");
        }
        assert_eq!(raw.received().len(), if waits { 1 } else { 2 }, "{id}: one attempt a request");
    }
}

#[tokio::test]
async fn most_useful_failure_is_told() {
    let limited = Raw::steps(vec![json(429, "retry-after: 90\r\n", "{}")]);
    let (broken, away) = (Raw::answering(500, "{}"), Raw::answering(503, "{}"));
    let [limited, broken, away] = [&limited, &broken, &away].map(Raw::url);
    let gateway = start_remote(&[
        ("limited-broken", &[&limited, &broken]),
        ("broken-limited", &[&broken, &limited]),
        ("broken-away", &[&broken, &away]),
        ("away-broken", &[&away, &broken]),
    ]);
    for (model, status, wait) in [
        ("limited-broken", 429, "90"),
        ("broken-limited", 429, "90"),
        // A full one is waited for, and is the last that is tried.
        ("broken-away", 503, "1"),
        ("away-broken", 503, "1"),
    ] {
        let reply = gateway.chat(model).await;
        assert_eq!((reply.status, reply.header("retry-after")), (status, wait), "{model}");
        let message = reply.error()["message"].as_str().expect("text").to_owned();
        assert!(message.contains("first: ") && message.contains("second: "), "{message}");
    }
}

#[tokio::test]
async fn client_request_id_is_kept() {
    let raw = Raw::answering(500, "{}");
    let gateway = start(&[("m", &[&raw.url()])], "");
    let request = gateway.client().post(gateway.url("/v1/chat/completions"));
    let request = request.header("x-request-id", "mine-1").body(r#"{"model":"m"}"#);
    let reply = Reply::read(request.send().await.expect("an answer")).await.expect("whole");
    assert_eq!(reply.header("x-request-id"), "mine-1");
    assert_eq!(raw.last().header("x-request-id"), Some("mine-1"), "upstream logs have it too");
    assert_eq!(gateway.record("mine-1").await["status"], 502);
}
