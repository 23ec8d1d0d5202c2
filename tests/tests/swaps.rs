//! Strategies are swapped under load, again and again: no request fails, and nothing is left behind.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{CoreGuest, Engine, Gateway, Traffic, one_model, routed};

const ROUTING: &str = "config/routing.yaml";
const LOCAL: &str =
    "(return (call $answer (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 0)))";
const REMOTE: &str =
    "(return (call $answer (local.get $locals) (f64.const 0) (local.get $remotes) (f64.const 1)))";

/// A strategy that touches a mebibyte of its memory, on and off the path.
fn strategy(name: &'static str, answer: &str) -> Vec<u8> {
    let touch = "(memory.fill (i32.const 16384) (i32.const 1) (i32.const 1000000))";
    let body = format!("{touch} {answer}");
    CoreGuest { name, assign: &body, request: Some(&body), ..CoreGuest::default() }.component()
}

/// Swaps as often as asked while two clients ask, and gives the memory in use after each tenth of that.
async fn swap(swaps: u64) -> (Vec<u64>, f64) {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let (l, r) = (local.url(), remote.url());
    let routing = |name: &str| {
        // The clients are as busy as they can be: what is late for want of a core is no fault.
        let sandbox = "sandbox: {compile_timeout: 60, call_timeout: 5, request_timeout: 1}";
        routed(&format!("{name}\n{sandbox}"), &[&l], &[&r])
    };
    let gateway = tests::setup!()
        .models(one_model(&[&l, &r]))
        .file("plugins/one.wasm", strategy("one", LOCAL))
        .file("plugins/two.wasm", strategy("two", REMOTE))
        .routing(routing("one"))
        .start();
    let traffic = Traffic::start(&gateway, "m", 2);
    let (start, mut memory) = (Instant::now(), Vec::new());
    for swap in 1..=swaps {
        let before = gateway.reloads("loaded").await;
        gateway.replace(ROUTING, routing(if swap % 2 == 0 { "one" } else { "two" }));
        gateway.signal(Signal::HUP);
        loaded(&gateway, before).await;
        if swap % (swaps / 10) == 0 {
            memory.push(gateway.memory() >> 10);
        }
    }
    let rate = swaps as f64 / start.elapsed().as_secs_f64();
    assert_eq!(gateway.reloads("refused").await, 0);
    let answered = traffic.unharmed().await;
    eprintln!("{swaps} swaps, {rate:.0} a second, {answered} requests; KiB: {memory:?}");
    (memory, rate)
}

/// Waits for a reload, closely: there are thousands.
async fn loaded(gateway: &Gateway, before: u64) {
    let start = Instant::now();
    while gateway.reloads("loaded").await == before {
        assert!(start.elapsed() < tests::DEADLINE, "no reload");
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

#[tokio::test]
async fn a_hundred_swaps_under_load_cost_no_request() {
    swap(100).await;
}

/// First and last thousand within 2 percent.
#[tokio::test]
#[ignore = "takes minutes; for a release build"]
async fn ten_thousand_swaps_leave_nothing_behind() {
    let (memory, _) = swap(10_000).await;
    let (first, last) = (memory[0] as f64, memory[9] as f64);
    assert!(last <= first * 1.02, "{memory:?}");
}
