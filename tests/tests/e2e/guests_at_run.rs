//! Strategies that fail after they were loaded: the last good weights stay, the fault is named and
//! counted, and no request fails.

use serde_json::json;
use tests::{
    Engine, Gateway, Traffic, component, eventually, guest, guest_text, one_model, routed,
};

/// How long a strategy may take in these tests.
const CALL: &str = "0.3";
/// Asks for a refresh every 100 ms.
const REFRESH: &str = r#"(data (i32.const 48) "\01\00\00\00\64\00\00\00")"#;

/// A component that answers its first call well, and then does `fault`.
fn later(fault: &str, refresh: &str) -> Vec<u8> {
    component(&guest_text("later").replace("{fault}", fault).replace("{refresh}", refresh))
}

/// An answer with `more` local weights than asked for.
fn answer(more: u32, local: &str, remote: &str) -> String {
    format!(
        "(return (call $answer (i32.add (local.get $locals) (i32.const {more})) (f64.const {local}) \
         (local.get $remotes) (f64.const {remote})))"
    )
}

/// Two local engines and a remote one.
struct Engines([Engine; 3]);

impl Engines {
    fn start() -> Self {
        Self(["local-1", "local-2", "remote-1"].map(Engine::start))
    }

    /// The gateway in front of them, with this strategy.
    fn gateway(&self, strategy: &[u8]) -> Gateway {
        let urls = self.0.each_ref().map(Engine::url);
        let [a, b, c] = urls.each_ref().map(String::as_str);
        // Without ejection only probes change states, so the strategy is asked only after a probe.
        let strategy_and_more = format!(
            "later\ntimeout: 5\nhealth_check: 0.05\nhealth: {{down_after: 1}}\n\
             ejection: {{consecutive: 0, percent: 0}}\nslow_start: {{duration: 0}}\n\
             sandbox: {{compile_timeout: 60, call_timeout: {CALL}, cpu_share: 1}}"
        );
        let setup =
            tests::setup!().models(one_model(&[a, b, c])).file("plugins/later.wasm", strategy);
        setup.routing(routed(&strategy_and_more, &[a, b], &[c])).start()
    }

    async fn break_one(&self) {
        self.0[1].set(json!({"healthy": false})).await;
    }

    async fn mend_it(&self) {
        self.0[1].set(json!({"healthy": true})).await;
    }
}

async fn weights(gateway: &Gateway, expected: [f64; 3]) {
    eventually(&format!("weights {expected:?}"), async || {
        let weights: Vec<f64> = gateway.weights("m").await.into_values().collect();
        let near = |(a, b): (&f64, f64)| (a - b).abs() < 1e-9;
        weights.iter().zip(expected).all(near).then_some(())
    })
    .await;
}

/// How many calls of the strategy had this outcome.
async fn calls(gateway: &Gateway, outcome: &str) -> u64 {
    gateway.strategy_calls("later", outcome).await
}

const ALL_UP: [f64; 3] = [3.0 / 7.0, 3.0 / 7.0, 1.0 / 7.0];
/// The last good weights, renormalised. An even split would be 0.5 each.
const ONE_DOWN: [f64; 3] = [0.75, 0.0, 0.25];

/// Makes an engine unhealthy, so that the strategy is asked and commits `fault`, then mends the
/// engine. All under load.
async fn keeps_the_last_good_weights(fault: &str, cause: &str, says: &str) {
    let engines = Engines::start();
    let gateway = engines.gateway(&later(fault, ""));
    weights(&gateway, ALL_UP).await;
    assert!(gateway.routing().await["strategy"]["last_error"].is_null());
    let traffic = Traffic::start(&gateway, "m", 2);
    engines.break_one().await;
    weights(&gateway, ONE_DOWN).await;
    let error = gateway.routing().await["strategy"]["last_error"].clone();
    let error = error.as_str().expect("the fault");
    assert!(error.starts_with("m: ") && error.contains(says), "{fault}: {error}");
    eventually("the log says it", async || {
        gateway.log().contains("the last good weights stay").then_some(())
    })
    .await;
    // The good call is the trial at load. A fresh instance may have answered as well, because
    // requests fail at the broken engine.
    for outcome in ["ok", "trap", "timeout", "refused"] {
        let counted = calls(&gateway, outcome).await;
        assert_eq!(counted > 0, outcome == cause || outcome == "ok", "{fault}: {outcome}");
    }
    engines.mend_it().await;
    weights(&gateway, ALL_UP).await;
    // A trap or time-out replaces the instance, and the first answer of a fresh one is good. After
    // a refused answer the instance stays, and its next answer is refused as well.
    let (ok, refused) = (calls(&gateway, "ok").await, calls(&gateway, "refused").await);
    let recovered =
        if cause == "refused" { ok == 1 && refused >= 2 } else { ok >= 2 && refused == 0 };
    assert!(recovered, "{fault}: {ok} good answers, {refused} refused");
    traffic.unharmed().await;
}

#[tokio::test]
async fn trap_is_reported_and_the_instance_replaced() {
    let grab = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let huge = "(i32.store (i32.const 80) (i32.const 0)) (i32.store (i32.const 84) (i32.const 0x10000000)) (return (i32.const 80))";
    let recursion = "(drop (call $recurse (i32.const 0)))";
    for (fault, says) in [
        ("unreachable", "trapped: wasm `unreachable` instruction executed"),
        (grab, "trapped: wasm `unreachable` instruction executed"),
        (recursion, "trapped: call stack exhausted"),
        (huge, "trapped: "),
    ] {
        keeps_the_last_good_weights(fault, "trap", says).await;
    }
}

#[tokio::test]
async fn timeout_is_reported_and_the_instance_replaced() {
    let fault = "(loop $forever (br $forever))";
    keeps_the_last_good_weights(fault, "timeout", "still running after 300ms").await;
}

#[tokio::test]
async fn refused_answer_is_reported() {
    for (fault, says) in [
        (answer(1, "1", "1"), "refused: 2 local weights for 1 local deployments"),
        (answer(0, "nan", "1"), "refused: local weight 0 is NaN"),
        (answer(0, "1", "inf"), "refused: remote weight 0 is inf"),
        (answer(0, "-3", "7"), "refused: local weight 0 is -3"),
        (answer(0, "0", "0"), "refused: the weights sum to 0"),
    ] {
        keeps_the_last_good_weights(&fault, "refused", says).await;
    }
}

#[tokio::test]
async fn strategy_hanging_every_other_refresh_harms_nobody() {
    let engines = Engines::start();
    let gateway = engines.gateway(&later("(loop $forever (br $forever))", REFRESH));
    let traffic = Traffic::start(&gateway, "m", 2);
    eventually("it hung and recovered three times", async || {
        (calls(&gateway, "timeout").await >= 3 && calls(&gateway, "ok").await >= 3).then_some(())
    })
    .await;
    weights(&gateway, ALL_UP).await;
    traffic.unharmed().await;
}

#[tokio::test]
async fn log_flood_is_cut() {
    let engines = Engines::start();
    let gateway = engines.gateway(&guest("log-flood"));
    let dropped = "further messages of this minute are dropped";
    let log = eventually("the trial call is logged", async || {
        let log = gateway.log();
        log.contains(dropped).then_some(log)
    })
    .await;
    // 127 messages of 1,024 bytes and the mark of the cut are the bytes of a minute.
    let of_guest = log.lines().filter(|line| line.contains("\"target\":\"strategy\"")).count();
    assert_eq!(of_guest, 127 * log.matches(dropped).count());
    assert!(log.lines().all(|line| line.len() < 1_024 * 2), "a message that was not cut");
    assert_eq!(gateway.chat("m").await.status, 200);
}
