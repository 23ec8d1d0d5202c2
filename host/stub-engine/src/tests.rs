//! The real server on port 0, over real connections.

#![allow(clippy::unwrap_used)]

mod load;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{EngineOptions, serve};

struct Stub {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

async fn start(options: EngineOptions) -> Stub {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, options, async move {
        stopped.await.ok();
    }));
    let client = Client::builder(TokioExecutor::new()).build_http();
    Stub { address, client, stop, served }
}

impl Stub {
    async fn send(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    async fn post_raw(&self, path: &str, body: impl Into<Bytes>) -> (StatusCode, Bytes) {
        let request = Request::post(format!("http://{}{path}", self.address));
        let response = self.send(request.body(Full::new(body.into())).unwrap()).await;
        assert_eq!(response.headers()["x-stub-engine"], "one");
        (response.status(), response.into_body())
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let (status, body) = self.post_raw(path, body.to_string()).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(format!("http://{}{path}", self.address));
        let response = self.send(request.body(Full::default()).unwrap()).await;
        (response.status(), serde_json::from_slice(response.body()).unwrap())
    }

    /// The data of each event of a stream.
    async fn events(&self, path: &str, body: Value) -> Vec<String> {
        let (status, body) = self.post_raw(path, body.to_string()).await;
        assert_eq!(status, StatusCode::OK);
        let body = String::from_utf8(body.to_vec()).unwrap();
        body.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
    }

    async fn wait_for(&self, counter: &str, value: u64) -> Value {
        for _ in 0..200 {
            let (_, status) = self.get("/stub").await;
            if status[counter] == value {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{counter} never became {value}: {}", self.get("/stub").await.1);
    }
}

fn named() -> EngineOptions {
    EngineOptions {
        name: "one".to_owned(),
        models: vec!["m".to_owned()],
        ..EngineOptions::default()
    }
}

fn chat(extra: Value) -> Value {
    let mut body = json!({"model": "any", "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "good  day"},
    ]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn parsed(events: &[String]) -> Vec<Value> {
    events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

const TEXT: &str = "Hello from one. You said: good  day";

#[tokio::test]
async fn chat_says_who_answered() {
    let stub = start(named()).await;
    let (status, body) = stub.post("/v1/chat/completions", chat(json!({}))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["choices"][0]["message"]["content"], TEXT);
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["model"], "any");
    assert_eq!(body["system_fingerprint"], "one");
    let usage = json!({"prompt_tokens": 4, "completion_tokens": 7, "total_tokens": 11});
    assert_eq!(body["usage"], usage);
}

#[tokio::test]
async fn a_chat_stream_has_a_delta_for_each_word_and_usage_where_asked_for() {
    let stub = start(named()).await;
    let body = chat(json!({"stream": true, "stream_options": {"include_usage": true}}));
    let mut events = stub.events("/v1/chat/completions", body).await;
    assert_eq!(events.pop().unwrap(), "[DONE]");
    let mut events = parsed(&events);
    let total = events.pop().unwrap();
    assert_eq!((&total["choices"], &total["usage"]["total_tokens"]), (&json!([]), &json!(11)));
    assert_eq!(events.pop().unwrap()["choices"][0]["finish_reason"], "stop");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events.len(), 1 + 7);
    let deltas = events.iter().map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(deltas.map(Option::unwrap).collect::<String>(), TEXT);

    let events = stub.events("/v1/chat/completions", chat(json!({"stream": true}))).await;
    assert!(events.iter().all(|event| !event.contains("usage")), "{events:?}");
}

#[tokio::test]
async fn completions_answer_whole_and_streamed() {
    let stub = start(named()).await;
    let mut body = json!({"model": "any", "prompt": "good  day"});
    let (_, whole) = stub.post("/v1/completions", body.clone()).await;
    assert_eq!(whole["choices"][0]["text"], TEXT);
    assert_eq!(whole["usage"]["prompt_tokens"], 2);
    body["stream"] = json!(true);
    let mut events = stub.events("/v1/completions", body).await;
    assert_eq!(events.pop().unwrap(), "[DONE]");
    let events = parsed(&events);
    let texts = events.iter().map(|event| event["choices"][0]["text"].as_str().unwrap());
    assert_eq!(texts.collect::<String>(), TEXT);
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn responses_answer_whole_and_in_numbered_events() {
    let stub = start(named()).await;
    let input = json!([{"role": "user", "content": [{"type": "input_text", "text": "good  day"}]}]);
    let mut body = json!({"model": "any", "input": input});
    let (_, whole) = stub.post("/v1/responses", body.clone()).await;
    assert_eq!(whole["output"][0]["content"][0]["text"], TEXT);
    body["stream"] = json!(true);
    let events = parsed(&stub.events("/v1/responses", body).await);
    assert_eq!(events.first().unwrap()["type"], "response.created");
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], TEXT);
    assert!(events.iter().zip(0..).all(|(event, number)| event["sequence_number"] == number));
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    let deltas = deltas.map(|event| event["delta"].as_str().unwrap());
    assert_eq!(deltas.collect::<String>(), TEXT);
}

#[tokio::test]
async fn rerank_puts_the_best_document_first() {
    let stub = start(named()).await;
    let documents = json!(["no match", {"text": "a red FOX"}, "red"]);
    let body = json!({"model": "any", "query": "red fox", "documents": documents, "top_n": 2});
    let (status, body) = stub.post("/v1/rerank", body).await;
    assert_eq!(status, StatusCode::OK);
    let results = body["results"].as_array().unwrap();
    let order: Vec<_> = results.iter().map(|result| result["index"].as_u64().unwrap()).collect();
    assert_eq!(order, [1, 2]);
    assert_eq!(results[0]["relevance_score"], 1.0);
}

#[tokio::test]
async fn embeddings_come_in_both_encodings() {
    let stub = start(named()).await;
    let mut body = json!({"model": "any", "input": ["a", "b"], "dimensions": 3});
    let (_, floats) = stub.post("/v1/embeddings", body.clone()).await;
    assert_eq!(floats["data"][1]["index"], 1);
    assert_eq!(floats["data"][1]["embedding"].as_array().unwrap().len(), 3);
    body["encoding_format"] = json!("base64");
    let (_, packed) = stub.post("/v1/embeddings", body).await;
    assert_eq!(packed["data"][0]["embedding"].as_str().unwrap().len(), 16);
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_an_error_object() {
    let stub = start(named()).await;
    let chat_path = "/v1/chat/completions";
    let no_messages = json!({"model": "any"});
    for (path, body, param) in [
        (chat_path, json!([]), Value::Null),
        (chat_path, json!({"messages": []}), json!("model")),
        (chat_path, json!({"model": "any", "messages": []}), json!("messages")),
        (chat_path, no_messages.clone(), json!("messages")),
        ("/v1/completions", no_messages.clone(), json!("prompt")),
        ("/v1/embeddings", no_messages.clone(), json!("input")),
        ("/v1/responses", no_messages.clone(), json!("input")),
        ("/v1/rerank", no_messages.clone(), json!("query")),
    ] {
        let (status, answer) = stub.post(path, body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}");
        assert_eq!(answer["error"]["param"], param, "{path} {body}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
    }
    assert_eq!(stub.post_raw(chat_path, "{").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(stub.get(chat_path).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(stub.get("/nothing").await.0, StatusCode::NOT_FOUND);
    let (status, _) = stub.post_raw(chat_path, vec![b' '; (64 << 20) + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_down_engine_answers_nothing_but_its_control() {
    let stub = start(named()).await;
    assert_eq!(stub.get("/health").await.0, StatusCode::OK);
    let (_, models) = stub.get("/v1/models").await;
    assert_eq!(models["data"][0]["id"], "m");
    let (status, settings) = stub.post("/stub", json!({"healthy": false})).await;
    assert_eq!((status, &settings["healthy"]), (StatusCode::OK, &json!(false)));
    for path in ["/health", "/v1/models"] {
        assert_eq!(stub.get(path).await.0, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let (status, _) = stub.post("/v1/chat/completions", chat(json!({}))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    stub.post("/stub", json!({"healthy": true})).await;
    assert_eq!(stub.get("/health").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_bad_change_changes_nothing() {
    let stub = start(named()).await;
    for change in [
        json!({"healthy": false, "failure_rate": 1.5}),
        json!({"healthy": false, "tokens_per_second": -1}),
        json!({"healthy": false, "latency": 1}),
        json!({"healthy": "no"}),
    ] {
        let (status, _) = stub.post("/stub", change.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{change}");
    }
    assert_eq!(stub.get("/stub").await.1["healthy"], true);
}

#[tokio::test]
async fn failures_come_at_their_rate_and_repeat_with_a_seed() {
    let options = EngineOptions { failure_rate: 0.3, seed: Some(7), ..named() };
    let mut runs = Vec::new();
    for _ in 0..2 {
        let stub = start(options.clone()).await;
        let mut failed = Vec::new();
        for _ in 0..300 {
            let (status, _) = stub.post("/v1/chat/completions", chat(json!({}))).await;
            failed.push(status == StatusCode::INTERNAL_SERVER_ERROR);
        }
        runs.push(failed);
    }
    assert_eq!(runs[0], runs[1]);
    let share = runs[0].iter().filter(|failed| **failed).count();
    assert!((60..=120).contains(&share), "{share} of 300");
}

#[tokio::test]
async fn the_key_is_asked_for_where_there_is_one() {
    let stub = start(EngineOptions { api_key: Some("k".to_owned()), ..named() }).await;
    let path = "/v1/chat/completions";
    let (status, answer) = stub.post(path, chat(json!({}))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer["error"]["code"], "invalid_api_key");
    for (key, expected) in [("k", StatusCode::OK), ("K", StatusCode::UNAUTHORIZED)] {
        let request = Request::post(format!("http://{}{path}", stub.address))
            .header("authorization", format!("Bearer {key}"))
            .body(Full::new(chat(json!({})).to_string().into()));
        assert_eq!(stub.send(request.unwrap()).await.status(), expected);
    }
    assert_eq!(stub.get("/health").await.0, StatusCode::OK);
}

#[tokio::test]
async fn latency_and_pace_are_kept() {
    let stub = start(EngineOptions { latency: Duration::from_millis(60), ..named() }).await;
    stub.post("/stub", json!({"tokens_per_second": 100})).await;
    for extra in [json!({}), json!({"stream": true})] {
        let start = Instant::now();
        stub.post_raw("/v1/chat/completions", chat(extra).to_string()).await;
        // 60 ms, and 7 words at 100 a second.
        assert!(start.elapsed() >= Duration::from_millis(130), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted() {
    let stub = start(named()).await;
    stub.post("/v1/chat/completions", chat(json!({}))).await;
    stub.events("/v1/chat/completions", chat(json!({"stream": true}))).await;
    stub.wait_for("completed", 2).await;

    stub.post("/stub", json!({"tokens_per_second": 0.1})).await;
    for (extra, count) in [(json!({}), 1), (json!({"stream": true}), 2)] {
        let body = chat(extra).to_string();
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: stub\r\ncontent-length";
        let mut stream = TcpStream::connect(stub.address).await.unwrap();
        let request = format!("{head}: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        if count == 2 {
            // The stream is under way.
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        }
        stub.wait_for("in_flight", 1).await;
        drop(stream);
        stub.wait_for("cancelled", count).await;
    }
    let status = stub.wait_for("in_flight", 0).await;
    assert_eq!((&status["requests"], &status["completed"]), (&json!(4), &json!(2)));
}

#[tokio::test]
async fn a_call_lingers_after_its_client_has_left() {
    let hour = Duration::from_secs(3600);
    let full = EngineOptions { places: 1, queue: 0, latency: hour, ..named() };
    for linger in [hour, Duration::ZERO] {
        let stub = start(EngineOptions { linger, ..full.clone() }).await;
        let left = stub.post("/v1/chat/completions", chat(json!({})));
        tokio::select! {
            _ = left => panic!("it takes an hour"),
            _ = stub.wait_for("in_flight", 1) => {}
        }
        stub.wait_for("cancelled", 1).await;
        stub.post("/stub", json!({"latency_ms": 0})).await;
        let (status, _) = stub.post("/v1/chat/completions", chat(json!({}))).await;
        assert_eq!(status == StatusCode::SERVICE_UNAVAILABLE, !linger.is_zero(), "{status}");
    }
}

#[tokio::test]
async fn a_stop_drops_connections_at_once() {
    let stub = start(EngineOptions { latency: Duration::from_secs(3600), ..named() }).await;
    let mut stream = TcpStream::connect(stub.address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: stub\r\n\r\n").await.unwrap();
    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
    stub.stop.send(()).unwrap();
    stub.served.await.unwrap().unwrap();
    assert!(matches!(stream.read(&mut [0; 16]).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(stub.address).await.is_err());
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    for options in [
        EngineOptions { name: "a\nb".to_owned(), ..named() },
        EngineOptions { failure_rate: f64::NAN, ..named() },
        EngineOptions { tokens_per_second: f64::INFINITY, ..named() },
        EngineOptions { prefill_per_second: f64::NAN, ..named() },
    ] {
        let stub = start(options).await;
        let error = stub.served.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
