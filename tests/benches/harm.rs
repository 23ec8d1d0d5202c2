//! What hostile strategies cost the requests of another model: its p99 before, during and after each
//! attack, with the share of CPU time that is the default and without a limit.
//!
//! `bench/harm` runs it. Nothing else should run meanwhile.

#![expect(clippy::print_stdout, reason = "what it measured is what it is for")]

use std::time::{Duration, Instant};

use tests::{CoreGuest, Engine, Gateway, Steady, routed};

/// Requests a second to the model of the hostile strategy, and to the other one.
const RATES: [u32; 2] = [500, 200];
/// Time of one measurement.
const TIME: Duration = Duration::from_secs(5);
/// Time in which a strategy is found out.
const FOUND: Duration = Duration::from_secs(3);

const WASI: (&str, &str) = (
    "package wasi:clocks@0.2.6 { interface monotonic-clock { now: func() -> u64; } }",
    "import wasi:clocks/monotonic-clock@0.2.6;",
);
/// `(call $spin MICROSECONDS)` computes for this time.
const SPIN: &str = r#"
    (import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (result i64)))
    (func $spin (param $micros i64) (local $end i64)
        (local.set $end (i64.add (call $now) (i64.mul (local.get $micros) (i64.const 1000))))
        (loop $on (br_if $on (i64.lt_u (call $now) (local.get $end)))))"#;
const LOG: &str =
    r#"(import "hybrid:routing/logging@0.2.0" "log" (func $log (param i32 i32 i32)))"#;
const FLOOD: &str = "(loop $next (call $log (i32.const 1) (i32.const 20480) (i32.const 1024))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 100))))";
const FOURTH: &str =
    "(i32.store (i32.const 700) (i32.add (i32.load (i32.const 700)) (i32.const 1)))
    (if (i32.eq (i32.load (i32.const 700)) (i32.const 4)) (then unreachable))";

/// Time-outs that a busy machine does not meet.
const PATIENT: &str = "call_timeout: 1, request_timeout: 1";

/// The attacks: what they are, settings of the sandbox, and the guest.
fn attacks() -> [(&'static str, &'static str, CoreGuest<'static>); 5] {
    let spin = CoreGuest { imports: SPIN, more: WASI, ..CoreGuest::default() };
    // The trial at load is no harm: an instance spins from its second `assign` on.
    let second = "(i32.store (i32.const 700) (i32.add (i32.load (i32.const 700)) (i32.const 1)))
        (if (i32.ge_u (i32.load (i32.const 700)) (i32.const 2)) (then (call $spin (i64.const 95000))))";
    [
        (
            "a call of 4.8 ms on the path",
            PATIENT,
            CoreGuest { request: Some("(call $spin (i64.const 4800))"), ..spin },
        ),
        (
            "an `assign` of 95 ms each 100 ms",
            PATIENT,
            CoreGuest { assign: second, refresh: Some(100), ..spin },
        ),
        (
            "an `outcome` that loops",
            "request_timeout: 1",
            CoreGuest { outcome: Some("(loop $on (br $on))"), ..CoreGuest::default() },
        ),
        (
            "a trap in each fourth call",
            PATIENT,
            CoreGuest { request: Some(FOURTH), ..CoreGuest::default() },
        ),
        (
            "100 log messages in each call",
            PATIENT,
            CoreGuest { imports: LOG, request: Some(FLOOD), ..CoreGuest::default() },
        ),
    ]
}

#[tokio::main]
async fn main() {
    println!(
        "{:<34} {:>5} | {:>9} {:>7} {:>7} | {:>7} {:>8}",
        "attack", "share", "before ms", "during", "after", "log KiB", "rests for"
    );
    for (what, sandbox, guest) in attacks() {
        for share in ["0.1", "1"] {
            run(what, &format!("{sandbox}, cpu_share: {share}"), share, &guest).await;
        }
    }
}

async fn run(what: &str, sandbox: &str, share: &str, guest: &CoreGuest<'_>) {
    let engines = ["local", "remote"].map(Engine::start);
    let [local, remote] = engines.each_ref().map(Engine::url);
    let route = format!("    route: [{{base_url: '{local}'}}, {{base_url: '{remote}'}}]\n");
    let routing = |strategy: &str| {
        let more = format!(
            "fixed\nstrategies: {{m: {{routing_strategy: {strategy}}}}}\n\
             sandbox: {{compile_timeout: 60, {sandbox}}}"
        );
        routed(&more, &[&local], &[&remote]).replace("[m]", "[m, n]")
    };
    let gateway = tests::setup!()
        .models(format!("models:\n  - id: m\n{route}  - id: n\n{route}"))
        .file("plugins/guest.wasm", guest.component())
        .routing(routing("local-first"))
        .start();
    let (client, url) = (gateway.client().clone(), gateway.url("/v1/chat/completions"));
    let traffic = Steady::start(RATES[0], move |_| ask(client.clone(), url.clone(), "m"));
    traffic.more(u64::from(RATES[0])).await;
    let before = p99(&gateway, TIME).await;
    let reloads = gateway.reloads("loaded").await;
    gateway.replace("config/routing.yaml", routing("guest"));
    gateway.loaded_since(reloads).await;
    let during = p99(&gateway, FOUND).await;
    let after = p99(&gateway, TIME).await;
    traffic.stop().await;
    let strategy = gateway.routing().await["strategies"]["m"].clone();
    let rests = [&strategy["rests_for"], &strategy["on_path"]["rests_for"]];
    println!(
        "{what:<34} {share:>5} | {before:>9.2} {:>6.1}x {:>6.1}x | {:>7} {:>8}",
        during / before,
        after / before,
        gateway.log().len() >> 10,
        rests.into_iter().find_map(|cause| cause.as_str()).unwrap_or("in use"),
    );
}

/// The p99 of requests to the other model, in milliseconds.
async fn p99(gateway: &Gateway, time: Duration) -> f64 {
    let (client, url) = (gateway.client().clone(), gateway.url("/v1/chat/completions"));
    let steady = Steady::start(RATES[1], move |_| ask(client.clone(), url.clone(), "n"));
    tokio::time::sleep(time).await;
    let mut times: Vec<f64> = steady.stop().await.into_iter().flatten().collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}

/// The time of an answer in milliseconds. None: it was no good answer.
async fn ask(client: reqwest::Client, url: String, model: &'static str) -> Option<f64> {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]}}"#);
    let sent = Instant::now();
    let answer = client.post(url).body(body).send().await.ok()?;
    let is_good = answer.status() == 200;
    answer.bytes().await.ok()?;
    is_good.then(|| sent.elapsed().as_secs_f64() * 1e3)
}
