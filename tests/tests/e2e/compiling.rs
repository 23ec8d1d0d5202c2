//! Strategies compile in a child process: it can be stopped, it limits itself, and the gateway stays as small as it was.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tests::{CoreGuest, Gateway, Setup, eventually, one_model, routed};

const ROUTING: &str = "config/routing.yaml";
const URL: &str = "http://127.0.0.1:1";
const FOUND: &str = "machine code from the cache";
const KEPT: &str = "machine code kept in the cache";

/// A `routing.yaml` with this strategy and these limits.
fn routing(strategy: &str, limits: &str) -> String {
    routed(&format!("{strategy}\nsandbox: {{call_timeout: 5, {limits}}}"), &[URL], &[])
}

/// More than any test needs.
const ENOUGH: &str = "compile_timeout: 600, compile_memory_mib: 8192";

/// A strategy with so many functions that are never called, of so many branches each. Many functions take time to
/// compile, and many branches in one function memory.
fn big(name: &str, functions: usize, branches: usize) -> Vec<u8> {
    let branch = |number| {
        format!(
            "(if (result i32) (local.tee 0) (then (i32.add (local.get 0) (i32.const {number}))) \
             (else (local.get 0)))"
        )
    };
    let branches: String = (0..branches).map(branch).collect();
    let imports = format!("(func (param i32) (result i32) (local.get 0) {branches})");
    let imports = imports.repeat(functions);
    CoreGuest { name, imports: &imports, ..CoreGuest::default() }.component()
}

fn gateway(component: &[u8]) -> Setup {
    let setup = tests::setup!().models(one_model(&[URL])).routing(routing("fixed", ENOUGH));
    setup.file("plugins/big.wasm", component)
}

/// The process that compiles for this gateway.
fn child(gateway: &Gateway) -> Option<Pid> {
    let parent = gateway.pid().as_raw_nonzero().to_string();
    let is_child = |id: &str| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // After the name, which may hold anything: the state, and the parent.
        let (_, rest) = stat.rsplit_once(") ")?;
        // Only one that has begun to limit itself ends with the gateway.
        let is_ready = || {
            let adjusted = fs::read_to_string(format!("/proc/{id}/oom_score_adj"));
            adjusted.is_ok_and(|adjusted| adjusted.trim() == "1000")
        };
        (rest.split(' ').nth(1) == Some(&*parent) && is_ready()).then_some(())
    };
    fs::read_dir("/proc").expect("Linux").find_map(|entry| {
        let id = entry.ok()?.file_name().into_string().ok()?;
        is_child(&id)?;
        Pid::from_raw(id.parse().ok()?)
    })
}

/// The child, stopped as it stands, so that it is never done.
async fn stopped_child(gateway: &Gateway) -> Pid {
    eventually("a child compiles", async || {
        let pid = child(gateway)?;
        kill_process(pid, Signal::STOP).ok()?;
        Some(pid)
    })
    .await
}

async fn is_gone(pid: Pid) {
    // A zombie could still be sent a signal.
    eventually("the child is gone", async || test_kill_process(pid).is_err().then_some(())).await;
}

/// Bytes in memory: `VmRSS` or, at its peak, `VmHWM`.
fn memory(gateway: &Gateway, which: &str) -> u64 {
    let status = format!("/proc/{}/status", gateway.pid().as_raw_nonzero());
    let status = fs::read_to_string(status).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("a field");
    let kib: u64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number");
    kib << 10
}

#[tokio::test]
async fn a_good_edit_overtakes_one_that_compiles() {
    let gateway = gateway(&big("big", 300, 150)).start();
    gateway.write(ROUTING, routing("big", ENOUGH));
    let pid = stopped_child(&gateway).await;
    gateway.write(ROUTING, routing("local-first", ENOUGH));
    gateway.loaded_since(0).await;
    assert_eq!(gateway.routing().await["strategy"]["name"], "local-first");
    assert_eq!((gateway.reloads("refused").await, gateway.refusal().await), (0, String::new()));
    is_gone(pid).await;
}

#[tokio::test]
async fn an_edit_of_what_compiles_replaces_it() {
    let gateway = gateway(&big("big", 300, 150)).start();
    gateway.write(ROUTING, routing("big", ENOUGH));
    let pid = stopped_child(&gateway).await;
    gateway
        .write("plugins/big.wasm", CoreGuest { name: "small", ..CoreGuest::default() }.component());
    gateway.loaded_since(0).await;
    assert_eq!(gateway.routing().await["strategy"]["name"], "small");
    is_gone(pid).await;
}

#[tokio::test]
async fn a_gateway_that_is_killed_leaves_no_child() {
    let gateway = gateway(&big("big", 300, 150)).start();
    gateway.write(ROUTING, routing("big", ENOUGH));
    let pid = stopped_child(&gateway).await;
    drop(gateway);
    is_gone(pid).await;
}

#[tokio::test]
async fn what_was_refused_for_want_is_tried_again() {
    let gateway = gateway(&big("big", 300, 150)).start();
    gateway.write(ROUTING, routing("big", ENOUGH));
    let pid = stopped_child(&gateway).await;
    kill_process(pid, Signal::KILL).expect("a child");
    let refusal = refused(&gateway).await;
    for says in ["routing.yaml:1:", "no compiler for the strategy plugins/big.wasm: it was killed"]
    {
        assert!(refusal.contains(says), "no {says:?} in {refusal}");
    }
    // Nobody edits anything.
    eventually_within(Duration::from_secs(120), async || {
        (gateway.reloads("loaded").await > 0).then_some(())
    })
    .await;
    assert_eq!(gateway.routing().await["strategy"]["name"], "big");
    assert_eq!((gateway.reloads("refused").await, gateway.refusal().await), (1, String::new()));
}

async fn refused(gateway: &Gateway) -> String {
    let refusal = async || Some(gateway.refusal().await).filter(|refusal| !refusal.is_empty());
    eventually("a refusal", refusal).await
}

#[tokio::test]
async fn limits_of_time_and_memory_are_told_apart() {
    let cases = [
        (
            big("big", 1_500, 150),
            "compile_timeout: 1",
            "is not compiled after 1s of CPU time (`sandbox.compile_timeout`)",
        ),
        (
            big("big", 1, 20_000),
            "compile_timeout: 600, compile_memory_mib: 64",
            "takes more than 64 MiB of memory to compile (`sandbox.compile_memory_mib`)",
        ),
    ];
    for (component, limits, says) in cases {
        let setup = gateway(&component).routing(routing("big", limits));
        let output = setup.arg("check").output_within(Duration::from_secs(120));
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{error}");
        for says in ["routing.yaml:1:19", "plugins/big.wasm", says, "raise the limit"] {
            assert!(error.contains(says), "no {says:?} in {error}");
        }
    }
}

#[tokio::test]
async fn a_big_component_leaves_the_gateway_small() {
    let gateway = gateway(&big("big", 1_000, 150)).start();
    let before = memory(&gateway, "VmRSS");
    gateway.write(ROUTING, routing("big", ENOUGH));
    let loaded = async || (gateway.reloads("loaded").await > 0).then_some(());
    eventually_within(Duration::from_secs(120), loaded).await;
    let grown = [memory(&gateway, "VmRSS"), memory(&gateway, "VmHWM")]
        .map(|bytes| bytes.saturating_sub(before));
    // What it compiled to, once in use, and once more on its way there.
    assert!(grown[0] < 24 << 20 && grown[1] < 48 << 20, "grown by {grown:?} bytes");
}

async fn eventually_within(limit: Duration, found: impl AsyncFn() -> Option<()>) {
    let waited = tokio::time::timeout(limit, async {
        while found().await.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.expect("in time");
}

#[tokio::test]
async fn a_hundred_strategies_compile_once() {
    const COUNT: usize = 100;
    let cache = tempfile::tempdir().expect("a folder");
    let name = |n: usize| format!("s{n}");
    let models: String =
        (0..COUNT).map(|n| format!("  - {{id: m{n}, base_url: '{URL}'}}\n")).collect();
    let own: String =
        (0..COUNT).map(|n| format!("  m{n}: {{routing_strategy: {}}}\n", name(n))).collect();
    let routing = format!("strategies:\n{own}sandbox: {{{ENOUGH}, call_timeout: 5}}\n");
    let start = || {
        let setup = tests::setup!().models(format!("models:\n{models}")).routing(&routing);
        let setup = (0..COUNT).fold(setup, |setup, n| {
            let component = CoreGuest { name: &name(n), ..CoreGuest::default() }.component();
            setup.file(&format!("plugins/{}.wasm", name(n)), component)
        });
        let setup = setup.arg("--cache").arg(cache.path()).env("RUST_LOG", "gateway=debug");
        setup.start_within(Duration::from_secs(300))
    };
    let count = |gateway: &Gateway, line: &str| gateway.log().matches(line).count();
    let first = start();
    assert!(count(&first, KEPT) >= COUNT, "{}", count(&first, KEPT));
    drop(first);
    let second = start();
    assert!(count(&second, FOUND) >= COUNT && count(&second, KEPT) == 0);
    let found = count(&second, FOUND);
    second.write(ROUTING, routing.clone() + "timeout: 7\n");
    let loaded = async || (second.reloads("loaded").await > 0).then_some(());
    eventually_within(Duration::from_secs(120), loaded).await;
    assert_eq!((count(&second, FOUND), count(&second, KEPT)), (found, 0));
}
