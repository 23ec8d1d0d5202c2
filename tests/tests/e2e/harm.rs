//! Strategies that do harm without a fault that ends them: each is taken out of use, by name, and
//! the requests of another model go on.

use serde_json::Value;
use tests::{CoreGuest, Engine, Gateway, Traffic, eventually, routed};

const LOCAL: &str =
    "(return (call $answer (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 0)))";
const REMOTE: &str =
    "(return (call $answer (local.get $locals) (f64.const 0) (local.get $remotes) (f64.const 1)))";
/// Computes for some tens of milliseconds, or a few hundred in a busy test run.
const LONG: &str = "(local.set $i (i32.const 40000000))
    (loop $on (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $on (local.get $i)))";
const LOOP: &str = "(loop $forever (br $forever))";
/// An instance traps in its fourth call.
const FOURTH: &str =
    "(i32.store (i32.const 700) (i32.add (i32.load (i32.const 700)) (i32.const 1)))
    (if (i32.eq (i32.load (i32.const 700)) (i32.const 4)) (then unreachable))";

/// Model `m` of the strategy under test, and model `n` of a strategy that is asked ten times a
/// second.
struct Place {
    gateway: Gateway,
    _engines: [Engine; 2],
}

impl Place {
    fn new(guest: &CoreGuest<'_>, sandbox: &str) -> Self {
        let engines = ["local", "remote"].map(Engine::start);
        let urls = engines.each_ref().map(Engine::url);
        let [local, remote] = urls.each_ref().map(String::as_str);
        let route = format!("    route: [{{base_url: '{local}'}}, {{base_url: '{remote}'}}]\n");
        let good = CoreGuest { name: "good", refresh: Some(100), ..CoreGuest::default() };
        let strategy = format!(
            "good\nstrategies: {{m: {{routing_strategy: guest}}}}\n\
             sandbox: {{compile_timeout: 60{sandbox}}}"
        );
        let routing = routed(&strategy, &[local], &[remote]).replace("[m]", "[m, n]");
        let gateway = tests::setup!()
            .models(format!("models:\n  - id: m\n{route}  - id: n\n{route}"))
            .file("plugins/guest.wasm", guest.component())
            .file("plugins/good.wasm", good.component())
            .routing(routing)
            .start();
        Self { gateway, _engines: engines }
    }

    /// Waits until the strategy is out of use. Gives what `/routing` says of it, on the path or off
    /// it, while both models have traffic that must not fail. The other strategy goes on.
    async fn rests(&self, on_path: bool) -> Value {
        let gateway = &self.gateway;
        let [hostile, other] =
            [("m", 8), ("n", 1)].map(|(model, n)| Traffic::start(gateway, model, n));
        let status = eventually("it is out of use", async || {
            let routing = gateway.routing().await;
            let strategy = &routing["strategies"]["m"];
            let status = if on_path { &strategy["on_path"] } else { strategy };
            (status["state"] == "off").then(|| status.clone())
        })
        .await;
        let gauge = if on_path { "gateway_strategy_off_path" } else { "gateway_strategy_rests" };
        for (strategy, value) in [("guest", 1.0), ("good", 0.0)] {
            let found = gateway.metric(gauge, &[("strategy", strategy)]).await;
            assert!(
                found == Some(value) || (on_path && strategy == "good"),
                "{strategy}: {found:?}"
            );
        }
        let asked = gateway.strategy_calls("good", "ok").await;
        eventually("the other strategy is asked", async || {
            (gateway.strategy_calls("good", "ok").await >= asked + 3).then_some(())
        })
        .await;
        other.more(20).await;
        hostile.unharmed().await;
        other.unharmed().await;
        assert!(gateway.routing().await["strategy"]["last_error"].is_null());
        status
    }

    async fn log_says(&self, text: &str) {
        let says = async || self.gateway.log().contains(text).then_some(());
        eventually(&format!("the log says: {text}"), says).await;
    }
}

#[tokio::test]
async fn costly_calls_on_the_path_are_rested() {
    let request = format!("{LONG}{REMOTE}");
    let guest = CoreGuest { assign: LOCAL, request: Some(&request), ..CoreGuest::default() };
    let place = Place::new(&guest, ", call_timeout: 60, request_timeout: 60");
    let status = place.rests(true).await;
    assert_eq!(status["rests_for"], "cpu");
    let error = status["last_error"].as_str().expect("a reason");
    assert!(error.starts_with("beyond its share of CPU time, "), "{error}");
    assert!(place.gateway.strategy_calls("guest", "cpu").await >= 1);
    assert_eq!(place.gateway.strategy_calls("guest", "timeout").await, 0);
    place.log_says("off the request path for its CPU time").await;
    // The published weights decide now.
    let tally = Traffic::of(&place.gateway, "m", 1, 20).await;
    assert_eq!(tally.share(&["local"]), 1.0);
}

#[tokio::test]
async fn costly_calls_off_the_path_are_rested() {
    let assign = format!("{LONG}{LOCAL}");
    let guest = CoreGuest { assign: &assign, refresh: Some(100), ..CoreGuest::default() };
    let place = Place::new(&guest, ", call_timeout: 60, cpu_share: 0.01");
    let status = place.rests(false).await;
    assert_eq!(status["rests_for"], "cpu");
    let error = status["last_error"].as_str().expect("a reason");
    assert_eq!(error, "m: beyond its share of CPU time, 10ms a second (`sandbox.cpu_share`)");
    assert!(place.gateway.strategy_calls("guest", "cpu").await >= 1);
    place.log_says(r#""cause":"cpu""#).await;
    let weights: Vec<f64> = place.gateway.weights("m").await.into_values().collect();
    assert_eq!(weights, [1.0, 0.0], "its last good weights");
}

#[tokio::test]
async fn looping_outcome_is_counted_and_rested() {
    let guest = CoreGuest { assign: LOCAL, outcome: Some(LOOP), ..CoreGuest::default() };
    let place = Place::new(&guest, "");
    let status = place.rests(false).await;
    let error = status["last_error"].as_str().expect("a fault");
    assert_eq!(error, "outcome: still running after 100ms");
    let timeouts = place.gateway.strategy_calls("guest", "timeout").await;
    // Good answers of `assign` between them make up for a part.
    assert!((1..=7).contains(&timeouts), "{timeouts}");
    place.log_says("the strategy failed on the outcomes of attempts").await;
    place.log_says("the strategy is not asked for a time").await;
}

#[tokio::test]
async fn trap_in_outcome_is_counted_and_rested() {
    let outcome = Some("unreachable");
    let guest = CoreGuest { assign: LOCAL, outcome, refresh: Some(100), ..CoreGuest::default() };
    let place = Place::new(&guest, "");
    let status = place.rests(false).await;
    assert_eq!(status["rests_for"], "faults");
    let error = status["last_error"].as_str().expect("a fault");
    assert!(error.starts_with("outcome: trapped: "), "{error}");
    assert!(place.gateway.strategy_calls("guest", "trap").await >= 5);
}

#[tokio::test]
async fn trap_in_each_fourth_call_is_rested() {
    let request = format!("{FOURTH}{REMOTE}");
    let guest = CoreGuest { assign: LOCAL, request: Some(&request), ..CoreGuest::default() };
    let status = Place::new(&guest, ", request_timeout: 60").rests(true).await;
    assert_eq!(status["rests_for"], "faults");
    assert!(status["last_error"].as_str().is_some_and(|error| error.starts_with("trapped: ")));
    let assign = format!("{FOURTH}{LOCAL}");
    let guest = CoreGuest { assign: &assign, refresh: Some(100), ..CoreGuest::default() };
    let status = Place::new(&guest, ", call_timeout: 60").rests(false).await;
    assert_eq!(status["rests_for"], "faults");
    assert!(status["last_error"].as_str().is_some_and(|error| error.starts_with("m: trapped: ")));
}

#[tokio::test]
async fn log_flood_is_bounded_by_the_minute() {
    let flood = format!(
        "(loop $next (call $log (i32.const 1) (i32.const 20480) (i32.const 1024))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 300)))) {REMOTE}"
    );
    let imports =
        r#"(import "hybrid:routing/logging@0.2.0" "log" (func $log (param i32 i32 i32)))"#;
    let guest = CoreGuest { imports, request: Some(&flood), ..CoreGuest::default() };
    let place = Place::new(&guest, ", request_timeout: 60, cpu_share: 1");
    let start = std::time::Instant::now();
    let tally = Traffic::of(&place.gateway, "m", 4, 60).await;
    assert_eq!(tally.failures.len(), 0);
    place.log_says("the strategy's further messages of this minute are dropped").await;
    // 1,024 zero bytes are shown as 5 KiB, so 25 messages fill the 128 KiB of a minute.
    let minutes = start.elapsed().as_secs() / 60 + 1;
    let log = place.gateway.log();
    let lines = log.lines().filter(|line| line.contains(r#""target":"strategy""#)).count() as u64;
    assert!((20..=30 * minutes).contains(&lines), "{lines} lines in {minutes} minutes");
}

#[tokio::test]
async fn unchecked_keyword_of_a_schema_is_refused_with_its_place() {
    let engine = Engine::start("local");
    let parameters = r#"{"properties":{"tier":{"type":"string","pattern":"^a"}}}"#;
    let guest = CoreGuest { parameters, ..CoreGuest::default() };
    let more = "guest\nrouting_parameter: {tier: b}\nsandbox: {compile_timeout: 60}";
    let output = tests::setup!()
        .models(tests::one_model(&[&engine.url()]))
        .file("plugins/guest.wasm", guest.component())
        .routing(routed(more, &[&engine.url()], &[]))
        .arg("check")
        .output();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    let place = "has `pattern` at `#/properties/tier/pattern`, which the gateway does not check";
    assert!(said.contains(place) && said.contains("routing.yaml:"), "{said}");
}

#[tokio::test]
async fn inspect_tells_clocks_and_escapes_text() {
    let packages =
        "package wasi:clocks@0.2.6 { interface monotonic-clock { now: func() -> u64; } }";
    let wanted = "import wasi:clocks/monotonic-clock@0.2.6;";
    let imports = r#"(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (result i64)))"#;
    let guest = CoreGuest {
        summary: "safe\u{202e}live\u{200f}\u{61c}",
        imports,
        more: (packages, wanted),
        ..CoreGuest::default()
    };
    let setup = tests::setup!().file("guest.wasm", guest.component());
    let file = setup.folder().join("guest.wasm");
    let output = setup.arg("strategy").arg("inspect").arg(file).output();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(r"safe\u{202e}live\u{200f}\u{61c}"), "{said}");
    let clock = said.lines().find(|line| line.contains("wasi:clocks")).expect("the import");
    assert!(clock.contains("the time of this machine"), "{clock}");
}
