//! Engines whose `/metrics` is hostile: none delays another, none is believed, and memory is
//! bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Gateway, Raw, Received, Wire, eventually, logged};

const MIB: u64 = 1 << 20;
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n";
const RUNNING: &str = "vllm:num_requests_running{engine=\"0\"} 3\n";
const FAILURES: &str = "gateway_engine_scrape_failures_total";

/// An engine that answers each scrape by this script.
fn engine(script: impl Fn(&mut Wire) + Send + Sync + 'static) -> Raw {
    Raw::start(move |_: &Received, wire| script(wire))
}

/// An engine that tells this text.
fn telling(head: &str, text: &str) -> Raw {
    let whole = format!("{head}content-length: {}\r\n\r\n{text}", text.len());
    engine(move |wire| wire.send(&whole))
}

/// An engine that sends `begin` and then a piece over and over. The counter has the bytes that the
/// gateway took.
fn flooding(begin: String, piece: String, most: u64) -> (Raw, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&taken);
    let raw = engine(move |wire| {
        wire.send(&begin);
        wire.flood(piece.as_bytes(), most, &count);
        wire.close();
    });
    (raw, taken)
}

/// A byte at a time, for ever.
fn dripping() -> Raw {
    engine(|wire| {
        wire.send(format!("{HEAD}transfer-encoding: chunked\r\n\r\n"));
        for byte in RUNNING.bytes().cycle().take(10_000) {
            wire.send([b"1\r\n".as_slice(), &[byte], b"\r\n"].concat());
            std::thread::sleep(Duration::from_millis(20));
        }
        wire.close();
    })
}

/// A gateway in front of engines: the model `m`, whose deployments have these names.
fn gateway(engines: &[(&str, &Raw)]) -> Gateway {
    let route = |(name, engine): &(&str, &Raw)| {
        format!("      - {{name: {name}, base_url: '{}', api_key: sk-{name}}}\n", engine.url())
    };
    let routes: String = engines.iter().map(route).collect();
    let models = format!("models:\n  - id: m\n    route:\n{routes}");
    let routing = logged("signals: {interval: 50ms, timeout: 1s, always: true}");
    tests::setup!().models(models).routing(routing).start()
}

/// What `/routing` shows of the load of a deployment.
async fn load(gateway: &Gateway, name: &str) -> Value {
    let routing = gateway.get(&format!("/routing?deployment={name}")).await.json();
    routing["models"]["m"]["deployments"][0]["engine"].clone()
}

async fn count(gateway: &Gateway, metric: &str, name: &str) -> f64 {
    gateway.metric(metric, &[("deployment", name)]).await.unwrap_or_default()
}

/// Waits until as many scrapes of a deployment have failed.
async fn fails(gateway: &Gateway, name: &str, times: f64) {
    let failed = async || (count(gateway, FAILURES, name).await >= times).then_some(());
    eventually(&format!("{name} fails"), failed).await;
}

#[tokio::test]
async fn hostile_answers_are_neither_believed_nor_kept() {
    let good = telling(HEAD, RUNNING);
    let gzip = telling(&format!("{HEAD}content-encoding: gzip\r\n"), RUNNING);
    let page = telling("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n", "<html>no</html>");
    let json = telling("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n", "{\"a\": 1}");
    let elsewhere = format!("HTTP/1.1 302 Found\r\nlocation: {}/metrics\r\n", good.url());
    let redirect = telling(&elsewhere, "");
    let short = engine(|wire| {
        wire.send(format!("{HEAD}content-length: 1000\r\n\r\n{RUNNING}"));
        wire.close();
    });
    let (heads, _) = flooding("HTTP/1.1 200 OK\r\n".into(), "x-more: y\r\n".into(), 100 * MIB);
    let line = format!("{HEAD}\r\nvllm:num_requests_running{{engine=\"");
    let (line, _) = flooding(line, "0".repeat(1 << 16), 100 * MIB);
    let drip = dripping();
    let names = ["gzip", "page", "json", "redirect", "short", "heads", "line", "drip"].into_iter();
    let raws = [&gzip, &page, &json, &redirect, &short, &heads, &line, &drip];
    let hostile: Vec<_> = names.zip(raws).collect();
    let gateway = gateway(&[&[("good", &good)][..], &hostile].concat());
    for (name, _) in &hostile {
        fails(&gateway, name, 3.0).await;
        assert_eq!(load(&gateway, name).await, Value::Null, "{name}: nothing was ever known");
    }
    let shown = load(&gateway, "good").await;
    assert_eq!((&shown["running"], count(&gateway, FAILURES, "good").await), (&json!(3.0), 0.0));
    let scrapes = async |name| count(&gateway, "gateway_engine_scrapes_total", name).await;
    let (of_good, of_drip) = (scrapes("good").await, scrapes("drip").await);
    assert!(of_good > 2.0 * of_drip, "one that drips delays no other: {of_good} and {of_drip}");
    let keys =
        good.received().into_iter().filter_map(|r| r.header("authorization").map(str::to_owned));
    assert!(keys.into_iter().all(|key| key == "Bearer sk-good"), "no redirect is followed");
}

#[tokio::test]
async fn floods_of_metrics_take_little_memory() {
    let begin = format!("{HEAD}\r\n{RUNNING}");
    let (flood, taken) = flooding(begin, "other{a=\"b\"} 1\n".repeat(4096), 100 * MIB);
    let line = |n| format!("vllm:num_requests_running{{engine=\"{n}\"}} 1\n");
    let series: String = (0..1_000_000).map(line).collect();
    let series = telling(HEAD, &series);
    let gateway = gateway(&[("flood", &flood), ("series", &series)]);
    let known = async || Some(load(&gateway, "flood").await).filter(|load| load["running"] == 3.0);
    eventually("what stands before the flood is read", known).await;
    fails(&gateway, "series", 2.0).await;
    let before = gateway.memory();
    let scrapes = async || count(&gateway, "gateway_engine_scrapes_total", "flood").await;
    let many = async || (scrapes().await >= 20.0).then_some(());
    eventually("twenty floods", many).await;
    let (most, of_each) = (gateway.memory(), taken.load(SeqCst) as f64 / scrapes().await);
    assert!(most < before + 16 * MIB, "{before} bytes, then {most}");
    // What the gateway reads, and what the sockets hold.
    assert!(of_each < 24.0 * MIB as f64, "{of_each} bytes of each flood");
    assert_eq!(load(&gateway, "series").await["running"], Value::Null);
    assert_eq!(gateway.log().matches("m/series").count(), 1, "one line a minute");
}
