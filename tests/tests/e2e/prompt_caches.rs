//! Strategies that send prompts where they are cached.

use serde_json::json;
use tests::{Engine, EngineOptions, logged, one_model};

fn engine(name: &str) -> Engine {
    Engine::with(EngineOptions { name: name.to_owned(), cache: 100_000, ..Default::default() })
}

/// A gateway that was just started knows what it sent where. No reload is needed for it.
#[tokio::test]
async fn conversations_go_back_to_their_caches() {
    let engines = ["a", "b", "c"].map(engine);
    let urls = [0, 1, 2].map(|at: usize| engines[at].url());
    let models = one_model(&[&*urls[0], &*urls[1], &*urls[2]]);
    let routing = logged("routing_strategy: lmetric\n");
    let gateway = tests::setup!().models(models).routing(routing).start();
    for conversation in 0..4 {
        let mut said = format!("conversation{conversation} {}", "word ".repeat(1_000));
        let mut before = None;
        for turn in 0..4 {
            let messages = json!([{"role": "user", "content": said}]);
            let body = json!({"model": "m", "messages": messages}).to_string();
            let reply = gateway.post("/v1/chat/completions", body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            // Before its end is recorded, a request counts as one to serve and to read.
            gateway.record(reply.header("x-request-id")).await;
            let engine = reply.header("x-stub-engine").to_owned();
            let usage = reply.json()["usage"].clone();
            let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0);
            assert_eq!(cached >= 900, turn > 0, "turn {turn} of {conversation}: {usage}");
            assert_eq!(*before.get_or_insert(engine.clone()), engine, "turn {turn}");
            said += &"more ".repeat(100);
        }
    }
}
