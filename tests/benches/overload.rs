//! The cost of an overload: a deployment with 8 places of 50 ms each is offered three times what it
//! can answer. Prints how fast the excess is refused, what becomes of the good answers, and the
//! gateway's memory.
//!
//! `cargo bench -p tests --bench overload`

#![expect(clippy::print_stdout, reason = "what it measured is what it is for")]

use std::time::{Duration, Instant};

use tests::{Engine, EngineOptions, Gateway, one_model};
use tokio::task::JoinSet;

const PLACES: u32 = 8;
const TAKES: Duration = Duration::from_millis(50);
const TIME: Duration = Duration::from_secs(5);

/// What became of the requests of one run.
#[derive(Default)]
struct Outcome {
    /// Milliseconds of each answer of status 200.
    good: Vec<f64>,
    /// Milliseconds of each answer of status 503.
    refused: Vec<f64>,
    other: usize,
}

#[tokio::main]
async fn main() {
    let engine = Engine::with(EngineOptions {
        name: "engine".into(),
        latency: TAKES,
        ..EngineOptions::default()
    });
    let limits = format!("concurrency: {{max: {PLACES}, queue: {PLACES}}}");
    let models = one_model(&[&engine.url()]);
    let gateway = tests::setup!().models(models).routing(limits).start();
    let capacity = f64::from(PLACES) / TAKES.as_secs_f64();
    run(&gateway, capacity).await;
    println!("offered  good/s  p50 ms  p99 ms | refused/s  p50 ms  p99 ms | other  RSS MiB");
    for times in [0.5, 1.0, 3.0, 3.0, 3.0] {
        let mut outcome = run(&gateway, capacity * times).await;
        let seconds = TIME.as_secs_f64();
        println!(
            "{times:>6}x  {:>6.1}  {:>6.2}  {:>6.2} | {:>9.1}  {:>6.2}  {:>6.2} | {:>5}  {:>7.1}",
            outcome.good.len() as f64 / seconds,
            quantile(&mut outcome.good, 0.5),
            quantile(&mut outcome.good, 0.99),
            outcome.refused.len() as f64 / seconds,
            quantile(&mut outcome.refused, 0.5),
            quantile(&mut outcome.refused, 0.99),
            outcome.other,
            resident(&gateway),
        );
    }
}

/// Offers so many requests a second, whether they are answered or not.
async fn run(gateway: &Gateway, per_second: f64) -> Outcome {
    let (mut requests, mut outcome) = (JoinSet::new(), Outcome::default());
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < TIME {
        let due = (start.elapsed().as_secs_f64() * per_second) as u32;
        for _ in sent..due {
            let request = gateway.client().post(gateway.url("/v1/chat/completions"));
            let body = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
            requests.spawn(async move {
                let sent = Instant::now();
                let answer = request.body(body).send().await.ok()?;
                let status = answer.status().as_u16();
                answer.bytes().await.ok()?;
                Some((status, sent.elapsed().as_secs_f64() * 1e3))
            });
        }
        sent = due;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while let Some(answer) = requests.join_next().await {
        match answer.ok().flatten() {
            Some((200, took)) => outcome.good.push(took),
            Some((503, took)) => outcome.refused.push(took),
            _ => outcome.other += 1,
        }
    }
    outcome
}

fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN)
}

/// Memory of the gateway in MiB.
fn resident(gateway: &Gateway) -> f64 {
    let pid = gateway.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    kib / 1024.0
}
