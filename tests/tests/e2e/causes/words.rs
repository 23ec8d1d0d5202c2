//! What clients and the log are told of a failure.

use super::*;

#[tokio::test]
async fn a_wrong_request_is_told_in_the_engines_words() {
    let good = Engine::start("good");
    let refusal = error("messages must not be empty", "");
    let raws = [400, 413, 415, 422, 451].map(|status| (status, Raw::answering(status, &refusal)));
    let named = Raw::answering(404, &error("Previous response with id 'resp_12' not found.", ""));
    for (status, raw) in &raws {
        let gateway = start(&[("m", &[&raw.url(), &good.url()])], "");
        for _ in 0..3 {
            let reply = ask(&gateway, "m", "a").await;
            assert_eq!((reply.status, reply.text()), (*status, refusal.clone()));
            let record = gateway.record(reply.header("x-request-id")).await;
            assert_eq!(
                (&record["outcome"], &record["deployment"]),
                (&json!("rejected"), &json!("first"))
            );
            assert_eq!(gateway.attempts(&reply).await, [("first".into(), "rejected".into())]);
        }
        let of_first = [("deployment", "first")];
        let samples = gateway.metric("gateway_first_byte_seconds_count", &of_first).await;
        assert_eq!(samples.unwrap_or(0.0), 0.0, "no sample of latency");
        assert_eq!(gateway.metric("gateway_deployment_error_rate", &of_first).await, Some(0.0));
    }
    // In an answer of status 200, by a number alone.
    let rejecting = Raw::answering(200, r#"{"object":"error","message":"no","code":400}"#);
    let gateway = start(&[("m", &[&rejecting.url(), &good.url()])], "");
    let reply = ask(&gateway, "m", "a").await;
    assert_eq!((reply.status, &reply.error()["code"]), (400, &json!("request_rejected")));
    assert_eq!(reply.error()["message"], "no");
    let gateway = start(&[("m", &[&named.url(), &good.url()])], "");
    let asked = json!({"model": "m", "input": "a", "previous_response_id": "resp_12"}).to_string();
    let reply = gateway.post("/v1/responses", asked).await;
    assert_eq!(reply.status, 404, "it names what the client named: {}", reply.text());
    assert_eq!(good.requests().await, 0);
}

#[tokio::test]
async fn the_last_engines_words_reach_the_client() {
    let key = "sk-0123456789abcdefghijklmnop";
    let dead = Raw::answering(500, &error(&format!("CUDA out of memory at {key}"), "oom"));
    let poor = Raw::answering(429, &error("You exceeded your current quota", "insufficient_quota"));
    let barred =
        Raw::answering(401, &error("Incorrect API key provided: sk-abc", "invalid_api_key"));
    let lost = Raw::answering(404, &error("The model `lost` does not exist. Try ours!", ""));
    let down = Port::take();
    let limited = Raw::start(|_, wire| {
        wire.send("HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n");
    });
    let [dead, poor, barred, lost, limited] =
        [&dead, &poor, &barred, &lost, &limited].map(Raw::url);
    let down = down.url();
    let models: &[(&str, &[&str])] = &[
        ("dead", &[&dead, &down]),
        ("poor", &[&poor, &down]),
        ("barred", &[&barred]),
        ("lost", &[&lost]),
        ("limited", &[&limited, &dead]),
    ];
    let models = in_order(models).replace("name: first,", &format!("name: first, api_key: {key},"));
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    for (model, status, code, says, never) in [
        ("dead", 502, "oom", "CUDA out of memory", key),
        ("poor", 429, "insufficient_quota", "You exceeded your current quota", "no deployment"),
        ("barred", 502, "no_deployment_answered", "did not accept", "Incorrect"),
        ("lost", 404, "model_not_found", "it does not have the model", "Try ours"),
        ("limited", 429, "rate_limit_exceeded", "answered 429", "insufficient_quota"),
    ] {
        let reply = ask(&gateway, model, "a").await;
        let error = reply.error();
        assert_eq!((reply.status, &error["code"]), (status, &json!(code)), "{model}: {error}");
        let wait = if model == "limited" { "7" } else { "" };
        assert_eq!(reply.header("retry-after"), wait, "{model}");
        let text = reply.text();
        assert!(text.contains(says) && !text.contains(never), "{model}: {text}");
    }
}

#[tokio::test]
async fn each_kind_of_failure_is_one_line_a_minute() {
    let (down, good) = (Port::take(), Engine::start("good"));
    let plain = good.url().replace("http:", "https:");
    let models: &[(&str, &[&str])] =
        &[("refused", &[&down.url(), &good.url()]), ("plain", &[&plain, &good.url()])];
    let gateway = start(models, "ejection: {consecutive: 0, percent: 0}");
    for n in 0..10 {
        for model in ["refused", "plain"] {
            assert_eq!(ask(&gateway, model, &n.to_string()).await.engine(), "good");
        }
    }
    let log = gateway.log();
    let lines = |kind: &str| {
        log.lines()
            .filter(|l| l.contains("an attempt failed") && l.contains(kind))
            .collect::<Vec<_>>()
    };
    let (refused, plain) = (lines("\"connect\""), lines("\"tls\""));
    assert_eq!((refused.len(), plain.len()), (1, 1), "{log}");
    assert!(refused[0].contains("Connection refused") && refused[0].contains("127.0.0.1"), "{log}");
    assert!(refused[0].contains("WARN") && plain[0].contains("plain"), "{log}");
    assert!(!log.contains("/v1/chat"), "no path: {log}");
}
