//! Counters of wasted attempts, ejections, and retries that the budget denied.

use serde_json::json;
use tests::{Engine, Gateway, Port, Raw, Step, eventually, in_order, logged};

const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";

/// Wasted attempts of a model by cause; all of its wasted attempts.
async fn wasted(gateway: &Gateway, model: &str, cause: &str) -> (f64, f64) {
    let name = "gateway_wasted_attempts_total";
    let of = async |labels: &[(&str, &str)]| gateway.metric(name, labels).await.unwrap_or(0.0);
    (of(&[("model", model), ("cause", cause)]).await, of(&[("model", model)]).await)
}

#[tokio::test]
async fn unanswered_attempts_count_as_wasted() {
    let reset = Raw::steps(vec![Step::Reset]);
    let hang = Raw::steps(vec![Step::Hang]);
    let cut = Raw::steps(vec![Step::stream(), Step::chunk(EVENT), Step::Close]);
    let died = Raw::answering(500, "{}");
    let (busy, good, down) = (Raw::answering(503, "{}"), Engine::start("good"), Port::take());
    let fault = Raw::answering(400, r#"{"error":{"message":"too long"}}"#);
    let urls = [
        hang.url(),
        reset.url(),
        cut.url(),
        died.url(),
        busy.url(),
        down.url(),
        fault.url(),
        good.url(),
    ];
    // Model, its only deployment, and the cause of waste, if there is one.
    let cases = [
        ("late", &urls[0], Some("timeout")),
        ("reset", &urls[1], Some("broken")),
        ("cut", &urls[2], Some("broken")),
        ("died", &urls[3], Some("broken")),
        ("busy", &urls[4], None),
        ("down", &urls[5], None),
        ("fault", &urls[6], None),
        ("good", &urls[7], None),
    ];
    let models: Vec<(&str, Vec<&str>)> =
        cases.iter().map(|(model, url, _)| (*model, vec![url.as_str()])).collect();
    let models: Vec<(&str, &[&str])> =
        models.iter().map(|(model, urls)| (*model, &urls[..])).collect();
    let gateway = tests::setup!()
        .models(in_order(&models))
        .routing(logged("timeouts: {first_byte: 0.2}"))
        .start();
    for (model, _, cause) in cases {
        let answer = gateway.stream(model).await.expect("an answer");
        let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
        // The body may be complete or not.
        let _ = answer.bytes().await;
        let record = gateway.record(&id).await;
        let (of_cause, all) = wasted(&gateway, model, cause.unwrap_or("")).await;
        let want = if cause.is_some() { (1.0, 1.0) } else { (0.0, 0.0) };
        assert_eq!((of_cause, all), want, "{model}");
        let ms = record["wasted_ms"].as_f64().expect("a number");
        assert_eq!(ms > 0.0, cause.is_some(), "{model}: {record}");
        let seconds = gateway.metric("gateway_wasted_seconds_total", &[("model", model)]).await;
        assert!((seconds.unwrap_or(0.0) * 1e3 - ms).abs() < 5.0, "{model}: {seconds:?}, {ms} ms");
    }
}

#[tokio::test]
async fn work_for_a_departed_client_is_wasted() {
    let hang = Raw::steps(vec![Step::Hang]);
    let begun = Raw::steps(vec![Step::stream(), Step::chunk(EVENT), Step::Hang]);
    let models = in_order(&[("before", &[&hang.url()]), ("after", &[&begun.url()])]);
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let body = json!({"model": "before"}).to_string();
    let request = gateway.client().post(gateway.url("/v1/chat/completions")).body(body);
    let request = tokio::spawn(request.header("x-request-id", "before").send());
    eventually("the request arrives", async || (!hang.received().is_empty()).then_some(())).await;
    request.abort();
    let mut answer = gateway.stream("after").await.expect("an answer");
    let after = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!(answer.chunk().await.expect("a chunk").expect("one"), EVENT);
    drop(answer);
    for (model, id) in [("before", "before"), ("after", &after)] {
        let record = gateway.record(id).await;
        assert!(record["wasted_ms"].as_f64() > Some(0.0), "{record}");
        assert_eq!(wasted(&gateway, model, "client_gone").await, (1.0, 1.0), "{model}");
    }
}

#[tokio::test]
async fn ejections_and_denied_retries_are_counted() {
    let failing = [Raw::answering(500, "{}"), Raw::answering(500, "{}")];
    let good = Engine::start("good");
    let [a, b] = failing.each_ref().map(Raw::url);
    let models = in_order(&[("ejected", &[&a, &good.url()]), ("denied", &[&a, &b])]);
    let budget = "fallback: {budget: {percent: 0, per_second: 0}}\nejection: {consecutive: 2}";
    let gateway = tests::setup!().models(models).routing(logged(budget)).start();
    let ejections = async |model| {
        gateway
            .metric("gateway_ejections_total", &[("model", model), ("deployment", "first")])
            .await
    };
    assert_eq!(ejections("ejected").await, Some(0.0));
    for _ in 0..4 {
        assert_eq!(gateway.chat("ejected").await.status, 200);
    }
    assert_eq!(ejections("ejected").await, Some(1.0));
    let denied = async || gateway.metric("gateway_retries_denied_total", &[]).await;
    assert_eq!(denied().await, Some(0.0));
    // The second deployment has not failed yet, so its first attempt needs no budget.
    assert_eq!(gateway.chat("denied").await.status, 502);
    assert_eq!(denied().await, Some(0.0));
    assert_eq!(gateway.chat("denied").await.status, 502);
    assert_eq!(denied().await, Some(1.0));
}
