//! The access log and the metrics have everything an operator needs, and no content of a request.

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{ACCESS_LOG, Engine, Gateway, Port, Raw, Reply, Step, eventually, in_order, logged};

const FIELDS: [&str; 20] = [
    "attempts",
    "cost",
    "deployment",
    "error",
    "first_byte_ms",
    "model",
    "outcome",
    "path",
    "queued_ms",
    "reason",
    "request_bytes",
    "request_id",
    "response_bytes",
    "side",
    "status",
    "stream",
    "time",
    "total_ms",
    "usage",
    "wasted_ms",
];

fn keys(record: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> =
        record.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();

    keys
}

fn chat(stream: bool) -> String {
    json!({
        "model": "alias",
        "stream": stream,
        "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "a-prompt of three"}],
        "user": "a-prompt-too",
    })
    .to_string()
}

#[tokio::test]
async fn line_has_every_field_but_no_content() {
    let (down, engine) = (Port::take(), Engine::start("good"));
    let models = in_order(&[("m", &[&down.url(), &engine.url()])]);
    let models =
        models.replace("    route:", "    aliases: [alias]\n    api_key: a-key\n    route:");
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    for stream in [false, true] {
        let body = chat(stream);
        let reply = gateway.post("/v1/chat/completions?q=a-query", body.clone()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let record = gateway.record(reply.header("x-request-id")).await;
        assert_eq!(keys(&record), FIELDS);
        let attempts = tests::outcomes(&record);
        let want = [("first", "connect"), ("second", "ok")].map(|(d, o)| (d.into(), o.into()));
        assert_eq!(attempts, want);
        assert_eq!(
            record["usage"],
            json!({"prompt_tokens": 3, "completion_tokens": 8, "estimated": false})
        );
        for (field, want) in [
            ("path", json!("/v1/chat/completions")),
            ("model", json!("m")),
            ("deployment", json!("second")),
            ("side", json!("local")),
            ("status", json!(200)),
            ("outcome", json!("ok")),
            ("stream", json!(stream)),
            ("request_bytes", json!(body.len())),
            ("response_bytes", json!(reply.body.len())),
        ] {
            assert_eq!(record[field], want, "{field} in {record}");
        }
        let number = |field: &str| record[field].as_f64().expect("a number");
        assert!(0.0 < number("first_byte_ms") && number("first_byte_ms") <= number("total_ms"));
        assert!(record["time"].as_str().expect("text").ends_with('Z'), "{record}");
    }
    let everything = std::fs::read_to_string(gateway.path(ACCESS_LOG)).expect("a log");
    assert_eq!(everything.lines().count(), 2, "one line a request");
    // The own log names the host of an attempt that failed.
    let log = gateway.log();
    let log: String = log.lines().filter(|line| !line.contains("an attempt failed")).collect();
    for secret in ["a-prompt", "Hello from", "a-key", "a-query", "127.0.0.1"] {
        assert!(!everything.contains(secret), "{secret} in {everything}");
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn failed_requests_are_logged() {
    let down = Port::take();
    let gateway = tests::setup!()
        .models(in_order(&[("m", &[&down.url()])]))
        .routing(logged("limits: {body_mib: 1}"))
        .start();
    let path = "/v1/chat/completions";
    let large = format!("{{\"model\":\"m\",\"x\":\"{}\"}}", "x".repeat(1 << 20));
    for (body, status, model) in [
        (chat(false).replace("alias", "m"), 502, "m"),
        (chat(true).replace("alias", "secret-name"), 404, ""),
        ("{a-prompt".into(), 400, ""),
        (large, 413, ""),
    ] {
        let reply = gateway.post(path, body).await;
        let record = gateway.record(reply.header("x-request-id")).await;
        assert_eq!(keys(&record), FIELDS);
        assert_eq!((reply.status, &record["status"]), (status, &json!(status)), "{record}");
        assert_eq!((&record["model"], &record["outcome"]), (&json!(model), &json!("error")));
        assert_eq!((&record["deployment"], &record["usage"]), (&Value::Null, &Value::Null));
    }
    let everything = std::fs::read_to_string(gateway.path(ACCESS_LOG)).expect("a log");
    assert!(
        !everything.contains("a-prompt") && !everything.contains("secret-name"),
        "{everything}"
    );
}

#[tokio::test]
async fn abandoned_request_is_logged_with_its_deployment() {
    let hung = Raw::steps(vec![Step::Hang]);
    let gateway =
        tests::setup!().models(in_order(&[("m", &[&hung.url()])])).routing(logged("")).start();
    let request =
        gateway.client().post(gateway.url("/v1/chat/completions")).body(r#"{"model":"m"}"#);
    let answer = tokio::spawn(request.header("x-request-id", "given-up").send());
    eventually("the request arrives", async || (!hung.received().is_empty()).then_some(())).await;
    answer.abort();
    let record = gateway.record("given-up").await;
    assert_eq!((&record["status"], &record["outcome"]), (&json!(499), &json!("cancelled")));
    assert_eq!(tests::outcomes(&record), [("first".into(), "cancelled".into())]);
    let labels = [("deployment", "first"), ("outcome", "cancelled")];
    assert_eq!(gateway.metric("gateway_attempts_total", &labels).await, Some(1.0));
}

#[tokio::test]
async fn usage_is_logged_when_the_client_leaves_early() {
    let usage = "data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\n";
    let raw = Raw::steps(vec![Step::stream(), Step::chunk(usage), Step::Hang]);
    let gateway =
        tests::setup!().models(in_order(&[("m", &[&raw.url()])])).routing(logged("")).start();
    let mut answer = gateway.stream("m").await.expect("an answer");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!(answer.chunk().await.expect("a chunk").expect("one"), usage);
    drop(answer);
    let record = gateway.record(&id).await;
    assert_eq!(record["outcome"], "cancelled");
    assert_eq!(
        record["usage"],
        json!({"prompt_tokens": 5, "completion_tokens": 6, "estimated": false})
    );
}

#[tokio::test]
async fn a_renamed_log_is_opened_anew_on_sighup() {
    let engine = Engine::start("good");
    let gateway =
        tests::setup!().models(in_order(&[("m", &[&engine.url()])])).routing(logged("")).start();
    let first = gateway.chat("m").await;
    gateway.record(first.header("x-request-id")).await;
    std::fs::rename(gateway.path(ACCESS_LOG), gateway.path("old.log")).expect("a log");
    gateway.signal(Signal::HUP);
    eventually("the new file", async || gateway.path(ACCESS_LOG).exists().then_some(())).await;
    let second = gateway.chat("m").await;
    gateway.record(second.header("x-request-id")).await;
    assert_eq!(gateway.records().len(), 1);
    let old = std::fs::read_to_string(gateway.path("old.log")).expect("the old log");
    assert_eq!(old.lines().count(), 1, "{old}");
}

#[tokio::test]
async fn full_disk_drops_counted_lines_but_no_request() {
    let engine = Engine::start("good");
    let gateway = tests::setup!()
        .models(in_order(&[("m", &[&engine.url()])]))
        .routing("logging: {output: /dev/full}\n")
        .start();
    for _ in 0..10 {
        assert_eq!(gateway.chat("m").await.status, 200);
    }
    eventually("every line is counted", async || {
        let dropped = gateway.metric("gateway_access_log_dropped_total", &[]).await;
        (dropped == Some(10.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_log_can_go_to_standard_output() {
    let engine = Engine::start("good");
    let gateway = tests::setup!()
        .models(in_order(&[("m", &[&engine.url()])]))
        .routing("logging: {output: stdout}\n")
        .start();
    let id = gateway.chat("m").await.header("x-request-id").to_owned();
    let line = eventually("a line", async || {
        gateway.printed().lines().find(|line| line.contains(&id)).map(str::to_owned)
    });
    let record: Value = serde_json::from_str(&line.await).expect("a line of JSON");
    assert_eq!(keys(&record), FIELDS);
}

/// Every metric family, and its labels.
const FAMILIES: [(&str, &[&str]); 17] = [
    ("gateway_requests_total", &["model", "status"]),
    ("gateway_attempts_total", &["deployment", "model", "outcome", "side"]),
    ("gateway_request_duration_seconds_count", &["model"]),
    ("gateway_request_duration_seconds_bucket", &["model", "le"]),
    ("gateway_first_byte_seconds_count", &["deployment", "model"]),
    ("gateway_requests_in_flight", &[]),
    ("gateway_deployment_in_flight", &["deployment", "model", "side"]),
    ("gateway_deployment_error_rate", &["deployment", "model", "side"]),
    ("gateway_deployment_weight", &["deployment", "model", "side"]),
    ("gateway_deployment_healthy", &["deployment", "model", "side"]),
    ("gateway_ejections_total", &["deployment", "model", "side"]),
    ("gateway_retries_denied_total", &[]),
    ("gateway_strategy_calls_total", &["outcome", "strategy"]),
    ("gateway_reloads_total", &["result"]),
    ("gateway_access_log_dropped_total", &[]),
    ("gateway_log_dropped_total", &[]),
    ("gateway_first_byte_seconds_bucket", &["deployment", "model", "le"]),
];

async fn series(gateway: &Gateway) -> Vec<String> {
    let reply = gateway.get("/metrics").await;
    assert!(reply.header("content-type").starts_with("text/plain"), "{:?}", reply.headers);
    let text = reply.text();
    let names = text.lines().filter(|line| !line.starts_with('#'));
    names.map(|line| line.rsplit_once(' ').expect("a sample").0.to_owned()).collect()
}

#[tokio::test]
async fn metrics_have_every_family_and_no_client_labels() {
    let (engine, down) = (Engine::start("good"), Port::take());
    let routing = tests::split(0.5, &[&engine.url()], &[&down.url()], "");
    let gateway = tests::setup!()
        .models(tests::one_model(&[&engine.url(), &down.url()]))
        .routing(routing)
        .start();
    // Both kinds of attempt must have been made.
    eventually("an attempt that failed", async || {
        assert_eq!(gateway.chat("m").await.status, 200);
        gateway.metric("gateway_attempts_total", &[("outcome", "connect")]).await
    })
    .await;
    assert_eq!(gateway.chat("unknown").await.status, 404);
    let before = series(&gateway).await;
    for (name, labels) in FAMILIES {
        let found = before.iter().find(|series| series.split('{').next() == Some(name));
        let found = found.unwrap_or_else(|| panic!("{name} in {before:#?}"));
        let given = found.matches("=\"").count();
        let all = labels.iter().all(|label| found.contains(&format!("{label}=\"")));
        assert!(all && given == labels.len(), "{found}");
    }
    assert_eq!(gateway.metric("gateway_deployment_weight", &[("side", "local")]).await, Some(0.5));
    assert_eq!(gateway.metric("gateway_deployment_healthy", &[]).await, Some(2.0));
    gateway.is_idle().await;

    for n in 0..100 {
        let body = json!({"model": format!("made-up-{n}"), "messages": []}).to_string();
        let request = gateway.client().post(gateway.url(&format!("/v1/chat/completions?x={n}")));
        let request = request.header("x-request-id", format!("made-up-{n}")).body(body);
        let reply = Reply::read(request.send().await.expect("an answer")).await.expect("whole");
        assert_eq!(reply.status, 404);
        gateway.get(&format!("/made-up-{n}")).await;
    }
    assert_eq!(series(&gateway).await, before, "labels come from the configuration alone");
    let unknown = [("model", ""), ("status", "404")];
    eventually("every unknown model is counted", async || {
        (gateway.metric("gateway_requests_total", &unknown).await == Some(101.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn reloads_are_counted() {
    let engine = Engine::start("good");
    let models = in_order(&[("m", &[&engine.url()])]);
    let gateway = tests::setup!().models(&models).routing(logged("")).start();
    let reloads =
        async |result| gateway.metric("gateway_reloads_total", &[("result", result)]).await;
    assert_eq!((reloads("loaded").await, reloads("refused").await), (Some(0.0), Some(0.0)));
    gateway.write("config/models.yaml", "models: [");
    eventually("a refused reload", async || (reloads("refused").await >= Some(1.0)).then_some(()))
        .await;
    gateway.write("config/models.yaml", format!("{models}# mended\n"));
    eventually("a reload", async || (reloads("loaded").await >= Some(1.0)).then_some(())).await;
}
