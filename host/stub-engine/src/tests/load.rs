//! What the engine has in its cache, and what it tells of its load.

use super::*;

#[tokio::test]
async fn cached_prompts_are_not_read_again() {
    let cached = EngineOptions { prefill_per_second: 1_000.0, cache: 1_000, ..named() };
    let stub = start(cached).await;
    let words = "word ".repeat(100);
    let body = |more: &str| json!({"model": "m", "prompt": format!("{words}{more}")});
    let begun = Instant::now();
    let (_, first) = stub.post("/v1/completions", body("")).await;
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(first["usage"]["prompt_tokens_details"].is_null());
    // An hour for each word that is read.
    stub.post("/stub", json!({"prefill_per_second": 1.0 / 3600.0})).await;
    let late = tokio::time::timeout(
        Duration::from_millis(50),
        stub.post("/v1/completions", body("and more")),
    );
    assert!(late.await.is_err());
    stub.post("/stub", json!({"prefill_per_second": 0.0})).await;
    let (_, second) = stub.post("/v1/completions", body("and more")).await;
    assert_eq!(second["usage"]["prompt_tokens"], 102);
    assert_eq!(second["usage"]["prompt_tokens_details"]["cached_tokens"], 96);
    stub.post("/stub", json!({"cache": 0})).await;
    stub.post("/v1/completions", body("")).await;
    let (_, third) = stub.post("/v1/completions", body("")).await;
    assert!(third["usage"]["prompt_tokens_details"].is_null());
}

#[tokio::test]
async fn the_load_is_told_truly_or_not() {
    let stub = start(EngineOptions {
        name: "one".into(),
        latency: Duration::from_secs(3600),
        places: 2,
        ..EngineOptions::default()
    })
    .await;
    let url = format!("http://{}/metrics", stub.address);
    let metrics = || stub.send(Request::get(&url).body(Full::default()).unwrap());
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let request = Request::post(format!("http://{}/v1/completions", stub.address));
            let body = Bytes::from(json!({"model": "m", "prompt": "x"}).to_string());
            tokio::spawn(stub.client.request(request.body(Full::new(body)).unwrap()))
        })
        .collect();
    let expected = "vllm:num_requests_waiting{engine=\"0\",model_name=\"stub\"} 1\n";
    let mut text = String::new();
    for _ in 0..200 {
        text = String::from_utf8(metrics().await.into_body().to_vec()).unwrap();
        if text.contains(expected) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("vllm:num_requests_running{engine=\"0\",model_name=\"stub\"} 2\n"));
    assert!(text.contains("vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"stub\"} 1\n"));
    stub.post("/stub", json!({"metrics": "lie"})).await;
    assert!(String::from_utf8_lossy(metrics().await.body()).contains("} 1e300\n"));
    stub.post("/stub", json!({"metrics": "off"})).await;
    assert_eq!(metrics().await.status(), StatusCode::NOT_FOUND);
    calls.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_whole_answer_tells_the_load_if_asked() {
    let stub = start(EngineOptions { name: "one".into(), ..EngineOptions::default() }).await;
    let told = async |format: Option<&str>, stream: bool| {
        let mut request = Request::post(format!("http://{}/v1/completions", stub.address));
        if let Some(format) = format {
            request = request.header("endpoint-load-metrics-format", format);
        }
        let body = json!({"model": "m", "prompt": "x", "stream": stream}).to_string();
        let response = stub.send(request.body(Full::new(body.into())).unwrap()).await;
        let told = response.headers().get("endpoint-load-metrics");
        told.map(|told| told.to_str().unwrap().to_owned())
    };
    assert_eq!(told(None, false).await, None);
    assert_eq!(told(Some("JSON"), true).await, None, "a stream has no such header");
    let json = r#"JSON {"named_metrics":{"kv_cache_usage_perc":0,"num_requests_waiting":0}}"#;
    assert_eq!(told(Some("JSON"), false).await.as_deref(), Some(json));
    let text = "TEXT named_metrics.kv_cache_usage_perc=0, named_metrics.num_requests_waiting=0";
    assert_eq!(told(Some("text"), false).await.as_deref(), Some(text));
}
