#![allow(clippy::unwrap_used)]

//! `vllm-0.32.txt`, `vllm-0.32-two-engines.txt` (without the buckets of its histograms) and
//! `llama.cpp.txt` are what real engines told under load. The other fixtures are written after the
//! sources and documents of the engines.

use std::sync::Mutex;
use std::time::Duration;

use answers::exposition::Exposition;
use config::{Config, EngineMetrics, Paths};
use fleet::EngineNumbers;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::reading::{Counters, Reading, reading, selectors};
use super::*;

/// The kind, what an engine of it told, and what that says: running, waiting, KV, prefix hits.
type Fixture = (&'static str, &'static str, EngineNumbers<Option<f64>>);

const FIXTURES: [Fixture; 15] = [
    (
        "vllm",
        include_str!("fixtures/vllm-0.32.txt"),
        [Some(4.0), Some(5.0), Some(0.008_793_356_130_923_358), None],
    ),
    (
        "vllm",
        include_str!("fixtures/vllm-0.32-two-engines.txt"),
        [Some(4.0), Some(7.0), Some(0.007_816_316_560_820_769), None],
    ),
    ("vllm", include_str!("fixtures/vllm-v1.txt"), [Some(32.0), Some(3.0), Some(0.375), None]),
    (
        "vllm",
        include_str!("fixtures/vllm-v0.txt"),
        [Some(6.0), Some(2.0), Some(0.730_357_637_926_254_5), Some(0.625)],
    ),
    (
        "vllm",
        include_str!("fixtures/vllm-waiting-by-reason.txt"),
        [Some(8.0), Some(5.0), Some(0.96875), None],
    ),
    (
        "sglang",
        include_str!("fixtures/sglang.txt"),
        [Some(24.0), Some(2.0), Some(0.25), Some(0.375)],
    ),
    (
        "SGLang",
        include_str!("fixtures/sglang-priorities.txt"),
        [Some(24.0), Some(2.0), Some(0.25), Some(0.375)],
    ),
    (
        "sglang",
        include_str!("fixtures/sglang-0.4.txt"),
        [Some(162.0), Some(2826.0), Some(0.28), Some(0.007_507_552_643_049_313)],
    ),
    ("llama.cpp", include_str!("fixtures/llama.cpp.txt"), [Some(4.0), Some(2.0), None, None]),
    (
        "llama.cpp",
        include_str!("fixtures/llama.cpp-2024.txt"),
        [Some(4.0), Some(7.0), Some(0.40625), None],
    ),
    ("lmdeploy", include_str!("fixtures/lmdeploy.txt"), [Some(5.0), Some(2.0), Some(0.125), None]),
    ("tgi", include_str!("fixtures/tgi.txt"), [Some(9.0), Some(5.0), None, None]),
    ("triton", include_str!("fixtures/triton.txt"), [Some(11.0), Some(3.0), Some(0.4375), None]),
    ("triton", include_str!("fixtures/triton-23.11.txt"), [Some(1.0), None, Some(0.25), None]),
    (
        "trtllm",
        include_str!("fixtures/trtllm-serve.txt"),
        [Some(12.0), Some(6.0), Some(0.59375), Some(0.8125)],
    ),
];

fn config(models: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.yaml");
    std::fs::write(&path, models).unwrap();
    let routing = folder.path().join("none");
    let paths = Paths { models: path, routing, routing_required: false };
    config::load(&paths, &|_| None).unwrap()
}

fn metrics(route: &str) -> EngineMetrics {
    let config =
        config(&format!("models: [{{id: m, route: [{{base_url: 'http://gpu', {route}}}]}}]"));
    config.models[0].deployments[0].metrics.clone().unwrap()
}

fn read(
    metrics: &EngineMetrics,
    text: &str,
    counters: &mut Option<Counters>,
) -> EngineNumbers<Option<f64>> {
    read_all(metrics, text, counters).numbers
}

fn read_all(metrics: &EngineMetrics, text: &str, counters: &mut Option<Counters>) -> Reading {
    let mut exposition = Exposition::new(selectors(metrics));
    exposition.feed(text.as_bytes());
    let mut found = exposition.end(false).into_iter();
    let read = reading(metrics, &mut found, counters);
    assert_eq!(found.count(), 0, "each result is taken");
    read
}

#[test]
fn every_kind_is_read() {
    for (kind, text, expected) in FIXTURES {
        let of_kind = metrics(&format!("kind: {kind}"));
        assert_eq!(read(&of_kind, text, &mut None), expected, "{kind}");
        // The series tell the kind, wherever they are at the usual path.
        if of_kind.path() == "/metrics" && kind != "triton" {
            let any = metrics("kind: openai_compat");
            assert_eq!(read(&any, text, &mut None), expected, "{kind}, not named");
        }
    }
}

#[test]
fn several_engines_are_noticed() {
    let vllm = metrics("kind: vllm");
    let is_several = |text| read_all(&vllm, text, &mut None).is_several;
    assert!(!is_several(include_str!("fixtures/vllm-0.32.txt")));
    assert!(is_several(include_str!("fixtures/vllm-0.32-two-engines.txt")));
}

#[test]
fn hits_count_by_their_growth() {
    let vllm = metrics("kind: vllm");
    let hit = |counters: &mut Option<Counters>, hits: &str, queries: &str| {
        let text = format!(
            "vllm:prefix_cache_hits_total {hits}\nvllm:prefix_cache_queries_total {queries}\n"
        );
        read(&vllm, &text, counters)[3]
    };
    let counters = &mut None;
    assert_eq!(hit(counters, "70000", "120000"), None, "nothing to compare with");
    assert_eq!(hit(counters, "70300", "120400"), Some(0.75));
    assert_eq!(hit(counters, "70300", "120400"), None, "no query");
    assert_eq!(hit(counters, "50", "200"), Some(0.25), "the engine began again");
    assert!(hit(counters, "NaN", "300").unwrap().is_nan());
    assert_eq!(hit(counters, "150", "300"), None, "the last ones were unreadable");
    assert!(hit(counters, "150", "1e300").unwrap().is_nan());
    // Hits and misses, as llama.cpp tells them.
    let llama = metrics("kind: llama.cpp");
    let text = |hits, misses| {
        format!(
            "llamacpp:prompt_tokens_cached_total {hits}\nllamacpp:prompt_tokens_total {misses}\n"
        )
    };
    let counters = &mut None;
    assert_eq!(read(&llama, &text(100, 100), counters)[3], None);
    assert_eq!(read(&llama, &text(160, 140), counters)[3], Some(0.6));
    assert_eq!(read(&llama, "llamacpp:prompt_tokens_cached_total 160\n", counters)[3], None);
    assert_eq!(read(&llama, &text(160, 140), counters)[3], None, "one of them was missing");
    // An older name, and counters without their ending.
    let text = |hits, queries| {
        format!("vllm:prefix_cache_hits {hits}\nvllm:prefix_cache_queries {queries}\n")
    };
    let counters = &mut None;
    read(&vllm, &text(0, 0), counters);
    assert_eq!(read(&vllm, &text(1, 4), counters)[3], Some(0.25));
}

#[test]
fn own_series_are_read() {
    let own = metrics(
        "signals: {running: 'my{engine=\"0\"}', waiting: 'my{engine=\"1\"}', kv: used / total, \
         prefix-hit: hit_percent / 100}",
    );
    let text = "my{engine=\"0\"} 4\nmy{engine=\"1\"} 5\nused 30\nused{x=\"1\"} 20\ntotal 200\n\
                hit_percent 100.0001\nvllm:num_requests_running 99\n";
    assert_eq!(read(&own, text, &mut None), [Some(4.0), Some(5.0), Some(0.25), Some(1.0)]);
    let nothing = read(&own, "used 0\ntotal 0\nhit_percent NaN\n", &mut None);
    assert_eq!(nothing[..2], [None, None]);
    assert!(nothing[2].unwrap().is_nan() && nothing[3].unwrap().is_nan());
}

/// An engine that answers each scrape as `answer` says: with the head's text to a whole response.
struct Scripted {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let listener = TcpListener::from_std(listener).unwrap();
        let (heads, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&seen), Arc::clone(&answer)));
            }
        });
        Self { url, heads }
    }

    /// Answers with this text.
    fn telling(text: impl Into<String>) -> Self {
        let body = text.into();
        Self::start(move |_| Some(ok(&body)))
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Answers the requests of one connection. None: never.
async fn converse(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<String>>>,
    answer: Arc<impl Fn(&str) -> Option<Vec<u8>>>,
) {
    let mut head = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut head).await {
        // The head arrives in one piece.
        let text = String::from_utf8_lossy(&head[..length]).into_owned();
        seen.lock().unwrap().push(text.clone());
        match answer(&text) {
            Some(answer) => drop(stream.write_all(&answer).await),
            None => std::future::pending().await,
        }
    }
}

fn scraping() -> Scraping {
    let (interval, timeout) = (Duration::from_millis(50), Duration::from_millis(300));
    Scraping { interval, timeout, always: true, gateways: 1 }
}

/// Scrapes the engines of these models.
fn follow(scrapes: &mut Scrapes, fleet: &Fleet) {
    let client = crate::probe::client(crate::tls::client().unwrap()).unwrap();
    scrapes.follow(fleet, &[], scraping(), &client);
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn value(fleet: &Fleet, deployment: usize, signal: Signal) -> f64 {
    fleet.deployments().nth(deployment).unwrap().engine.value(signal, Instant::now())
}

const RUNNING: Signal = Signal::EngineRunning;

#[tokio::test]
async fn an_origin_is_scraped_once_with_its_key() {
    let engine = Scripted::telling("vllm:num_requests_running 3\n");
    let url = &engine.url;
    let model = |id| {
        format!(
            "{{id: {id}, route: [{{base_url: '{url}', api_key: sk-1}}, {{base_url: '{url}/v1', provider_model_id: x}}]}}"
        )
    };
    let models = format!("models: [{}, {}]", model("a"), model("b"));
    let fleet = Fleet::build(&config(&models), None);
    let mut scrapes = Scrapes::default();
    follow(&mut scrapes, &fleet);
    assert_eq!(scrapes.places.len(), 1);
    eventually("numbers", || (0..4).all(|at| value(&fleet, at, RUNNING) == 3.0)).await;
    let head = engine.heads()[0].to_lowercase();
    assert!(head.starts_with("get /metrics http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer sk-1\r\n"), "{head}");
    assert!(!head.contains("accept-encoding: gzip"), "{head}");
    // A second fleet with the same engine, and none without it.
    follow(&mut scrapes, &Fleet::build(&config(&models), Some(&fleet)));
    assert_eq!(scrapes.places.len(), 1);
    follow(
        &mut scrapes,
        &Fleet::build(
            &config("models: [{id: c, base_url: 'http://127.0.0.1:1', route: [{side: remote}]}]"),
            None,
        ),
    );
    assert_eq!(scrapes.places.len(), 0);
}

#[tokio::test]
async fn engines_below_paths_are_told_apart() {
    let proxy = Scripted::start(|head| {
        let running = if head.starts_with("GET /one/metrics ") { 1 } else { 2 };
        Some(ok(&format!("vllm:num_requests_running {running}\n")))
    });
    let url = &proxy.url;
    let models = format!(
        "models: [{{id: a, route: [{{base_url: '{url}/one'}}, {{base_url: '{url}/two/v1'}}]}}]"
    );
    let fleet = Fleet::build(&config(&models), None);
    let mut scrapes = Scrapes::default();
    follow(&mut scrapes, &fleet);
    assert_eq!(scrapes.places.len(), 2);
    eventually("numbers", || [0, 1].map(|at| value(&fleet, at, RUNNING)) == [1.0, 2.0]).await;
}

#[tokio::test]
async fn only_wanted_engines_are_scraped() {
    let (wanted, other) = (Scripted::telling("tgi_queue_size 1\n"), Scripted::telling(""));
    let models = format!(
        "models: [{{id: a, base_url: '{}'}}, {{id: b, base_url: '{}'}}]",
        other.url, wanted.url
    );
    let fleet = Fleet::build(&config(&models), None);
    let client = crate::probe::client(crate::tls::client().unwrap()).unwrap();
    let signals = |signal| SignalSet::from_iter([signal]);
    let mut scrapes = Scrapes::default();
    let sets = [signals(Signal::Limit), signals(Signal::EngineAge)];
    let asked = Scraping { always: false, ..scraping() };
    scrapes.follow(&fleet, &sets, asked, &client);
    eventually("numbers", || value(&fleet, 1, Signal::EngineWaiting) == 1.0).await;
    assert_eq!(other.heads().len(), 0);
    let is_asked = |at| fleet.deployments().nth(at).unwrap().engine.is_asked();
    assert_eq!([is_asked(0), is_asked(1)], [false, true]);
    scrapes.follow(&fleet, &[], asked, &client);
    assert_eq!([is_asked(0), is_asked(1)], [false; 2]);
    assert!(scrapes.places.is_empty());
}

#[tokio::test]
async fn a_key_stays_at_its_port() {
    let engine = Scripted::telling("my 2\n");
    let port = engine.url.rsplit(':').next().unwrap();
    let models = format!(
        "models: [{{id: a, route: [{{base_url: 'http://127.0.0.1:9', api_key: sk-1, \
         signals: {{path: ':{port}/m', running: my}}}}]}}]"
    );
    let fleet = Fleet::build(&config(&models), None);
    let mut scrapes = Scrapes::default();
    follow(&mut scrapes, &fleet);
    eventually("numbers", || value(&fleet, 0, RUNNING) == 2.0).await;
    let head = engine.heads()[0].to_lowercase();
    assert!(head.starts_with("get /m http") && !head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn a_hung_engine_delays_no_other() {
    let good = Scripted::telling("llamacpp:requests_processing 1\n");
    let hung = Scripted::start(|_| None);
    let missing = Scripted::start(|_| Some(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n".into()));
    let routes = [&good, &hung, &missing].map(|engine| format!("{{base_url: '{}'}}", engine.url));
    let models = format!("models: [{{id: a, route: [{}]}}]", routes.join(", "));
    let fleet = Fleet::build(&config(&models), None);
    let mut scrapes = Scrapes::default();
    follow(&mut scrapes, &fleet);
    let engine = |at: usize| &fleet.models[0].deployments[at].engine;
    eventually("failures of the hung one", || engine(1).failures.get() >= 3).await;
    let (good_ones, hung_ones) = (engine(0).scrapes.get(), engine(1).scrapes.get());
    assert!(good_ones > 2 * hung_ones, "{good_ones} and {hung_ones}");
    assert_eq!(value(&fleet, 0, RUNNING), 1.0);
    assert_eq!(engine(2).failures.get(), 1, "a page that is missing is not asked for each time");
    assert!(value(&fleet, 1, RUNNING).is_nan() && value(&fleet, 1, Signal::EngineAge).is_nan());
}

#[tokio::test]
async fn liars_are_not_believed() {
    for (text, expected) in [
        ("vllm:num_requests_running NaN\nvllm:num_requests_waiting 1\n", [None, Some(1.0)]),
        ("vllm:num_requests_running -5\nvllm:num_requests_waiting 1e300\n", [None, None]),
        ("vllm:num_requests_running 1e9\nvllm:num_requests_waiting 1e10\n", [Some(1e9), None]),
        ("<html>vllm:num_requests_running 3</html>", [None, None]),
        ("{\"vllm:num_requests_running\": 3}", [None, None]),
    ] {
        let engine = Scripted::telling(text);
        let models = format!("models: [{{id: a, base_url: '{}'}}]", engine.url);
        let fleet = Fleet::build(&config(&models), None);
        let mut scrapes = Scrapes::default();
        follow(&mut scrapes, &fleet);
        let scrapes = || fleet.models[0].deployments[0].engine.scrapes.get();
        eventually("two scrapes", || scrapes() >= 2).await;
        let known = [RUNNING, Signal::EngineWaiting].map(|signal| {
            let value = value(&fleet, 0, signal);
            (!value.is_nan()).then_some(value)
        });
        assert_eq!(known, expected, "{text}");
        let failures = fleet.models[0].deployments[0].engine.failures.get();
        assert_eq!(failures > 0, expected == [None, None], "{text}");
    }
}

#[tokio::test]
async fn a_long_answer_is_cut_off() {
    let first = "tgi_queue_size 4\ntgi_batch_current_size 2\n";
    let line = "other_metric{with=\"a label\"} 1\n";
    let endless = format!("{first}{}", line.repeat(2 * ask::READ / line.len()));
    assert!(endless.len() > ask::READ);
    let engine = Scripted::telling(endless);
    let models = format!("models: [{{id: a, base_url: '{}'}}]", engine.url);
    let fleet = Fleet::build(&config(&models), None);
    let mut scrapes = Scrapes::default();
    let client = crate::probe::client(crate::tls::client().unwrap()).unwrap();
    let patient = Scraping { timeout: Duration::from_secs(20), ..scraping() };
    scrapes.follow(&fleet, &[], patient, &client);
    eventually("numbers", || value(&fleet, 0, RUNNING) == 2.0).await;
    assert_eq!(value(&fleet, 0, Signal::EngineWaiting), 4.0);
}
