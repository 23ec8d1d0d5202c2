//! Error responses: OpenAI error objects with the right status, and an `x-request-id` on every
//! response.

use serde_json::{Value, json};
use tests::{Dialog, Engine, Gateway, Port, Raw, Reply, Step, eventually, one_model, routed};

const CHAT: &str = "/v1/chat/completions";
const PATHS: [&str; 5] = [CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/rerank"];

/// A gateway with the model `m` at this engine.
fn gateway(engine: &Engine) -> Gateway {
    tests::setup!().models(one_model(&[&engine.url()])).start()
}

/// Checks an error object, and gives its message.
fn error(reply: &Reply, status: u16, kind: &str, code: &str, param: &Value) -> String {
    assert_eq!(reply.status, status, "{}", reply.text());
    let error = reply.error();
    assert_eq!(error["type"], kind, "{error}");
    assert_eq!(error["code"], code, "{error}");
    assert_eq!(&error["param"], param, "{error}");
    assert!(!reply.header("x-request-id").is_empty(), "{:?}", reply.headers);
    error["message"].as_str().expect("text").to_owned()
}

#[tokio::test]
async fn unroutable_bodies_get_400_with_the_reason() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine);
    let cases = [
        ("", "invalid_json", json!(null), "is not a JSON object"),
        ("{", "invalid_json", json!(null), "is not a JSON object"),
        ("[]", "invalid_json", json!(null), "is not a JSON object"),
        ("model=m", "invalid_json", json!(null), "is not a JSON object"),
        (r#"{"model":"m"} trailing"#, "invalid_json", json!(null), "is not a JSON object"),
        (r#"{"messages":[]}"#, "missing_required_parameter", json!("model"), "provide a model"),
        (r#"{"model":null}"#, "invalid_type", json!("model"), "must be a string"),
        (r#"{"model":["m"]}"#, "invalid_type", json!("model"), "must be a string"),
        (r#"{"model":"m","model":"m"}"#, "duplicate_parameter", json!("model"), "more than once"),
        (r#"{"model":"m","mod\u0065l":"x"}"#, "duplicate_parameter", json!("model"), "once"),
    ];
    for path in PATHS {
        for (body, code, param, says) in &cases {
            let reply = gateway.post(path, *body).await;
            let message = error(&reply, 400, "invalid_request_error", code, param);
            assert!(message.contains(says), "{path} {body}: {message}");
        }
    }
    assert_eq!(engine.requests().await, 0);
}

#[tokio::test]
async fn a_compressed_body_is_a_415() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine);
    let request = gateway.client().post(gateway.url(CHAT)).header("content-encoding", "gzip");
    let reply =
        Reply::read(request.body("x").send().await.expect("an answer")).await.expect("whole");
    let message = error(&reply, 415, "invalid_request_error", "unsupported_encoding", &json!(null));
    assert!(message.contains("send the body as it is"), "{message}");
}

/// A thousand models at `url`.
fn many_models(url: &str) -> String {
    let model = |at| format!("  - {{id: model-{at:04}, base_url: {url}}}\n");
    format!("models:\n{}", (0..1000).map(model).collect::<String>())
}

#[tokio::test]
async fn unknown_models_and_paths_get_404() {
    let engine = Engine::start("only");
    let url = engine.url();
    let models = format!(
        "models:\n  - {{id: one, aliases: [uno], base_url: {url}}}\n  - {{id: two, base_url: {url}}}\n"
    );
    let gateway = tests::setup!().models(models).start();
    for reply in [gateway.chat("three").await, gateway.get("/v1/models/three").await] {
        let message =
            error(&reply, 404, "invalid_request_error", "model_not_found", &json!("model"));
        assert_eq!(message, "the model `three` does not exist; there are: one, two");
    }
    gateway.replace("config/models.yaml", many_models(&url));
    let nearest = "the nearest names are: model-0077, model-0177, model-0277; /v1/models lists all";
    let says = format!("the model `model-077` does not exist; {nearest}");
    let message = async || {
        let reply = gateway.chat("model-077").await;
        let said = error(&reply, 404, "invalid_request_error", "model_not_found", &json!("model"));
        (said == says).then_some(())
    };
    eventually(&says, message).await;
    let long = gateway.chat(&"x".repeat(100_000)).await;
    assert!(long.text().len() < 1_000, "the name is shown whole");
    for path in ["/", "/v1", "/v1/chat", "/v1/modelss", "/V1/models", "//v1/models"] {
        let message = error(
            &gateway.get(path).await,
            404,
            "invalid_request_error",
            "not_found",
            &json!(null),
        );
        assert!(message.contains(&format!("nothing at {path};")), "{message}");
        assert!(message.contains("/v1/models"), "{message}");
    }
    assert_eq!(gateway.post("/v1/images/generations", "{}").await.status, 404);
}

#[tokio::test]
async fn wrong_methods_get_405_with_the_allowed_ones() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine);
    let refused = async |method: &str, path: &str, allow: &str| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = gateway.client().request(method.clone(), gateway.url(path)).send().await;
        let reply = Reply::read(answer.expect("an answer")).await.expect("a whole answer");
        assert_eq!(reply.status, 405, "{method} {path}");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
        if method != reqwest::Method::HEAD {
            let message =
                error(&reply, 405, "invalid_request_error", "method_not_allowed", &json!(null));
            assert!(message.contains(allow), "{message}");
        }
    };
    for path in PATHS {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            refused(method, path, "POST").await;
        }
    }
    for path in ["/v1/models", "/v1/models/m", "/routing", "/health", "/health/ready", "/metrics"] {
        for method in ["POST", "DELETE", "OPTIONS"] {
            refused(method, path, "GET, HEAD").await;
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413() {
    let engine = Engine::start("only");
    let url = engine.url();
    let routing = routed("fixed\nrouting_parameter: {local_fraction: 1}", &[&url], &[]);
    let routing = format!("{routing}limits: {{body_mib: 1}}\n");
    let gateway = tests::setup!().models(one_model(&[&url])).routing(routing).start();
    assert_eq!(gateway.post(CHAT, body_of(1 << 20)).await.status, 200);
    let too_large = |reply: Reply| {
        let message =
            error(&reply, 413, "invalid_request_error", "request_too_large", &json!(null));
        assert!(message.contains("larger than 1048576 bytes"), "{message}");
    };
    too_large(gateway.post(CHAT, body_of((1 << 20) + 1)).await);
    // A declared length is refused before the body is read, a chunked body as soon as it is too
    // long.
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\n");
    let mut client = Dialog::with(&gateway).await;
    client.send(format!("{head}content-length: 1000000000000\r\n\r\n{{")).await;
    too_large(client.answer().await);
    assert!(client.ends().await);
    let mut client = Dialog::with(&gateway).await;
    client.send(format!("{head}transfer-encoding: chunked\r\n\r\n")).await;
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    client.send(&chunk).await;
    client.send("1\r\nx\r\n").await;
    too_large(client.answer().await);
    assert!(client.ends().await);
    assert_eq!(engine.requests().await, 1);
}

/// A chat request of this many bytes.
fn body_of(bytes: usize) -> String {
    let (head, tail) = (r#"{"model":"m","messages":[{"role":"user","content":""#, r#""}]}"#);
    format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len()))
}

#[tokio::test]
async fn a_body_that_breaks_off_reaches_nobody() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine);
    let mut client = Dialog::with(&gateway).await;
    let whole = r#"{"model":"m","messages":[]}"#;
    client
        .send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{whole}"
        ))
        .await;
    drop(client);
    eventually("it is counted", async || {
        let metrics = gateway.get("/metrics").await.text();
        let counted =
            |line: &str| line.starts_with("gateway_requests_total") && line.ends_with(" 1");
        metrics.lines().any(counted).then_some(())
    })
    .await;
    assert_eq!(engine.requests().await, 0);
}

/// The responses to a plain and a streamed request where `upstreams` are the only deployments.
async fn failure(upstreams: &[&str], timeouts: &str) -> [Reply; 2] {
    let routing = routed("fixed\nrouting_parameter: {local_fraction: 1}", upstreams, &[]);
    failure_with(upstreams, &routing, timeouts).await
}

async fn failure_with(upstreams: &[&str], routing: &str, timeouts: &str) -> [Reply; 2] {
    let routing = format!("{routing}timeouts: {timeouts}\n");
    let gateway = tests::setup!().models(one_model(upstreams)).routing(routing).start();
    let streamed = gateway.stream("m").await.expect("an answer");
    let streamed = Reply::read(streamed).await.expect("a whole answer");
    let replies = [gateway.chat("m").await, streamed];
    for reply in &replies {
        for upstream in upstreams {
            let address = upstream.trim_start_matches("http://");
            assert!(!reply.text().contains(address), "{}", reply.text());
        }
    }
    replies
}

#[tokio::test]
async fn deployments_that_do_not_answer_are_a_502() {
    let (refused, broken) = (Port::take(), Raw::steps(vec![Step::Close]));
    for reply in failure(&[&refused.url(), &broken.url()], "{}").await {
        let message = error(&reply, 502, "server_error", "no_deployment_answered", &json!(null));
        assert!(message.contains("local-1: could not connect"), "{message}");
        assert!(message.contains("local-2: the connection broke"), "{message}");
    }
    let failing = Raw::answering(500, r#"{"error":{"message":"at http://10.0.0.1/secret"}}"#);
    for reply in failure(&[&failing.url()], "{}").await {
        let message = error(&reply, 502, "server_error", "no_deployment_answered", &json!(null));
        let words = "local-1: answered 500; the last said: at [redacted]";
        assert_eq!(message, format!("no deployment of the model answered: {words}"));
    }
}

#[tokio::test]
async fn busy_deployments_give_503_and_rate_limits_429() {
    let waits = |status| {
        Raw::steps(vec![Step::send(&format!(
            "HTTP/1.1 {status} X\r\nretry-after: 70\r\ncontent-length: 2\r\n\r\n{{}}"
        ))])
    };
    let (busy, limited) = (waits(503), waits(429));
    let limit = (429, "rate_limit_error", "rate_limit_exceeded");
    let away = (503, "server_error", "no_deployment_answered");
    // Both cool for their `Retry-After`, so the second request is sent to no deployment.
    for (urls, first) in [(vec![busy.url()], away), (vec![busy.url(), limited.url()], limit)] {
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let routing = routed("fixed\nrouting_parameter: {local_fraction: 0}", &[], &urls);
        let replies = failure_with(&urls, &routing, "{}").await;
        for (reply, (status, kind, code)) in replies.iter().zip([away, first]) {
            error(reply, status, kind, code, &json!(null));
            assert!(["69", "70"].contains(&reply.header("retry-after")));
        }
    }
}

#[tokio::test]
async fn timeouts_get_504_with_their_name() {
    let silent = Raw::steps(vec![Step::Hang]);
    for (timeouts, code) in [
        ("{connect: 0.1, first_byte: 0.1}", "timeout_first_byte"),
        ("{total: 0.1}", "timeout_total"),
    ] {
        for reply in failure(&[&silent.url()], timeouts).await {
            let message = error(&reply, 504, "server_error", code, &json!(null));
            assert!(message.contains("time-out"), "{message}");
        }
    }
    eventually("every connection is given up", async || (silent.hung_up() == 4).then_some(()))
        .await;
}

#[tokio::test]
async fn every_response_has_a_request_id() {
    let engine = Engine::start("only");
    let gateway = gateway(&engine);
    let id = async |path: &str, given: Option<&str>| {
        let request = gateway.client().get(gateway.url(path));
        let request = match given {
            Some(given) => request.header("x-request-id", given),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        Reply::read(answer).await.expect("a whole answer").header("x-request-id").to_owned()
    };
    let mut seen = std::collections::BTreeSet::new();
    for path in ["/v1/models", "/v1/models/m", "/routing", "/health", "/metrics", CHAT, "/nowhere"]
    {
        let own = id(path, None).await;
        assert!(own.starts_with("req_") && own.len() == 36, "{path}: {own}");
        assert!(seen.insert(own), "{path}: an id given twice");
        assert_eq!(id(path, Some("mine-1")).await, "mine-1", "{path}");
    }
    for unfit in ["", "two words", &"x".repeat(129)] {
        assert!(id("/health", Some(unfit)).await.starts_with("req_"), "{unfit:?}");
    }
    assert!(gateway.chat("m").await.header("x-request-id").starts_with("req_"));
}
