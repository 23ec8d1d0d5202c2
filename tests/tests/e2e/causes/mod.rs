//! What a failure says, and of whom: the table of causes, row by row, at real sockets.

mod blame;
mod fitting;
mod rows;
mod words;

use serde_json::{Value, json};
use tests::{Engine, Gateway, Port, Raw, Received, Reply, eventually, in_order, logged};

const CHAT: &str = "/v1/chat/completions";
const ANSWER: &str = r#"{"object":"chat.completion","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}"#;

/// A request with this text as its prompt.
fn body(model: &str, text: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": text}]}).to_string()
}

async fn ask(gateway: &Gateway, model: &str, text: &str) -> Reply {
    gateway.post(CHAT, body(model, text)).await
}

fn error(message: &str, code: &str) -> String {
    json!({"error": {"message": message, "type": "t", "param": null, "code": code}}).to_string()
}

fn start(models: &[(&str, &[&str])], more: &str) -> Gateway {
    tests::setup!().models(in_order(models)).routing(logged(more)).start()
}

/// The state of a deployment of a model, and its reason.
async fn state(gateway: &Gateway, model: &str, name: &str) -> (String, String) {
    let routing = gateway.routing().await;
    let deployments = routing["models"][model]["deployments"].as_array().expect("a list");
    let shown = deployments.iter().find(|d| d["name"] == name).expect("a known name");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&shown["state"]), text(&shown["reason"]))
}
