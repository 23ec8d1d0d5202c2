//! The HTTP API without failures: models, `/routing`, health, and requests forwarded to a
//! deployment.

use serde_json::{Value, json};
use tests::{Dialog, Engine, Gateway, Raw, Reply, one_model, routed};

const CHAT: &str = "/v1/chat/completions";
const PATHS: [&str; 5] = [CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/rerank"];

async fn with_method(gateway: &Gateway, method: reqwest::Method, path: &str) -> Reply {
    let answer = gateway.client().request(method, gateway.url(path)).send().await;
    Reply::read(answer.expect("an answer")).await.expect("a whole answer")
}

/// An upstream that gives `{}` and a gateway in front of it, for the model `m`.
fn echo() -> (Raw, Gateway) {
    let upstream = Raw::answering(200, "{}");
    let gateway = tests::setup!().models(one_model(&[&upstream.url()])).start();
    (upstream, gateway)
}

#[tokio::test]
async fn a_model_is_listed_with_every_field() {
    let models = r#"
models:
  - id: meta/llama-3.3
    name: Llama 3.3
    provider: vllm
    base_url: http://127.0.0.1:1
    aliases: [llama]
    context_length: 131072
    max_output_length: 8192
    quantization: fp8
    input_modalities: [text, image]
    output_modalities: [text, audio]
    supports_tools: true
    supports_structured_output: true
    supported_params: [temperature, stop]
    pricing: {prompt: "0.1", completion: "0.2", image: "0.3", request: "0.4", input_cache_reads: "0.5", input_cache_writes: "0.6"}
"#;
    let gateway = tests::setup!().models(models).start();
    let mut card = gateway.get("/v1/models/meta/llama-3.3").await.json();
    let created = card["created"].take().as_u64().expect("seconds since 1970");
    assert!(created > 1_700_000_000 && created < 10_000_000_000, "{created}");
    let expected = json!({
        "id": "meta/llama-3.3", "object": "model", "created": null, "owned_by": "vllm",
        "name": "Llama 3.3", "quantization": "fp8", "context_length": 131_072,
        "max_output_length": 8192, "input_modalities": ["text", "image"],
        "output_modalities": ["text", "audio"],
        "pricing": {
            "prompt": "0.1", "completion": "0.2", "image": "0.3", "request": "0.4",
            "input_cache_reads": "0.5", "input_cache_writes": "0.6",
        },
        "supported_sampling_parameters": ["temperature", "stop"],
        "supported_features": ["tools", "json_mode", "structured_outputs"],
    });
    assert_eq!(card, expected);
    let list = gateway.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let data = list["data"].as_array().expect("a list");
    // An alias is not listed as a model.
    assert_eq!(data.len(), 1);
    assert_eq!(data[0]["id"], "meta/llama-3.3");
    assert_eq!(data[0]["created"], created);
    for name in ["meta%2Fllama-3.3", "llama"] {
        let reply = gateway.get(&format!("/v1/models/{name}")).await;
        assert_eq!(reply.json()["id"], "meta/llama-3.3", "{name}");
    }
}

#[tokio::test]
async fn minimal_model_is_listed_with_defaults() {
    let models = "models:\n  - {id: b, base_url: http://127.0.0.1:1}\n  - {id: a, base_url: http://127.0.0.1:1}\n";
    let gateway = tests::setup!().models(models).start();
    let list = gateway.get("/v1/models").await.json();
    let ids: Vec<&Value> =
        list["data"].as_array().expect("a list").iter().map(|m| &m["id"]).collect();
    assert_eq!(ids, ["b", "a"], "in the order of the file");
    let mut card = list["data"][0].clone();
    card["created"].take();
    let expected = json!({
        "id": "b", "object": "model", "created": null, "owned_by": "openai_compat", "name": "b",
        "quantization": "bf16", "context_length": 8192, "max_output_length": 4096,
        "input_modalities": ["text"], "output_modalities": ["text"],
        "pricing": {
            "prompt": "0", "completion": "0", "image": "0", "request": "0",
            "input_cache_reads": "0", "input_cache_writes": "0",
        },
        "supported_sampling_parameters": ["temperature", "top_p", "max_tokens"],
        "supported_features": [],
    });
    assert_eq!(card, expected);
}

#[tokio::test]
async fn routing_shows_strategy_weights_states_and_reload() {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let (l, r) = (local.url(), remote.url());
    let strategy = "fixed\nrouting_parameter: {local_fraction: 0.6}";
    let gateway = tests::setup!()
        .models(one_model(&[&l, &r]))
        .routing(routed(strategy, &[&l], &[&r]))
        .env("ADMIN_TOKEN", "s3cret")
        .start();
    let mut routing = gateway.routing().await;
    let digest = routing["strategy"]["sha256"].take();
    assert_eq!(digest.as_str().map(str::len), Some(64), "{digest}");
    assert!(routing["strategy"]["version"].take().is_string());
    let loaded_at = routing["reload"]["loaded_at"].take();
    assert!(loaded_at.as_str().is_some_and(|at| at.ends_with('Z')), "{loaded_at}");
    for index in 0..2 {
        let since = routing["models"]["m"]["deployments"][index]["since"].take();
        assert!(since.as_str().is_some_and(|at| at.ends_with('Z')), "{since}");
    }
    let deployment = |name, side, weight| {
        json!({
            "name": name, "side": side, "weight": weight,
            "state": "healthy", "reason": null, "since": null, "limit": 1000, "refusals": 0, "stalls": 0,
        })
    };
    let expected = json!({
        "strategy": {
            "name": "fixed", "version": null, "sha256": null,
            "parameters": {"local_fraction": 0.6}, "last_error": null, "on_path": null,
            "state": "on", "rests_for": null,
        },
        "strategies": {},
        "models": {"m": {"panic": false, "deployments": [
            deployment("local-1", "local", 0.6),
            deployment("remote-1", "remote", 0.4),
        ]}},
        "reload": {"loaded_at": null, "last_error": null},
    });
    assert_eq!(routing, expected);
    let endpoint = async |token: &str| {
        let request = gateway.client().get(gateway.url("/routing")).bearer_auth(token);
        let reply = Reply::read(request.send().await.expect("an answer")).await.expect("whole");
        reply.json()["models"]["m"]["deployments"][0]["endpoint"].clone()
    };
    assert_eq!(endpoint("s3cret").await, l);
    assert_eq!(endpoint("s3cre").await, Value::Null);
}

#[tokio::test]
async fn routing_shows_the_signals_of_one_deployment() {
    let (a, b) = (Engine::start("a"), Engine::start("b"));
    let route = |url: &str, name: &str| {
        let rest = "pricing: {prompt: 2, completion: 3}, concurrency: {max: 7}";
        format!("      - {{name: {name}, base_url: '{url}', {rest}}}\n")
    };
    let (first, second) = (route(&a.url(), "gpu one"), route(&b.url(), "b"));
    let models = format!(
        "models:\n  - id: org/m\n    aliases: [short]\n    route:\n{first}{second}  - {{id: other, base_url: '{}'}}\n",
        b.url()
    );
    let gateway = tests::setup!().models(models).start();
    let shown =
        async |query: &str| gateway.get(&format!("/routing?{query}")).await.json()["models"].take();
    let one = shown("model=org%2Fm&deployment=gpu%20one").await;
    let deployments = &one["org/m"]["deployments"];
    assert_eq!(
        (deployments.as_array().map(Vec::len), &deployments[0]["name"]),
        (Some(1), &json!("gpu one"))
    );
    let expected = json!({
        "limit": 7.0, "stalled": 0.0, "line.wait": 0.0,
        "price.prompt": 2.0, "price.cached": 2.0, "price.completion": 3.0,
    });
    assert_eq!(deployments[0]["signals"], expected);
    assert_eq!(shown("deployment=gpu%20one").await, one);
    let short = shown("model=short").await;
    assert_eq!(short["org/m"]["deployments"].as_array().map(Vec::len), Some(2));
    assert!(
        short.get("other").is_none() && short["org/m"]["deployments"][0].get("signals").is_none()
    );
    assert_eq!(shown("deployment=nobody").await, json!({}));
}

#[tokio::test]
async fn health_and_metrics_answer_get_and_head() {
    let (_upstream, gateway) = echo();
    assert_eq!(gateway.get("/health").await.json(), json!({"status": "ok"}));
    assert_eq!(gateway.get("/health/ready").await.json(), json!({"status": "ready"}));
    let metrics = gateway.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4");
    assert!(metrics.text().contains("gateway_requests_in_flight 0\n"), "{}", metrics.text());
    for path in ["/health", "/health/ready", "/metrics", "/routing", "/v1/models", "/v1/models/m"] {
        let reply = with_method(&gateway, reqwest::Method::HEAD, path).await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{path}");
        assert!(!reply.header("content-type").is_empty(), "{path}");
    }
    // The response to HEAD has no body: the next response follows its head.
    let mut client = Dialog::with(&gateway).await;
    client.send("HEAD /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(head.header("content-length"), "15");
    client.send("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(client.answer().await.json(), json!({"status": "ok"}));
}

#[tokio::test]
async fn inference_paths_are_forwarded_byte_for_byte() {
    let (upstream, gateway) = echo();
    let body = "{\n \"x\" : [1.0, 1e2, 10000000000000000000001],\t\"model\":\"m\", \"\\u00e9\": \"\\ud83d\\ude00é\",\"x\":null,\"stream\":false}\n";
    for path in PATHS {
        for query in ["", "?", "?api-version=1&x=%20y"] {
            let reply = gateway.post(&format!("{path}{query}"), body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let received = upstream.last();
            assert_eq!(received.method, "POST");
            // A query stays here: no endpoint has parameters in it.
            assert_eq!(received.path, path);
            assert_eq!(received.text(), body);
            assert_eq!(received.header("content-type"), Some("application/json"));
        }
    }
}

#[tokio::test]
async fn only_the_model_name_is_rewritten() {
    let upstream = Raw::start(|received, wire| {
        let sent: Value = serde_json::from_slice(&received.body).expect("JSON");
        wire.answer(200, &json!({"model": sent["model"], "kept": "up/stream"}).to_string());
    });
    let models = format!(
        "models:\n  - id: meta/llama\n    provider_model_id: up/stream\n    aliases: [llama]\n    base_url: {}/v1/\n",
        upstream.url(),
    );
    let gateway = tests::setup!().models(models).start();
    for name in ["meta/llama", "llama", r"meta\/ll\u0061ma"] {
        let reply =
            gateway.post(CHAT, format!(r#"{{"a":"meta/llama", "model" : "{name}"}}"#)).await;
        let received = upstream.last();
        assert_eq!(received.text(), r#"{"a":"meta/llama", "model" : "up/stream"}"#);
        assert_eq!(received.path, CHAT);
        let asked: Value = serde_json::from_str(&format!("\"{name}\"")).expect("a string");
        assert_eq!(reply.json(), json!({"model": asked, "kept": "up/stream"}));
    }
}

#[tokio::test]
async fn credentials_are_dropped_and_request_ids_forwarded() {
    let upstream = Raw::answering(200, "{}");
    let url = upstream.url();
    let models = format!(
        "models:\n  - {{id: m, base_url: {url}, api_key: sk-own}}\n  - {{id: n, base_url: {url}}}\n"
    );
    let gateway = tests::setup!().models(models).start();
    for (model, key) in [("m", Some("Bearer sk-own")), ("n", None)] {
        let request = gateway.client().post(gateway.url(CHAT)).bearer_auth("sk-client");
        let request = request.header("cookie", "c=1").header("x-api-key", "sk-client");
        let request = request.header("x-request-id", "id-7").header("openai-beta", "x");
        let answer = request.json(&json!({"model": model})).send().await.expect("an answer");
        assert_eq!(answer.headers()["x-request-id"], "id-7");
        let received = upstream.last();
        assert_eq!(received.header("authorization"), key);
        assert_eq!((received.header("cookie"), received.header("x-api-key")), (None, None));
        assert_eq!(received.header("x-request-id"), Some("id-7"));
        assert_eq!(received.header("openai-beta"), Some("x"));
        assert_eq!(received.header("host"), Some(url.trim_start_matches("http://")));
    }
}

#[tokio::test]
async fn one_connection_serves_all_body_framings() {
    let (upstream, gateway) = echo();
    let mut client = Dialog::with(&gateway).await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\n");
    let body = r#"{"model":"m","n":1}"#;
    let (first, second) = body.split_at(5);
    for _ in 0..3 {
        let length = body.len();
        client.send(format!("{head}content-length: {length}\r\n\r\n{body}")).await;
        assert_eq!(client.answer().await.status, 200);
        client.send(format!("{head}transfer-encoding: chunked\r\n\r\n5\r\n{first}\r\n")).await;
        let rest = second.len();
        client.send(format!("{rest:x};ext=1\r\n{second}\r\n0\r\nx-trailer: 1\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, 200);
        let received = upstream.last();
        assert_eq!(received.text(), body);
        assert_eq!(received.header("transfer-encoding"), None);
        // A client error does not close the connection.
        client.send(format!("{head}content-length: 1\r\n\r\n{{")).await;
        assert_eq!(client.answer().await.status, 400);
    }
    client.send(format!("{head}expect: 100-continue\r\ncontent-length: 19\r\n\r\n")).await;
    assert_eq!(client.head().await.status, 100);
    client.send(body).await;
    assert_eq!(client.answer().await.status, 200);
    client.send("GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(client.ends().await);
}

#[tokio::test]
async fn pages_of_a_large_fleet_are_whole_and_keep_their_connection() {
    let model = |at| format!("  - {{id: 'model {at:04} \"x\"', base_url: http://127.0.0.1:1}}\n");
    let models: String = (0..1500).map(model).collect();
    let gateway = tests::setup!().models(format!("models:\n{models}")).start();
    let list = gateway.get("/v1/models").await.json();
    let data = list["data"].as_array().expect("a list");
    let ids: Vec<&str> = data.iter().filter_map(|model| model["id"].as_str()).collect();
    assert_eq!((ids.len(), ids[1499]), (1500, "model 1499 \"x\""));
    let routing = gateway.routing().await;
    assert_eq!(routing["models"].as_object().map(serde_json::Map::len), Some(1500));
    assert_eq!(routing["strategy"]["name"], "models.yaml");
    let healthy = gateway.metric("gateway_deployment_healthy", &[]).await;
    assert_eq!(healthy, Some(1500.0));
    for path in ["/metrics", "/v1/models", "/routing"] {
        let page = gateway.get(path).await;
        // It is larger than a piece, so its length is not known when it begins.
        assert_eq!((page.status, page.header("content-length")), (200, ""), "{path}");
        assert!(page.body.len() > 100_000, "{path}: {}", page.body.len());
        let head = with_method(&gateway, reqwest::Method::HEAD, path).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-type"), page.header("content-type"), "{path}");
    }
}
