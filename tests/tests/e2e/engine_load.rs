//! What engines tell of their load, by scrapes and with their answers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Engine, EngineOptions, Gateway, Raw, Received, Reply, client, eventually, logged};

const SCRAPED: &str = "signals: {interval: 50ms, timeout: 1s, always: true}";

/// An engine of this name whose calls last an hour. It wants a key.
fn engine(name: &str) -> Engine {
    Engine::with(EngineOptions {
        name: name.to_owned(),
        latency: Duration::from_secs(3600),
        places: 2,
        api_key: Some("sk-engine".to_owned()),
        ..EngineOptions::default()
    })
}

/// A gateway in front of engines: the model `m`, whose deployments are named by the engines.
fn gateway(engines: &[(&str, &str)], more: &str) -> Gateway {
    let route = |(name, url): &(&str, &str)| {
        format!("      - {{name: {name}, base_url: '{url}', api_key: sk-engine}}\n")
    };
    let routes: String = engines.iter().map(route).collect();
    let models = format!("models:\n  - id: m\n    route:\n{routes}");
    tests::setup!().models(models).routing(logged(more)).start()
}

/// What `/routing` shows of the load of a deployment.
async fn load(gateway: &Gateway, name: &str) -> Value {
    let routing = gateway.routing().await;
    let deployments = routing["models"]["m"]["deployments"].as_array().expect("a list");
    let found = deployments.iter().find(|deployment| deployment["name"] == name);
    found.expect("a deployment")["engine"].clone()
}

async fn becomes(gateway: &Gateway, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let there = async || Some(load(gateway, name).await).filter(&is);
    eventually(&format!("{name}: {what}"), there).await
}

/// A call to an engine or a gateway that is not answered before it is aborted.
fn call(url: &str) -> tokio::task::JoinHandle<()> {
    let request = client().post(format!("{url}/v1/chat/completions")).bearer_auth("sk-engine");
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}).to_string();
    tokio::spawn(async move { drop(request.body(body).send().await) })
}

#[tokio::test]
async fn engines_that_hang_or_lie_spoil_no_other() {
    let [good, hung, lying, slow] = ["good", "hung", "lying", "slow"].map(engine);
    hung.set(json!({"metrics": "hang"})).await;
    lying.set(json!({"metrics": "lie"})).await;
    slow.set(json!({"metrics_ms": 100})).await;
    // Others use the engines, too: two calls are worked on, and one waits.
    let others: Vec<_> =
        [&good, &slow].into_iter().flat_map(|engine| (0..3).map(|_| call(&engine.url()))).collect();
    let urls = [&good, &hung, &lying, &slow].map(Engine::url);
    let names = ["good", "hung", "lying", "slow"];
    let engines: Vec<_> = names.into_iter().zip(urls.iter().map(String::as_str)).collect();
    let gateway = gateway(&engines, SCRAPED);
    for name in ["good", "slow"] {
        let shown = becomes(&gateway, name, "is read", |load| load["waiting"] == 1.0).await;
        assert_eq!((&shown["running"], &shown["kv"]), (&json!(2.0), &json!(1.0)), "{name}");
        assert_eq!(shown["prefix_hit"], Value::Null, "{name}");
    }
    let labels = |name| [("deployment", name)];
    let count = async |metric: &str, name| gateway.metric(metric, &labels(name)).await;
    let failures = "gateway_engine_scrape_failures_total";
    for name in ["hung", "lying"] {
        let three = async || count(failures, name).await.filter(|count| *count >= 3.0);
        eventually(&format!("{name} fails"), three).await;
        assert_eq!(load(&gateway, name).await, Value::Null, "{name}: nothing was ever known");
        let told = gateway.log().lines().filter(|l| l.contains(&format!("m/{name}"))).count();
        assert_eq!(told, 1, "{name}: one line a minute, {}", gateway.log());
    }
    others.iter().for_each(tokio::task::JoinHandle::abort);
    becomes(&gateway, "good", "is idle again", |load| load["running"] == 0.0).await;
}

#[tokio::test]
async fn own_requests_count_between_scrapes() {
    let good = engine("good");
    // There is one scrape at the start, and none after it.
    let gateway = gateway(&[("good", &good.url())], "signals: {interval: 60s, always: true}");
    becomes(&gateway, "good", "is read", |load| load["running"] == 0.0).await;
    good.set(json!({"metrics": "hang"})).await;
    let calls: Vec<_> = (0..5).map(|_| call(&gateway.url(""))).collect();
    becomes(&gateway, "good", "has five", |load| load["running"] == 5.0).await;
    calls[..3].iter().for_each(tokio::task::JoinHandle::abort);
    becomes(&gateway, "good", "has two", |load| load["running"] == 2.0).await;
}

#[tokio::test]
async fn numbers_grow_old_and_end() {
    let good = engine("good");
    let gateway = gateway(&[("good", &good.url())], SCRAPED);
    let shown = becomes(&gateway, "good", "is read", |load| load["running"] == 0.0).await;
    good.set(json!({"metrics": "hang"})).await;
    let age = |load: &Value| load["age_ms"].as_f64().expect("a number");
    becomes(&gateway, "good", "grows old", |load| age(load) > age(&shown) + 1_000.0).await;
    // Ten intervals are less than five seconds.
    let unknown = |load: &Value| load["running"].is_null() && age(load) > 5_000.0;
    becomes(&gateway, "good", "is not known any more", unknown).await;
    good.set(json!({"metrics": "truth"})).await;
    becomes(&gateway, "good", "is read again", |load| load["running"] == 0.0).await;
}

/// An upstream that tells its load with each answer, and these metrics.
fn telling(status: u16, metrics: &'static str) -> Raw {
    Raw::start(move |received, wire| {
        if received.method == "GET" {
            wire.answer(status, metrics);
            return;
        }
        let load =
            r#"JSON {"named_metrics":{"kv_cache_usage_perc":0.25,"num_requests_waiting":4}}"#;
        let body = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
        wire.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nendpoint-load-metrics: {load}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ));
    })
}

/// Asks the gateway. Returns what the upstream got, and the answer.
async fn ask(gateway: &Gateway, upstream: &Raw, format: Option<&str>) -> (Received, Reply) {
    let mut request = gateway.client().post(gateway.url("/v1/chat/completions"));
    if let Some(format) = format {
        request = request.header("endpoint-load-metrics-format", format);
    }
    let answer = request.body(r#"{"model":"m","messages":[]}"#).send().await;
    let reply = Reply::read(answer.expect("an answer")).await.expect("a whole answer");
    let mut posts = upstream.received().into_iter().filter(|received| received.method == "POST");
    (posts.next_back().expect("the request"), reply)
}

const FORMAT: &str = "endpoint-load-metrics-format";

#[tokio::test]
async fn no_answer_tells_the_load_beside_scrapes() {
    let upstream = telling(200, "vllm:num_requests_waiting 1\n");
    let engines = [("engine", &*upstream.url())];
    // A number is young for two minutes.
    let scraped = gateway(&engines, "signals: {interval: 60s, always: true}");
    becomes(&scraped, "engine", "is read", |load| load["waiting"] == 1.0).await;
    let (sent, _) = ask(&scraped, &upstream, None).await;
    assert_eq!(sent.header(FORMAT), None);
    ask(&scraped, &upstream, Some("JSON")).await;
    let told = load(&scraped, "engine").await;
    assert_eq!((&told["waiting"], &told["kv"]), (&json!(4.0), &json!(0.25)), "the client asked");
}

#[tokio::test]
async fn a_report_of_one_engine_is_not_that_of_two() {
    let upstream = telling(
        200,
        "vllm:num_requests_waiting{engine=\"0\"} 7\nvllm:num_requests_waiting{engine=\"1\"} 4\n",
    );
    let engines = [("engine", &*upstream.url())];
    let gateway = gateway(&engines, "signals: {interval: 60s, always: true}");
    becomes(&gateway, "engine", "is read", |load| load["waiting"] == 11.0).await;
    let (_, reply) = ask(&gateway, &upstream, Some("JSON")).await;
    assert!(reply.header("endpoint-load-metrics").contains("waiting\":4"));
    let told = load(&gateway, "engine").await;
    assert_eq!((&told["waiting"], &told["kv"]), (&json!(11.0), &Value::Null));
}

#[tokio::test]
async fn answers_tell_the_load_where_it_is_wanted() {
    const LOAD: &str = "endpoint-load-metrics";
    let upstream = telling(404, "");
    let asking = gateway(&[("engine", &upstream.url())], "signals: {always: true}");
    let (sent, reply) = ask(&asking, &upstream, None).await;
    assert_eq!(sent.header(FORMAT), Some("json"));
    assert_eq!(reply.header(LOAD), "", "the client did not ask");
    let shown = becomes(&asking, "engine", "is told", |load| !load.is_null()).await;
    assert_eq!((&shown["kv"], &shown["waiting"]), (&json!(0.25), &json!(4.0)));
    assert_eq!(shown["running"], Value::Null);
    let (sent, reply) = ask(&asking, &upstream, Some("TEXT")).await;
    assert_eq!(sent.header(FORMAT), Some("TEXT"));
    assert!(reply.header(LOAD).starts_with("JSON {"));

    let silent = gateway(&[("engine", &upstream.url())], "");
    let (sent, reply) = ask(&silent, &upstream, None).await;
    assert_eq!((sent.header(FORMAT), reply.header(LOAD)), (None, ""));
    assert_eq!(load(&silent, "engine").await, Value::Null);
    let scrapes = silent.metric("gateway_engine_scrapes_total", &[("deployment", "engine")]).await;
    assert_eq!(scrapes, None, "no strategy asks");
}

#[tokio::test]
async fn several_gateways_ask_as_often_as_one() {
    const GATEWAYS: usize = 4;
    const INTERVAL: Duration = Duration::from_millis(100);
    let upstream = Raw::start(|_, wire| wire.answer(200, "tgi_queue_size 1\n"));
    let engines = [("engine", &*upstream.url())];
    let signals = format!("signals: {{interval: 100ms, always: true, gateways: {GATEWAYS}}}");
    let gateways: Vec<_> = (0..GATEWAYS).map(|_| gateway(&engines, &signals)).collect();
    for gateway in &gateways {
        becomes(gateway, "engine", "is read", |load| load["waiting"] == 1.0).await;
    }
    let (start, before) = (Instant::now(), upstream.received().len());
    let more = async || (upstream.received().len() >= before + 40).then_some(());
    eventually("forty scrapes", more).await;
    // Each of them may be early by a tenth of its period, once.
    let least = INTERVAL * 40 - GATEWAYS as u32 * INTERVAL.mul_f64(GATEWAYS as f64 * 1.1);
    assert!(start.elapsed() > least, "forty scrapes within {:?}", start.elapsed());
}
