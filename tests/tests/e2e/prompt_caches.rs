//! What a gateway knows of prompts and answers for its strategies.

use serde_json::json;
use tests::{Engine, eventually, logged, one_model};

/// A gateway that was just started records what its strategy asks for. No reload is needed for it.
#[tokio::test]
async fn signals_are_recorded_from_the_start() {
    let engine = Engine::start("e");
    let routing = logged("routing_strategy: lmetric\n");
    let gateway = tests::setup!().models(one_model(&[&engine.url()])).routing(routing).start();
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let reply = gateway.post("/v1/chat/completions", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let known = async || {
        let routing = gateway.get("/routing?deployment=local-1").await.json();
        let signals = routing["models"]["m"]["deployments"][0]["signals"].clone();
        let recorded = ["duration.mean", "prefill.backlog"];
        recorded.iter().all(|signal| signals[*signal].is_number()).then_some(())
    };
    eventually("recorded signals", known).await;
}
