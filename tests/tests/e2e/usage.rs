//! Streams are asked for usage, and clients that did not ask do not see it. What attempts took and
//! cost is in the log and the metrics.

use serde_json::{Value, json};
use tests::{ACCESS_LOG, Gateway, Raw, Received, Reply, Step, Wire, eventually, logged};

const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}],\"usage\":null}";
const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":400},\"completion_tokens_details\":{\"reasoning_tokens\":3}}}";
const DONE: &str = "data: [DONE]";

/// Prices under which each kind of token shows in the cost.
const PRICING: &str =
    "{per_million: true, prompt: 0.15, cached: 0.015, completion: 0.6, request: 0.001}";
/// Of [`USAGE`]: 600 x 0.15 + 400 x 0.015 + 7 x 0.6 millionths, and 0.001.
const COST: &str = "0.0011002";

fn asks(received: &Received) -> bool {
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    body["stream_options"]["include_usage"] == true
}

/// An engine whose streams tell usage if they are asked to, in chunks of `size` bytes.
fn engine(size: usize, gap: &'static str) -> Raw {
    Raw::start(move |received, wire| {
        let usage = asks(received).then_some(USAGE);
        let events = [Some(CONTENT), Some(STOP), usage, Some(DONE)];
        let text: String = events.into_iter().flatten().map(|e| format!("{e}{gap}")).collect();
        wire.step(&Step::stream());
        text.as_bytes().chunks(size).for_each(|chunk| wire.step(&Step::chunk(chunk)));
        wire.step(&Step::chunk(""));
    })
}

fn gateway(url: &str, more: &str) -> Gateway {
    let models = format!("models: [{{id: m, base_url: '{url}', pricing: {PRICING}{more}}}]\n");
    tests::setup!().models(models).routing(logged("")).start()
}

async fn stream(gateway: &Gateway, path: &str, options: &str) -> (String, Value, String) {
    let body =
        format!("{{\"model\":\"m\",\"stream\":true{options},\"messages\":[],\"prompt\":\"x\"}}");
    let reply = gateway.post(path, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let id = reply.header("x-request-id").to_owned();
    let record = gateway.record(&id).await;
    // A parser of floats would lose digits.
    let log = std::fs::read_to_string(gateway.path(ACCESS_LOG)).expect("a log");
    let line = log.lines().find(|line| line.contains(&id)).expect("a line").to_owned();
    (reply.text(), record, line)
}

#[tokio::test]
async fn a_stream_is_asked_and_its_client_sees_no_more() {
    for (size, gap) in [(1, "\n\n"), (7, "\r\n\r\n"), (90, "\n\n"), (10_000, "\r\r")] {
        let engine = engine(size, gap);
        let gateway = gateway(&engine.url(), "");
        let all = |events: &[&str]| {
            events.iter().map(|event| format!("{event}{gap}")).collect::<String>()
        };
        for path in ["/v1/chat/completions", "/v1/completions"] {
            for (options, asked) in [
                ("", "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"messages\""),
                (",\"stream_options\":{\"include_usage\":false}", "{\"include_usage\":true}"),
                (",\"stream_options\": { \"x\":{}}", "{\"include_usage\":true, \"x\":{}}"),
            ] {
                let (text, record, line) = stream(&gateway, path, options).await;
                assert_eq!(text, all(&[CONTENT, STOP, DONE]), "{options} in chunks of {size}");
                assert!(engine.last().text().contains(asked), "{}", engine.last().text());
                assert_eq!(record["usage"]["prompt_tokens"], 1000);
                assert_eq!(record["usage"]["reasoning_tokens"], 3);
                assert_eq!(record["usage"]["estimated"], false);
                assert!(line.contains(&format!("\"cost\":{COST}}}")), "{line}");
            }
            let options = ",\"stream_options\":{\"include_usage\":true}";
            let (text, ..) = stream(&gateway, path, options).await;
            assert_eq!(text, all(&[CONTENT, STOP, USAGE, DONE]), "it asked for it");
            assert!(engine.last().text().contains(options));
        }
        let deployment = ("deployment", "local-1");
        let tokens = async |kind: &str, usage: &str| {
            let labels = [deployment, ("kind", kind), ("usage", usage)];
            gateway.metric("gateway_tokens_total", &labels).await
        };
        assert_eq!(tokens("prompt", "reported").await, Some(8000.0));
        assert_eq!(tokens("cached", "reported").await, Some(3200.0));
        assert_eq!(tokens("completion", "reported").await, Some(56.0));
        assert_eq!(tokens("reasoning", "reported").await, Some(24.0));
        assert_eq!(tokens("prompt", "estimated").await, Some(0.0));
        let cost = [deployment, ("kind", "answered")];
        assert_eq!(gateway.metric("gateway_cost_dollars_total", &cost).await, Some(0.008_801_6));
    }
}

#[tokio::test]
async fn only_streams_are_asked_where_it_is_not_off() {
    let engine = engine(10_000, "\n\n");
    let gateway = gateway(&engine.url(), ", stream_usage: false");
    let (_, record, _) = stream(&gateway, "/v1/chat/completions", "").await;
    assert!(!engine.last().text().contains("stream_options"));
    assert_eq!(record["usage"]["estimated"], true);
    assert_eq!(record["usage"]["completion_tokens"], 3, "one for each event");
    let plain = "{\"model\":\"m\",\"stream\":false,\"messages\":[]}";
    gateway.post("/v1/chat/completions", plain).await;
    assert_eq!(engine.last().text(), plain);
    let response = "{\"model\":\"m\",\"stream\":true,\"input\":\"x\"}";
    gateway.post("/v1/responses", response).await;
    assert_eq!(engine.last().text(), response);
}

/// Refuses to be asked as Mistral did.
fn refusing(status: u16, always: bool) -> Raw {
    let refusal = r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#;
    Raw::start(move |received: &Received, wire: &mut Wire| {
        if always || received.text().contains("stream_options") {
            return wire.answer(status, refusal);
        }
        wire.step(&Step::stream());
        wire.step(&Step::chunk(format!("{CONTENT}\n\n{STOP}\n\n{DONE}\n\n")));
        wire.step(&Step::chunk(""));
    })
}

#[tokio::test]
async fn a_refusal_to_be_asked_is_learnt_and_costs_no_attempt() {
    for status in [400, 422] {
        let engine = refusing(status, false);
        let models = format!("models: [{{id: m, base_url: '{}'}}]\n", engine.url());
        let routing = logged("fallback: {attempts: 1}\n");
        let gateway = tests::setup!().models(models).routing(routing).start();
        for sent in [2, 3, 4] {
            let (text, record, _) = stream(&gateway, "/v1/chat/completions", "").await;
            assert_eq!(text, format!("{CONTENT}\n\n{STOP}\n\n{DONE}\n\n"));
            assert_eq!(engine.received().len(), sent, "asked once");
            assert_eq!(tests::outcomes(&record), [("local-1".into(), "ok".into())]);
            assert_eq!(record["usage"]["estimated"], true);
        }
        let rate = [("model", "m"), ("deployment", "local-1")];
        assert_eq!(gateway.metric("gateway_deployment_error_rate", &rate).await, Some(0.0));
        eventually("it is told", async || {
            gateway.log().contains("does not know `stream_options`").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_error_that_repeats_the_question_teaches_nothing() {
    let engine = refusing(400, true);
    let gateway = gateway(&engine.url(), "");
    for sent in [2, 4] {
        let body = json!({"model": "m", "stream": true, "messages": []}).to_string();
        let reply = gateway.post("/v1/chat/completions", body).await;
        assert_eq!(
            (reply.status, engine.received().len()),
            (400.try_into().expect("a status"), sent)
        );
    }
    // The client's own question is refused once.
    let body = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}});
    let reply = gateway.post("/v1/chat/completions", body.to_string()).await;
    assert!(reply.text().contains("stream_options") && engine.received().len() == 5);
}

#[tokio::test]
async fn a_client_that_leaves_has_an_estimate() {
    let raw = Raw::steps(vec![
        Step::stream(),
        Step::chunk(format!("{CONTENT}\n\n{CONTENT}\n\n")),
        Step::Hang,
    ]);
    let gateway = gateway(&raw.url(), "");
    let body = json!({"model": "m", "stream": true, "messages": "four".repeat(100)}).to_string();
    let request = gateway.client().post(gateway.url("/v1/chat/completions")).body(body);
    let mut answer = request.send().await.expect("an answer");
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    answer.chunk().await.expect("a chunk").expect("one");
    drop(answer);
    let record = gateway.record(&id).await;
    let want = json!({"prompt_tokens": 100, "completion_tokens": 2, "estimated": true});
    assert_eq!((&record["outcome"], &record["usage"]), (&json!("cancelled"), &want));
    assert_eq!(record["cost"], json!(0.001_016_2), "{record}");
    assert_eq!(record["attempts"][0]["cost"], record["cost"]);
    let wasted = [("deployment", "local-1"), ("kind", "wasted")];
    assert_eq!(gateway.metric("gateway_cost_dollars_total", &wasted).await, Some(0.001_016_2));
}

#[tokio::test]
async fn a_refused_attempt_costs_nothing_and_an_answer_its_usage() {
    let refusing = Raw::answering(503, "{}");
    let answer = r#"{"object":"list","data":[{"embedding":[1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    let answering = Raw::answering(200, answer);
    let models = format!(
        "models: [{{id: m, pricing: {PRICING}, route: [{{name: a, base_url: '{}', weight: 1}}, {{name: b, base_url: '{}', weight: 0}}]}}]\n",
        refusing.url(),
        answering.url()
    );
    let gateway = tests::setup!().models(models).routing(logged("")).start();
    let reply = gateway.post("/v1/embeddings", "{\"model\":\"m\",\"input\":\"x\"}").await;
    let reply: Reply = reply;
    let record = gateway.record(reply.header("x-request-id")).await;
    assert_eq!(
        record["usage"],
        json!({"prompt_tokens": 8, "completion_tokens": 0, "estimated": false})
    );
    assert_eq!(record["cost"], json!(0.001_001_2), "{record}");
    let costs: Vec<_> =
        record["attempts"].as_array().expect("a list").iter().map(|a| &a["cost"]).collect();
    assert_eq!(costs, [&json!(0), &json!(0.001_001_2)]);
}
