//! Secrets: client credentials, API keys and addresses of deployments appear in no response, log or
//! metric.

use rustix::process::Signal;
use serde_json::Value;
use tests::{Gateway, Port, Raw, Reply, Step, eventually, logged, one_model};

const KEY_A: &str = "sk-key-of-place-a";
const KEY_B: &str = "sk-key-of-place-b";

async fn ask(gateway: &Gateway, path: &str, model: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = gateway.client().post(gateway.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(format!("{{\"model\":\"{model}\"}}")).send().await;
    Reply::read(answer.expect("an answer")).await.expect("a whole answer")
}

#[tokio::test]
async fn client_credentials_are_replaced_by_the_deployments_key() {
    let raw = Raw::answering(200, "{}");
    let url = raw.url();
    let gateway = tests::setup!()
        .models(format!(
            "models:\n  - {{id: keyed, base_url: '{url}', api_key: {KEY_A}}}\n  - {{id: open, base_url: '{url}'}}\n"
        ))
        .routing("# no lists: the fixed strategy has nothing to say\n")
        .start();
    let headers = [
        ("authorization", "Bearer client-secret"),
        ("proxy-authorization", "Basic client-secret"),
        ("x-api-key", "client-secret"),
        ("api-key", "client-secret"),
        ("cookie", "session=client-secret"),
        ("connection", "x-hop"),
        ("x-hop", "passed-on"),
        ("x-mine", "passed-on"),
    ];
    for (model, want) in [("keyed", Some(format!("Bearer {KEY_A}"))), ("open", None)] {
        assert_eq!(ask(&gateway, "/v1/chat/completions", model, &headers).await.status, 200);
        let last = raw.last();
        assert_eq!(last.header("authorization"), want.as_deref(), "{model}");
        assert_eq!(last.header("x-mine"), Some("passed-on"));
        // Hop-by-hop headers are a fixed set: `Connection` adds none.
        assert_eq!(last.header("x-hop"), Some("passed-on"));
        assert_eq!(last.header("host"), url.strip_prefix("http://"));
        assert!(!format!("{last:?}").contains("client-secret"), "{last:?}");
    }
}

#[tokio::test]
async fn key_goes_only_to_its_configured_host() {
    let [a, b] = [(); 2].map(|()| Raw::answering(200, "{}"));
    let to_b = format!("HTTP/1.1 307 X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", b.url());
    let redirecting = Raw::steps(vec![Step::send(&to_b)]);
    let models = format!(
        "models:\n  - {{id: m, base_url: '{0}', api_key: {KEY_A}}}\n  - id: routes\n    base_url: {0}\n    \
         api_key: {KEY_A}\n    route: [{{weight: 0}}, {{base_url: '{1}'}}]\n  - \
         {{id: moved, base_url: '{2}', api_key: {KEY_A}}}\n",
        a.url(),
        b.url(),
        redirecting.url(),
    );
    // `m` runs at `a` by models.yaml, and at `b` by routing.yaml.
    let gateway = tests::setup!()
        .models(&models)
        .routing(entry(&b.url(), "[m]", "standby: never", ""))
        .start();
    for model in ["m", "routes"] {
        let count = b.received().len();
        eventually("the other host is asked", async || {
            assert_eq!(gateway.chat(model).await.status, 200);
            (b.received().len() > count).then_some(())
        })
        .await;
    }
    assert_eq!(gateway.chat("moved").await.status, 502, "a redirect is not followed");
    assert!(b.received().iter().all(|received| received.header("authorization").is_none()));
    let expected = format!("Bearer {KEY_A}");
    let keyed = [a.received(), redirecting.received()].concat();
    assert!(keyed.iter().all(|received| received.header("authorization") == Some(&expected)));

    // With an `api_key` of its own the other host gets that key.
    let own = entry(&b.url(), "[m]", "standby: never", &format!("api_key: {KEY_B}"));
    let gateway = tests::setup!().models(&models).routing(own).start();
    eventually("the other host is asked", async || {
        gateway.chat("m").await;
        let key = b.last().header("authorization").map(str::to_owned);
        (key == Some(format!("Bearer {KEY_B}"))).then_some(())
    })
    .await;
}

/// A `routing.yaml` with one remote deployment.
fn entry(url: &str, models: &str, fallback: &str, more: &str) -> String {
    logged(&format!(
        "fallback: {{{fallback}}}\nremote_deployment:\n  - endpoint: {url}\n    models: {models}\n    {more}"
    ))
}

/// An upstream that puts its address and its key into every part of its answer.
fn telltale(status: u16) -> Raw {
    Raw::start(move |received, wire| {
        let host = received.header("host").unwrap_or_default();
        let key = received.header("authorization").unwrap_or_default();
        let body = format!(
            "{{\"error\":{{\"message\":\"{key} is wrong at http://{host}/v1/chat/completions ({host})\"}}}}"
        );
        wire.send(format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nserver: {host}\r\n\
             location: http://{host}/\r\nvia: {host}\r\nx-upstream: {host}\r\nx-key: {key}\r\n\
             retry-after: 1\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
    })
}

/// Everything a client or an operator can see, headers included.
async fn all_that_shows(gateway: &Gateway, models: &[&str]) -> String {
    let mut seen = String::new();
    for model in models {
        for stream in [false, true] {
            let body = format!("{{\"model\":\"{model}\",\"stream\":{stream}}}");
            let reply = gateway.post("/v1/chat/completions", body).await;
            seen += &format!("{model}: {} {:?} {}\n", reply.status, reply.headers, reply.text());
            gateway.record(reply.header("x-request-id")).await;
        }
    }
    for path in ["/routing", "/metrics", "/v1/models", "/v1/models/none", "/health/ready", "/none"]
    {
        let reply = gateway.get(path).await;
        seen += &format!("{path}: {:?} {}\n", reply.headers, reply.text());
    }
    let records = gateway.records().iter().map(Value::to_string).collect::<String>();
    seen + &records + &gateway.log() + &gateway.printed()
}

#[tokio::test]
async fn addresses_and_keys_never_show() {
    let upstreams: Vec<Raw> = [400, 401, 404, 422, 429, 500, 503].map(telltale).into();
    let refused = Port::take();
    let mut urls: Vec<String> = upstreams.iter().map(Raw::url).collect();
    urls.extend([
        refused.url(),
        "http://nobody.invalid:81".into(),
        urls[0].replace("http", "https"),
    ]);
    let ids: Vec<String> = (0..urls.len()).map(|n| format!("m{n}")).collect();
    let list = ids.iter().zip(&urls);
    let models: String = list
        .map(|(id, url)| format!("  - {{id: {id}, base_url: '{url}/v1', api_key: {KEY_A}}}\n"))
        .collect();
    // Probes, so that the log has a line about a deployment that is down.
    let routing = entry(&refused.url(), "[m7]", "attempts: 2", "health: /health");
    let gateway = tests::setup!()
        .models(format!("models:\n{models}"))
        .routing(format!("{routing}\nhealth_check: 0.1\ntimeouts: {{connect: 1}}\n"))
        .start();
    eventually("a probe fails", async || gateway.log().contains("health changed").then_some(()))
        .await;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let seen = all_that_shows(&gateway, &ids).await;
    assert!(seen.contains("[redacted]"), "the upstream's words are passed on without them");
    for url in urls {
        let place = url.split("://").nth(1).expect("a URL");
        assert!(!seen.contains(place), "{place} in {seen}");
    }
    assert!(!seen.contains(KEY_A), "{seen}");
}

#[tokio::test]
async fn upstream_texts_are_redacted() {
    let other = "api.other.example";
    let told = format!("{KEY_B} at https://{other}/v1?x, {other}:443, http://engine-7:8000/");
    let refusal = format!("{{\"error\":{{\"message\":\"{told}\"}}}}");
    let refusing = Raw::steps(vec![Step::send(&format!(
        "HTTP/1.1 400 X\r\ncontent-type: application/json\r\nx-asked: {other}\r\n\
         x-kept: yes\r\n{}\r\n{refusal}",
        length(&refusal)
    ))]);
    let content = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let failing = Raw::steps(vec![
        Step::stream(),
        Step::chunk(content),
        Step::chunk(format!("data: {refusal}\n\n")),
    ]);
    let fault = Raw::answering(200, &refusal.replace("}}", ",\"code\":400}}"));
    let models = format!(
        "models:\n  - {{id: a, base_url: '{}'}}\n  - {{id: b, base_url: '{}'}}\n  - {{id: c, base_url: \
         '{}'}}\n  - {{id: d, base_url: 'https://{other}', api_key: {KEY_B}}}\n",
        refusing.url(),
        failing.url(),
        fault.url()
    );
    let gateway = tests::setup!().models(models).start();
    let hidden = |text: &str| {
        let masked = "[redacted] at [redacted], [redacted], [redacted]";
        assert!(text.contains(masked), "{text}");
    };
    let reply = gateway.chat("a").await;
    assert_eq!((reply.status, reply.header("x-asked"), reply.header("x-kept")), (400, "", "yes"));
    hidden(&reply.text());
    let mut answer = gateway.stream("b").await.expect("an answer");
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.extend_from_slice(&chunk);
    }
    hidden(&String::from_utf8_lossy(&text));
    let reply = gateway.chat("c").await;
    assert_eq!(reply.status, 400);
    hidden(&reply.text());
}

#[tokio::test]
async fn unreadable_refusal_is_replaced() {
    let long = format!("{{\"error\":\"{KEY_A}{}\"}}", "x".repeat(1 << 17));
    let encoded = format!("content-encoding: gzip\r\n{}", length(KEY_A));
    let steps = |head: String, body: &str| {
        Raw::steps(vec![Step::send(&format!("HTTP/1.1 400 X\r\n{head}\r\n{body}"))])
    };
    for raw in [steps(encoded, KEY_A), steps(length(&long), &long)] {
        let url = raw.url();
        let models = format!("models: [{{id: m, base_url: '{url}', api_key: {KEY_A}}}]\n");
        let reply = tests::setup!().models(models).start().chat("m").await;
        assert_eq!((reply.status, reply.header("content-encoding")), (400, ""));
        assert_eq!(reply.error()["message"], "the deployment refused the request");
    }
}

fn length(body: &str) -> String {
    format!("content-length: {}\r\n", body.len())
}

#[tokio::test]
async fn refused_edit_is_reported_without_keys() {
    let url = Port::take().url();
    let good = entry(&url, "[m]", "attempts: 1", &format!("api_key: {KEY_A}"));
    let gateway = tests::setup!().models("models: [{id: m}]\n").routing(&good).start();
    // A gateway that answers has its signal handlers.
    assert_eq!(gateway.get("/health").await.status, 200);
    let edit = |text: &str| {
        gateway.write("config/routing.yaml", text);
        gateway.signal(Signal::HUP);
    };
    for bad in [
        good.replace("api_key:", "api_kye:"),
        good.replace("api_key: ", "api_key: [") + "]",
        good.replace("    api_key: ", "    api_key: \"") + "\n",
        format!("{good}routing_parameter: {{api_token: {KEY_A}}}\n"),
    ] {
        edit(&bad);
        let what = format!("the edit is refused: {bad}");
        let told = eventually(&what, async || {
            let error = gateway.routing().await["reload"]["last_error"].as_str().map(str::to_owned);
            error.filter(|_| gateway.log().contains("refused"))
        });
        let told = told.await + &gateway.log();
        assert!(told.contains("config/routing.yaml"), "{told}");
        assert!(!told.contains(KEY_A), "{bad}\n{told}");
        edit(&good);
        eventually("the good one is back", async || {
            gateway.routing().await["reload"]["last_error"].is_null().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn trace_log_shows_no_key() {
    let raw = telltale(500);
    let gateway = tests::setup!()
        .models(format!("models:\n  - {{id: m, base_url: '{}', api_key: {KEY_A}}}\n", raw.url()))
        .env("RUST_LOG", "trace")
        .start();
    let headers = [("authorization", "Bearer client-secret")];
    let reply = ask(&gateway, "/v1/chat/completions", "m", &headers).await;
    assert_eq!(reply.status, 502);
    let log = eventually("the log is written", async || {
        Some(gateway.log()).filter(|log| log.contains("TRACE"))
    });
    let log = log.await;
    assert!(!log.contains(KEY_A), "{log}");
    assert!(!log.contains("client-secret"), "{log}");
}

#[tokio::test]
async fn only_the_admin_sees_endpoints_nobody_secrets() {
    let url = Port::take().url();
    let guest = wat::parse_str(include_str!("../../guests/good.wat")).expect("a component");
    let routing = entry(&url, "[m]", "attempts: 1", &format!("api_key: {KEY_B}"));
    let parameters = "routing_strategy: good\nrouting_parameter:\n  fraction: 0.25\n  \
        apiKey: hidden-1\n  nested: [{db_password: hidden-2, plain: shown}]\n  auth_token: ${TOKEN}\n";
    let gateway = tests::setup!()
        .file("plugins/good.wasm", guest)
        .models(format!("models:\n  - {{id: m, base_url: '{url}', api_key: {KEY_A}}}\n"))
        .routing(format!("{parameters}{routing}"))
        .env("TOKEN", "hidden-3")
        .env("ADMIN_TOKEN", "admin-token")
        .start();
    let routing = async |token: &str| {
        let request = gateway.client().get(gateway.url("/routing")).header("authorization", token);
        Reply::read(request.send().await.expect("an answer")).await.expect("whole")
    };
    for token in
        ["", "Bearer ", "Bearer admin", "Bearer admin-token2", "admin-token", "Basic admin-token"]
    {
        let reply = routing(token).await;
        assert_eq!(reply.status, 200);
        assert!(!reply.text().contains(&url) && !reply.text().contains("endpoint"), "{token}");
    }
    let reply = routing("Bearer admin-token").await;
    assert_eq!(reply.json()["models"]["m"]["deployments"][0]["endpoint"], url);
    let shown = &reply.json()["strategy"]["parameters"];
    assert_eq!((&shown["fraction"], &shown["nested"][0]["plain"]), (&0.25.into(), &"shown".into()));
    for secret in [KEY_A, KEY_B, "hidden-", "admin-token"] {
        assert!(!reply.text().contains(secret), "{secret} in {}", reply.text());
    }
    let shown = all_that_shows(&gateway, &["m"]).await;
    for secret in [KEY_A, KEY_B, "hidden-", "admin-token", &url] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[tokio::test]
async fn without_an_admin_token_nobody_is_admin() {
    for token in [None, Some("")] {
        let mut setup =
            tests::setup!().models("models: [{id: m, base_url: 'http://127.0.0.1:9'}]\n");
        if let Some(token) = token {
            setup = setup.env("ADMIN_TOKEN", token);
        }
        let gateway = setup.start();
        let request = gateway.client().get(gateway.url("/routing"));
        let answer = request.header("authorization", "Bearer ").send().await.expect("an answer");
        let reply = Reply::read(answer).await.expect("whole");
        assert!(!reply.text().contains("127.0.0.1"), "{}", reply.text());
    }
}

#[tokio::test]
async fn response_headers_name_no_address() {
    let upstream = Raw::start(|_, wire| {
        let place = format!("http://{}/v1", wire.address());
        wire.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-litellm-model-api-base: {place}\r\n\
             x-kept: 1\r\ncontent-length: 2\r\n\r\n{{}}"
        ));
    });
    let models = one_model(&[&upstream.url()]);
    let gateway = tests::setup!().models(models).start();
    let reply = gateway.chat("m").await;
    assert_eq!((reply.status, reply.header("x-kept")), (200, "1"));
    assert_eq!(reply.header("x-litellm-model-api-base"), "");
}
