//! The simulator beside the real gateway: the same requests at engines of the same speed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use tests::{ACCESS_LOG, Engine, EngineOptions, Gateway, logged, one_model};

/// Requests of a run, and how many come in a second.
const REQUESTS: u32 = 600;
const RATE: f64 = 30.0;

/// An engine, in the words of the stub engine and of the simulator.
#[derive(Clone, Copy)]
struct Pair {
    name: &'static str,
    side: &'static str,
    /// Words a second that a sequence writes.
    speed: f64,
    places: u32,
    /// Requests that wait in the engine. It refuses those beyond.
    queue: u32,
    /// The limit of the gateway.
    max: u32,
}

/// Words of a prompt that an engine reads in a second.
const PREFILL: f64 = 1000.0;

impl Pair {
    fn engine(&self) -> Engine {
        Engine::with(EngineOptions {
            name: self.name.to_owned(),
            tokens_per_second: self.speed,
            prefill_per_second: PREFILL,
            places: self.places,
            queue: self.queue,
            refusal: 503,
            ..EngineOptions::default()
        })
    }

    fn deployment(&self, url: &str) -> String {
        let Self { name, max, .. } = self;
        format!(
            "\n  - {{name: {name}, endpoint: {url}, models: [m], concurrency: {{max: {max}, queue: 100, wait: 10}}}}"
        )
    }

    fn simulated(&self) -> String {
        let Self { name, side, speed, places, queue, max } = self;
        format!(
            "  - {{name: {name}, side: {side}, parallel: {places}, prefill: {PREFILL}, decode: {speed}, \
             refuses: {{queue: {queue}}}, concurrency: {{max: {max}, queue: 100, wait: 10}}}}\n"
        )
    }
}

/// The shares of the deployments and the median time of an answer, in seconds.
#[derive(Debug)]
struct Figures {
    shares: BTreeMap<String, f64>,
    p50: f64,
}

/// Sends requests of random lengths at random times. Returns the log, too.
async fn measured(gateway: Arc<Gateway>) -> (Figures, Vec<u8>) {
    let mut rng = StdRng::seed_from_u64(7);
    let (begin, mut at) = (Instant::now(), 0.0);
    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        at -= (1.0 - rng.random::<f64>()).ln() / RATE;
        let due = begin + Duration::from_secs_f64(at);
        let words = "word ".repeat(rng.random_range(20..120));
        let body = json!({"model": "m", "messages": [{"role": "user", "content": words}]});
        let gateway = Arc::clone(&gateway);
        requests.spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            let sent = Instant::now();
            let reply = gateway.post("/v1/chat/completions", body.to_string()).await;
            let took = sent.elapsed().as_secs_f64();
            assert_eq!(reply.status, 200, "{}", reply.text());
            (reply, took)
        });
    }
    let answers = requests.join_all().await;
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for (reply, _) in &answers {
        let engine = reply.header("x-stub-engine").to_owned();
        *counts.entry(engine).or_default() += 1.0 / f64::from(REQUESTS);
        // All of them must be in the log.
        gateway.record(reply.header("x-request-id")).await;
    }
    let mut times: Vec<f64> = answers.into_iter().map(|(_, took)| took).collect();
    times.sort_by(f64::total_cmp);
    let figures = Figures { shares: counts, p50: times[times.len() / 2] };
    (figures, std::fs::read(gateway.path(ACCESS_LOG)).expect("the log"))
}

/// The figures of the simulator for the requests of a log.
fn simulated(strategy: &str, pairs: &[Pair], log: Vec<u8>) -> Figures {
    let deployments: String = pairs.iter().map(Pair::simulated).collect();
    let scenario = format!(
        "deployments:\n{deployments}arrivals: {{log: then.json}}\nrequests: [{{prompt: 1, output: 1}}]\n"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("report.json");
    let json = json.to_str().expect("text");
    let setup = tests::setup!().file("s.yaml", scenario).file("then.json", log);
    let words = ["strategy", "simulate", strategy, "--scenario", "s.yaml", "--json", json];
    let output = words.iter().fold(setup, |setup, word| setup.arg(word)).output();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value =
        serde_json::from_slice(&std::fs::read(json).expect("written")).expect("JSON");
    let strategy = &report["strategies"][0];
    assert_eq!(strategy["failed"], 0, "{strategy}");
    let shares = strategy["shares"].as_array().expect("a list").iter();
    let share = |share: &Value| {
        let name = share["deployment"].as_str().expect("a name").to_owned();
        (name, share["share"].as_f64().expect("a number"))
    };
    let p50 = strategy["total"]["p50"].as_f64().expect("a number");
    Figures { shares: shares.map(share).collect(), p50 }
}

/// Compares a strategy in both. Shares must be within two points, the median within a tenth.
async fn compare(strategy: &str, pairs: &[Pair]) {
    let engines: Vec<Engine> = pairs.iter().map(Pair::engine).collect();
    let side = |side| {
        let of = pairs.iter().zip(&engines).filter(|(pair, _)| pair.side == side);
        let list: String = of.map(|(pair, engine)| pair.deployment(&engine.url())).collect();
        if list.is_empty() { " []".to_owned() } else { list }
    };
    let routing = format!(
        "routing_strategy: {strategy}\nlocal_deployment:{}\nremote_deployment:{}\n{}",
        side("local"),
        side("remote"),
        logged("")
    );
    let urls: Vec<String> = engines.iter().map(Engine::url).collect();
    let models = one_model(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    let gateway = Arc::new(tests::setup!().models(models).routing(routing).start());
    let (real, log) = measured(gateway).await;
    let model = simulated(strategy, pairs, log);
    eprintln!("{strategy}: real {real:?}, simulated {model:?}");
    for (name, share) in &model.shares {
        let got = real.shares.get(name).copied().unwrap_or_default();
        assert!((got - share).abs() <= 0.02, "{strategy}, {name}: {got} instead of {share}");
    }
    let ratio = real.p50 / model.p50;
    assert!((ratio - 1.0).abs() <= 0.1, "{strategy}: {} instead of {}", real.p50, model.p50);
}

#[tokio::test]
#[ignore = "takes two minutes, and needs a machine that is not busy"]
async fn simulator_gives_the_figures_of_the_gateway() {
    let local = Pair { name: "a", side: "local", speed: 200.0, places: 8, queue: 99, max: 8 };
    let remote = Pair { name: "b", side: "remote", speed: 150.0, places: 99, queue: 99, max: 99 };
    compare("local-first", &[local, remote]).await;
    compare("round-robin", &[local, Pair { places: 12, max: 12, ..remote }]).await;
    // The engine refuses what the gateway would send.
    compare("local-first", &[Pair { queue: 1, max: 99, ..local }, remote]).await;
    compare("least-load", &[local, Pair { places: 6, queue: 0, max: 6, ..remote }]).await;
}
