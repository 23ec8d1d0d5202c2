//! Strategies on the request path: their answers decide, and their faults fail no request.

use tests::{CoreGuest, Engine, Gateway, Traffic, eventually, one_model, routed};

/// All to the local deployment, whatever `assign` says.
const LOCAL: &str =
    "(return (call $answer (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 0)))";
/// All to the remote one.
const REMOTE: &str =
    "(return (call $answer (local.get $locals) (f64.const 0) (local.get $remotes) (f64.const 1)))";
const LOOP: &str = "(loop $forever (br $forever))";

/// A local engine and a remote one.
struct Engines {
    local: Engine,
    remote: Engine,
}

impl Engines {
    fn start() -> Self {
        Self { local: Engine::start("local"), remote: Engine::start("remote") }
    }

    /// The gateway in front of them. The guest's published weights are those of `LOCAL`.
    fn gateway(&self, request: &str, more: &str) -> Gateway {
        let guest = CoreGuest { assign: LOCAL, request: Some(request), ..CoreGuest::default() };
        let (local, remote) = (self.local.url(), self.remote.url());
        // A long time-out, so that a busy machine does not look like a slow strategy; the default
        // for `LOOP`.
        let limit = if request == LOOP { "" } else { ", request_timeout: 30" };
        let sandbox = format!("sandbox: {{compile_timeout: 60, call_timeout: 5{limit}}}");
        let more = format!("guest\n{more}\n{sandbox}");
        tests::setup!()
            .models(one_model(&[&local, &remote]))
            .file("plugins/guest.wasm", guest.component())
            .routing(routed(&more, &[&local], &[&remote]))
            .start()
    }
}

/// How many calls of the strategy had this outcome.
async fn calls(gateway: &Gateway, outcome: &str) -> u64 {
    gateway.strategy_calls("guest", outcome).await
}

#[tokio::test]
async fn each_request_goes_where_the_strategy_says() {
    let engines = Engines::start();
    let gateway = engines.gateway(REMOTE, "");
    let tally = Traffic::of(&gateway, "m", 4, 200).await;
    assert_eq!((tally.share(&["remote"]), tally.failures.len()), (1.0, 0));
    let routing = gateway.routing().await;
    assert_eq!(routing["strategy"]["on_path"]["state"], "on");
    // The published weights are those of `assign`.
    let published: Vec<f64> = gateway.weights("m").await.into_values().collect();
    assert_eq!(published, [1.0, 0.0]);
    // 200 requests, and the calls of `assign`.
    assert!(calls(&gateway, "ok").await > 200);
}

/// Checks that five faults in a row take the strategy off the path. The published weights decide
/// all of these requests.
async fn goes_off(request: &str, cause: &str, says: &str) {
    let engines = Engines::start();
    let gateway = engines.gateway(request, "");
    let tally = Traffic::of(&gateway, "m", 1, 50).await;
    assert_eq!((tally.share(&["local"]), tally.failures.len()), (1.0, 0), "{cause}");
    assert_eq!(calls(&gateway, cause).await, 5);
    let asked = calls(&gateway, "busy").await + calls(&gateway, "off").await;
    assert_eq!(asked, 45, "{cause}");
    let routing = gateway.routing().await;
    let status = &routing["strategy"]["on_path"];
    assert_eq!(status["state"], "off");
    let error = status["last_error"].as_str().expect("the fault");
    assert!(error.contains(says), "{error}");
    eventually("the log says it", async || {
        gateway.log().contains("off the request path for its faults").then_some(())
    })
    .await;
}

#[tokio::test]
async fn consecutive_faults_take_it_off_the_path() {
    goes_off("unreachable", "trap", "trapped: wasm `unreachable`").await;
    goes_off(LOOP, "timeout", "still running after 5ms").await;
    let nan =
        "(return (call $answer (local.get $locals) (f64.const nan) (i32.const 0) (f64.const 0)))";
    goes_off(nan, "refused", "refused: local weight 0 is NaN").await;
    let zero = "(return (call $answer (local.get $locals) (f64.const 0) (local.get $remotes) (f64.const 0)))";
    goes_off(zero, "refused", "refused: the weights sum to 0").await;
}

#[tokio::test]
async fn occasional_fault_costs_only_its_own_answer() {
    // An instance traps at its 20th request, and a fresh one begins to count anew.
    let twentieth = "(i32.store (i32.const 700) (i32.add (i32.load (i32.const 700)) (i32.const 1)))
        (if (i32.eq (i32.load (i32.const 700)) (i32.const 20)) (then unreachable))";
    let engines = Engines::start();
    let gateway = engines.gateway(&format!("{twentieth}{REMOTE}"), "");
    let tally = Traffic::of(&gateway, "m", 1, 300).await;
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    assert!(calls(&gateway, "trap").await > 5);
    assert!(tally.share(&["remote"]) > 0.5, "{:?}", tally.answered);
    assert_eq!(gateway.routing().await["strategy"]["on_path"]["state"], "on");
}

#[tokio::test]
async fn slow_strategy_delays_no_request_beyond_its_deadline() {
    let engines = Engines::start();
    let gateway = engines.gateway(LOOP, "");
    let tally = Traffic::of(&gateway, "m", 8, 400).await;
    assert_eq!((tally.total(), tally.failures.len()), (400, 0));
    // Five in a row take it off the path; up to eight more were under way. No other request waited.
    assert!(calls(&gateway, "timeout").await <= 5 + 8);
}

#[tokio::test]
async fn ejected_deployment_is_not_offered() {
    let engines = Engines::start();
    // The answer fits only if the ejected deployment is not in the list.
    let request = format!("(if (i32.eqz (local.get $remotes)) (then {LOCAL})) {REMOTE}");
    let gateway = engines.gateway(&request, "ejection: {consecutive: 1, base: 60}");
    engines.remote.set(serde_json::json!({"failure_rate": 1.0})).await;
    let tally = Traffic::of(&gateway, "m", 2, 40).await;
    assert_eq!((tally.share(&["local"]), tally.failures.len()), (1.0, 0));
    assert!(gateway.routing().await["strategy"]["on_path"]["last_error"].is_null());
}
