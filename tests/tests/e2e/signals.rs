//! Signals during start, in bursts, and right after start.

use rustix::process::Signal;
use tests::{Engine, Gateway, Setup, eventually, one_model};

/// A starting gateway: its strategy never ends its first call.
fn waiting() -> Gateway {
    let routing = "routing_strategy: start-loop\nsandbox: {compile_timeout: 60, call_timeout: 60}";
    let setup = tests::setup!().models(one_model(&["http://127.0.0.1:1"])).routing(routing);
    setup.file("plugins/start-loop.wasm", tests::guest("start-loop")).spawn()
}

/// Waits until the process has a handler for the signal.
async fn catches(gateway: &Gateway, signal: Signal) {
    let status = format!("/proc/{}/status", gateway.pid().as_raw_nonzero());
    eventually("it catches signals", async || {
        let status = std::fs::read_to_string(&status).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).expect("a mask");
        (caught >> (signal.as_raw() - 1) & 1 == 1).then_some(())
    })
    .await;
}

fn nowhere() -> Setup {
    let setup = tests::setup!().models(one_model(&["http://127.0.0.1:1"]));
    setup.routing("shutdown: {accept: 0}")
}

#[tokio::test]
async fn hangups_while_it_starts_do_no_harm() {
    // Its strategy has to be compiled.
    let setup =
        tests::setup!().models(one_model(&["http://127.0.0.1:1"])).env("GATEWAY_CACHE", "off");
    let mut gateway = setup.routing("routing_strategy: fixed\n").spawn();
    catches(&gateway, Signal::HUP).await;
    (0..100).for_each(|_| gateway.signal(Signal::HUP));
    gateway.listens();
    gateway.loaded_since(0).await;
    assert!(gateway.is_running());
}

#[tokio::test]
async fn starting_gateway_ends_at_the_first_signal() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut gateway = waiting();
        catches(&gateway, signal).await;
        gateway.signal(signal);
        assert_eq!(gateway.ended().await.code(), Some(code));
    }
}

#[tokio::test]
async fn signal_right_after_start_ends_it_well() {
    for _ in 0..5 {
        let mut gateway = nowhere().start();
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn storm_of_hangups_is_a_few_reloads() {
    let engine = Engine::start("only");
    let mut gateway = tests::setup!().models(one_model(&[&engine.url()])).start();
    gateway.signal(Signal::HUP);
    gateway.loaded_since(0).await;
    let before = gateway.reloads("loaded").await;
    (0..1000).for_each(|_| gateway.signal(Signal::HUP));
    gateway.loaded_since(before).await;
    // This edit is loaded after everything that the storm caused.
    let models = one_model(&[&engine.url()]).replace("id: m", "id: n");
    gateway.replace("config/models.yaml", models);
    eventually("the change is taken up", async || {
        (gateway.chat("n").await.status == 200).then_some(())
    })
    .await;
    let loads = gateway.reloads("loaded").await - before;
    assert!((1..=50).contains(&loads), "{loads} loads");
    assert!(gateway.is_running());
}

#[tokio::test]
async fn unread_log_does_no_harm() {
    let engine = Engine::start("only");
    let mut gateway = tests::setup!().models(one_model(&[&engine.url()])).unlogged().start();
    for _ in 0..2 {
        let before = gateway.reloads("loaded").await;
        gateway.signal(Signal::HUP);
        gateway.loaded_since(before).await;
    }
    assert_eq!(gateway.chat("m").await.status, 200);
    assert!(gateway.is_running());
}
