//! How many requests it takes until a failure is charged to a deployment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;

/// Waits until a deployment is in a state. Returns the reason.
async fn becomes(gateway: &Gateway, model: &str, name: &str, want: &str) -> String {
    eventually(&format!("{name} is {want}"), async || {
        let (state, reason) = state(gateway, model, name).await;
        (state == want).then_some(reason)
    })
    .await
}

/// An upstream that refuses requests whose text has `bad`, and answers all others.
fn picky(status: u16, refusal: String) -> Raw {
    Raw::start(move |received, wire| match received.text().contains("bad") {
        true => wire.answer(status, &refusal),
        false => wire.answer(200, ANSWER),
    })
}

#[tokio::test]
async fn one_request_takes_a_deployment_from_nobody() {
    let good = Engine::start("good");
    for (status, refusal) in [
        (401, error("bad", "")),
        (403, error("flagged", "")),
        (402, error("too dear", "")),
        (404, error("The model `m` does not exist.", "")),
        (501, error("no", "")),
    ] {
        let first = picky(status, refusal);
        let gateway = start(&[("m", &[&first.url(), &good.url()])], "");
        for _ in 0..20 {
            assert_eq!(ask(&gateway, "m", "bad").await.engine(), "good");
        }
        assert_eq!(state(&gateway, "m", "first").await.0, "healthy", "{status}");
        assert_eq!(ask(&gateway, "m", "well").await.text(), ANSWER, "{status}");
        // Different bad requests, with others answered in between.
        for n in 0..20 {
            assert_eq!(ask(&gateway, "m", &format!("bad {n}")).await.engine(), "good");
            assert_eq!(ask(&gateway, "m", "well").await.text(), ANSWER, "{status}");
        }
    }
}

#[tokio::test]
async fn different_requests_take_a_deployment_out() {
    let good = Engine::start("good");
    for (status, refusal, condition, needed, reason) in [
        (
            401,
            error("no", ""),
            "credential",
            2,
            "answered 401: it wants an api_key, and none is configured",
        ),
        (
            404,
            error("The model `m` does not exist.", ""),
            "misconfigured",
            2,
            "answered 404: it does not have the model `m`",
        ),
        (
            403,
            error("no", ""),
            "refused",
            5,
            "answered 403: it refused several different requests in a row",
        ),
    ] {
        let first = Raw::answering(status, &refusal);
        let gateway = start(&[("m", &[&first.url(), &good.url()])], "");
        for n in 0..needed {
            assert_eq!(ask(&gateway, "m", &n.to_string()).await.engine(), "good");
        }
        assert_eq!(becomes(&gateway, "m", "first", condition).await, reason);
        for n in 0..10 {
            assert_eq!(ask(&gateway, "m", &n.to_string()).await.engine(), "good");
        }
        assert_eq!(first.received().len(), needed, "{condition}");
        assert_eq!(gateway.log().matches(reason).count(), 1, "{}", gateway.log());
    }
}

#[tokio::test]
async fn a_missing_endpoint_is_missing_alone() {
    let good = Engine::start("good");
    let llama = Raw::start(|received: &Received, wire| match received.path.as_str() {
        "/v1/embeddings" => wire.answer(501, &error("This server does not support embeddings", "")),
        _ => wire.answer(200, ANSWER),
    });
    let gateway = start(&[("m", &[&llama.url(), &good.url()])], "");
    let embed = async |text: &str| {
        gateway.post("/v1/embeddings", json!({"model": "m", "input": text}).to_string()).await
    };
    let asked = || llama.received().iter().filter(|r| r.path == "/v1/embeddings").count();
    for n in 0..10 {
        assert_eq!(embed(&n.to_string()).await.engine(), "good");
        assert_eq!(ask(&gateway, "m", &n.to_string()).await.text(), ANSWER);
    }
    assert_eq!(asked(), 2, "it is skipped for embeddings after two different requests");
    assert_eq!(state(&gateway, "m", "first").await.0, "healthy");
    // Where nobody has it, the engine's own words are told.
    let alone = start(&[("m", &[&llama.url()])], "");
    for n in 0..4 {
        let input = json!({"model": "m", "input": n.to_string()}).to_string();
        let reply = alone.post("/v1/embeddings", input).await;
        assert_eq!(
            (reply.status, &reply.error()["message"]),
            (501, &json!("This server does not support embeddings"))
        );
    }
}

#[tokio::test]
async fn a_poison_request_ejects_nobody() {
    let broken = Arc::new(AtomicBool::new(false));
    let engine = || {
        let broken = Arc::clone(&broken);
        Raw::start(move |received, wire| {
            match broken.load(SeqCst) || received.text().contains("poison") {
                true => wire.answer(500, &error("CUDA error: device-side assert", "")),
                false => wire.answer(200, ANSWER),
            }
        })
    };
    let (first, second) = (engine(), engine());
    let models = tests::one_model(&[&first.url(), &second.url()]);
    let models = models.replacen("- base", "- name: first\n        base", 1);
    let models = models.replacen("- base", "- name: second\n        base", 1);
    let routing = logged("ejection: {consecutive: 3}");
    let gateway = tests::setup!().models(models).routing(routing).start();
    let answered = |raw: &Raw| raw.received().iter().any(|r| !r.text().contains("poison"));
    let mut n = 0;
    while !(answered(&first) && answered(&second)) {
        n += 1;
        assert_eq!(ask(&gateway, "m", &n.to_string()).await.status, 200);
    }
    for _ in 0..20 {
        let reply = ask(&gateway, "m", "poison").await;
        assert_eq!(reply.status, 502);
        assert!(reply.text().contains("device-side assert"), "{}", reply.text());
    }
    for name in ["first", "second"] {
        assert_eq!(state(&gateway, "m", name).await.0, "healthy");
        let labels = [("deployment", name)];
        assert_eq!(gateway.metric("gateway_deployment_error_rate", &labels).await, Some(0.0));
    }
    // Engines that fail at every request are ejected all the same.
    broken.store(true, SeqCst);
    eventually("one is ejected", async || {
        n += 1;
        ask(&gateway, "m", &n.to_string()).await;
        let first = state(&gateway, "m", "first").await.0;
        let second = state(&gateway, "m", "second").await.0;
        [first, second].contains(&"ejected".to_owned()).then_some(())
    })
    .await;
}
