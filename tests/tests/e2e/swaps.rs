//! Swapping strategies under load fails no request and leaks no memory.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{CoreGuest, Engine, Gateway, Traffic, one_model, routed};

const ROUTING: &str = "config/routing.yaml";
const LOCAL: &str =
    "(return (call $answer (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 0)))";
const REMOTE: &str =
    "(return (call $answer (local.get $locals) (f64.const 0) (local.get $remotes) (f64.const 1)))";

/// glibc's heaps and caches for each thread fill up over thousands of swaps, which would hide a
/// leak. One heap and no caches show the memory in use.
const TUNABLES: &str = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1";

/// Sends all requests to one side, on and off the path.
fn strategy(name: &'static str, answer: &str) -> Vec<u8> {
    CoreGuest { name, assign: answer, request: Some(answer), ..CoreGuest::default() }.component()
}

/// Memory after a swap, in KiB.
struct Memory {
    resident: u64,
    /// Of that, anonymous pages.
    own: u64,
}

/// Swaps strategies while two clients send requests. Gives the memory in use after each tenth swap.
async fn swap(swaps: u64) -> Vec<Memory> {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let (l, r) = (local.url(), remote.url());
    let routing = |name: &str| {
        let sandbox = "sandbox: {compile_timeout: 60, call_timeout: 5}";
        routed(&format!("{name}\n{sandbox}"), &[&l], &[&r])
    };
    let gateway = tests::setup!()
        .env("GLIBC_TUNABLES", TUNABLES)
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
        if swap % 10 == 0 {
            let (resident, own) = (gateway.resident() >> 10, gateway.memory() >> 10);
            memory.push(Memory { resident, own });
        }
    }
    let rate = swaps as f64 / start.elapsed().as_secs_f64();
    assert_eq!(gateway.reloads("refused").await, 0);
    let answered = traffic.unharmed().await;
    eprintln!("{swaps} swaps, {rate:.0} a second, {answered} requests");
    memory
}

/// Waits for a reload, polling often: there are thousands.
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

#[tokio::test]
#[ignore = "takes minutes; for a release build"]
async fn ten_thousand_swaps_leave_nothing_behind() {
    let memory = swap(10_000).await;
    // Single values vary with what the allocator keeps, so means of a thousand swaps are compared.
    let means = |of: fn(&Memory) -> u64| -> Vec<f64> {
        let mean = |part: &[Memory]| part.iter().map(of).sum::<u64>() as f64 / part.len() as f64;
        memory.chunks(100).map(mean).collect()
    };
    let (resident, own) = (means(|memory| memory.resident), means(|memory| memory.own));
    eprintln!("KiB, the mean of each thousand: {resident:.0?}, of its own {own:.0?}");
    assert!(resident[9] <= resident[0] * 1.02, "{resident:?}");
    assert!(own[9] <= own[0] * 1.02, "{own:?}");
}
