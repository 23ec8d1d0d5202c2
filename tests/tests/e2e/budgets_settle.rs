//! What budgets and costs take for answers that are cancelled, by the rule of their provider.

use serde_json::Value;
use tests::{Gateway, Raw, Step};

use super::budgets::{LENGTHS, PRICING, routing, spent};

/// Tokens of the stream before it hangs.
const CAME: u64 = 5;

fn event(content: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// An engine that streams some tokens, and then nothing until its client leaves.
fn engine() -> Raw {
    Raw::start(|_, wire| {
        wire.step(&Step::stream());
        wire.step(&Step::chunk(event("hi").repeat(CAME as usize)));
        wire.hang();
    })
}

fn gateway(url: &str, cancel: &str, ledger: &std::path::Path) -> Gateway {
    let models =
        format!("models: [{{id: m, base_url: '{url}', pricing: {PRICING}, {LENGTHS}{cancel}}}]\n");
    let budgets = "- {name: b, amount: 10, per: {seconds: 31536000}}\n";
    tests::setup!().models(models).routing(routing(ledger, budgets)).start()
}

/// Asks for 128 answers of 900 tokens, and leaves once what is there has come. Returns the size of the
/// request, and the line in the log.
async fn leave(gateway: &Gateway, more: &str) -> (usize, Value) {
    let body = format!(
        r#"{{"model":"m","stream":true,"max_tokens":900,"n":128,"messages":[{{"role":"user","content":"hi"}}]{more}}}"#
    );
    let url = gateway.url("/v1/chat/completions");
    let size = body.len();
    let request = gateway.client().post(url).body(body).send();
    let mut answer = request.await.expect("an answer");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    let mut come = String::new();
    while come.matches("data:").count() < CAME as usize {
        let chunk = answer.chunk().await.expect("a chunk").expect("more");
        come.push_str(&String::from_utf8_lossy(&chunk));
    }
    drop(answer);
    (size, gateway.record(&id).await)
}

#[tokio::test]
async fn a_client_that_leaves_pays_by_the_rule_of_the_provider() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = engine();
    let whole = 128.0 * 900.0 * 9e-6;
    for (cancel, name) in [("", "unset"), (", cancel: stops", "s"), (", cancel: continues", "c")] {
        let gateway = gateway(&engine.url(), cancel, &folder.path().join(name));
        let (size, record) = leave(&gateway, "").await;
        let prompt = (size + 256) as f64 * 1e-6;
        let paid = spent(&gateway, "b").await;
        let settled = if name == "s" { prompt + CAME as f64 * 9e-6 } else { prompt + whole };
        assert!((paid - settled).abs() < 1e-12, "{name}: {paid} instead of {settled}");
        let usage = &record["usage"];
        assert_eq!(usage["estimated"], true, "{name}");
        // A usual answer has 512 tokens.
        let tokens = if name == "c" { 128 * 512 } else { CAME };
        assert_eq!(usage["completion_tokens"], tokens, "{name}");
        let cost = record["cost"].as_f64().expect("a cost");
        let prompt = usage["prompt_tokens"].as_f64().expect("tokens") * 1e-6;
        assert!((cost - prompt - tokens as f64 * 9e-6).abs() < 1e-12, "{name}: {cost}");
        gateway.is_idle().await;
    }
}

#[tokio::test]
async fn a_stream_that_may_have_sound_pays_what_was_reserved() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = engine();
    let pricing = PRICING.replace("completion: 9", "completion: 9, audio_output: 20");
    let models = format!(
        "models: [{{id: m, base_url: '{}', pricing: {pricing}, {LENGTHS}, cancel: stops}}]\n",
        engine.url()
    );
    for (name, more) in [("text", ""), ("sound", r#","modalities":[],"MODALITIES":["Audio"]"#)] {
        let budgets = "- {name: b, amount: 10, per: {seconds: 31536000}}\n";
        let routing = routing(&folder.path().join(name), budgets);
        let gateway = tests::setup!().models(models.clone()).routing(routing).start();
        let (size, _) = leave(&gateway, more).await;
        let settled = match name {
            "text" => (size + 256) as f64 * 1e-6 + CAME as f64 * 9e-6,
            _ => 9_000.0 * 1e-6 + 128.0 * 900.0 * 20e-6,
        };
        let paid = spent(&gateway, "b").await;
        assert!((paid - settled).abs() < 1e-12, "{name}: {paid} instead of {settled}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_paid_in_full() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nothing comes within the time limit.
    let engine = Raw::steps(vec![Step::Hang]);
    let more = ", cancel: stops, timeouts: {first_byte: 0.3}";
    for (stream, answers) in [(true, 0.0), (false, 2.0 * 900.0 * 9e-6)] {
        let ledger = folder.path().join(stream.to_string());
        let gateway = gateway(&engine.url(), more, &ledger);
        let body =
            format!(r#"{{"model":"m","stream":{stream},"max_tokens":900,"n":2,"messages":[]}}"#);
        let size = body.len();
        assert_eq!(gateway.post("/v1/chat/completions", body).await.status, 504);
        let attempts = gateway.metric("gateway_wasted_attempts_total", &[]).await;
        let attempts = attempts.filter(|attempts| *attempts >= 1.0).expect("an attempt");
        let settled = attempts * ((size + 256) as f64 * 1e-6 + answers);
        let paid = spent(&gateway, "b").await;
        assert!((paid - settled).abs() < 1e-12, "{stream}: {paid} instead of {settled}");
    }
}

#[tokio::test]
async fn limits_in_another_spelling_do_not_reserve_less() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Raw::answering(200, r#"{"choices":[{"message":{"content":"hi"}}]}"#);
    let gateway = gateway(&engine.url(), "", &folder.path().join("l"));
    // 10 dollars are less than 1,500 answers of 900 tokens.
    for (limits, status) in [
        (r#""max_tokens":9,"n":1500"#, 200),
        (r#""max_tokens":900,"n":1500"#, 429),
        (r#""max_tokens":9,"MAX_TOKENS":900,"n":1500"#, 429),
        (r#""max_tokens":900,"max_tokens":9,"n":1500"#, 429),
        (r#""max_tokens":900,"n":1,"N":1500"#, 429),
        (r#""max_tokens":900,"n":1500,"n":1"#, 429),
        (r#""max_tokens":9,"maxTokens":"many","n":1500"#, 429),
    ] {
        let body = format!(r#"{{"model":"m",{limits},"messages":[]}}"#);
        let reply = gateway.post("/v1/chat/completions", body).await;
        assert_eq!(reply.status, status, "{limits}: {}", reply.text());
    }
}
