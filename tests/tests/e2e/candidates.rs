//! Strategies of single models, and candidate strategies: shadow and canary.

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{CoreGuest, Engine, Gateway, Traffic, eventually, one_model, routed};

/// All to the local deployment.
const LOCAL: &str =
    "(return (call $answer (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 0)))";
/// All to the remote one.
const REMOTE: &str =
    "(return (call $answer (local.get $locals) (f64.const 0) (local.get $remotes) (f64.const 1)))";
/// Long time-outs: a busy machine must not look like a slow strategy.
const SANDBOX: &str = "sandbox: {compile_timeout: 60, call_timeout: 5, request_timeout: 30}";

fn off_path(name: &'static str, assign: &str) -> Vec<u8> {
    CoreGuest { name, assign, ..CoreGuest::default() }.component()
}

fn on_path(name: &'static str, assign: &str, request: &str) -> Vec<u8> {
    CoreGuest { name, assign, request: Some(request), ..CoreGuest::default() }.component()
}

struct Engines {
    local: Engine,
    remote: Engine,
}

impl Engines {
    fn start() -> Self {
        Self { local: Engine::start("local"), remote: Engine::start("remote") }
    }

    fn routing(&self, strategy: &str, more: &str) -> String {
        let head = format!("{strategy}\n{more}\n{SANDBOX}");
        routed(&head, &[&self.local.url()], &[&self.remote.url()])
    }

    /// The strategy `live`, which sends everything to the local engine, and `candidate.wasm` beside
    /// it.
    fn gateway(&self, candidate: &[u8], trial: &str, more: &str) -> Gateway {
        let more = format!("candidate: {{routing_strategy: candidate, {trial}}}\n{more}");
        tests::setup!()
            .models(one_model(&[&self.local.url(), &self.remote.url()]))
            .file("plugins/live.wasm", off_path("live", LOCAL))
            .file("plugins/candidate.wasm", candidate)
            .routing(self.routing("live", &more))
            .start()
    }
}

async fn candidate(gateway: &Gateway) -> Value {
    gateway.routing().await["strategy"]["candidate"].clone()
}

async fn metric(gateway: &Gateway, series: &str) -> f64 {
    let metrics = gateway.get("/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0.0, |value| value.trim().parse().expect("a number"))
}

#[tokio::test]
async fn shadow_answers_are_only_compared() {
    let engines = Engines::start();
    for guest in [off_path("candidate", REMOTE), on_path("candidate", LOCAL, REMOTE)] {
        let gateway = engines.gateway(&guest, "shadow: true", "");
        let tally = Traffic::of(&gateway, "m", 4, 100).await;
        assert_eq!((tally.share(&["local"]), tally.failures.len()), (1.0, 0));
        let shown = eventually("the last is compared", async || {
            let shown = candidate(&gateway).await;
            let on_path = !shown["on_path"].is_null();
            let compared = shown["compared"].as_u64().expect("a count");
            (compared > if on_path { 100 } else { 0 }).then_some(shown)
        })
        .await;
        assert_eq!((&shown["mode"], &shown["state"]), (&json!("shadow"), &json!("on")));
        assert_eq!(shown["divergence"]["max"], 1.0);
        assert!(
            ["in_use", "candidate"].iter().all(|by| shown["mean_us"][by].is_number()),
            "{shown}"
        );
        let expected = &shown["expected"];
        for (by, share) in [("in_use", [1.0, 0.0]), ("candidate", [0.0, 1.0])] {
            let shares = &expected[by]["shares"]["m"];
            let near =
                |at: &str, share: f64| (shares[at].as_f64().expect("a share") - share).abs() < 0.01;
            assert!(near("local-1", share[0]) && near("remote-1", share[1]), "{expected}");
        }
        let labels = "{candidate=\"candidate\",strategy=\"live\"}";
        let compared = metric(&gateway, &format!("gateway_candidate_compared_total{labels}")).await;
        assert!(compared >= 1.0);
        let apart = metric(&gateway, &format!("gateway_candidate_divergence{labels}")).await;
        assert!(apart > 0.9, "{apart}");
    }
}

#[tokio::test]
async fn shadow_faults_are_counted_and_harm_nobody() {
    let engines = Engines::start();
    let guest = on_path("candidate", REMOTE, "unreachable");
    let gateway = engines.gateway(&guest, "shadow: true", "");
    let tally = Traffic::of(&gateway, "m", 4, 100).await;
    assert_eq!((tally.share(&["local"]), tally.failures.len()), (1.0, 0));
    let shown = candidate(&gateway).await;
    // Five in a row, and calls that other cores had already begun.
    let faults = shown["faults"].as_u64().expect("a count");
    assert!((5..=8).contains(&faults) && shown["state"] == "on", "{shown}");
    assert_eq!(shown["on_path"]["state"], "off");
}

#[tokio::test]
async fn canary_gets_its_share_and_is_promoted() {
    let engines = Engines::start();
    for guest in [off_path("candidate", REMOTE), on_path("candidate", LOCAL, REMOTE)] {
        let gateway = engines.gateway(&guest, "canary: 0.3", "");
        let tally = Traffic::of(&gateway, "m", 4, 1000).await;
        assert!(tally.failures.is_empty(), "{:?}", tally.failures);
        let share = tally.share(&["remote"]);
        assert!((share - 0.3).abs() < 0.07, "{share}");
        let decided = candidate(&gateway).await["decided"].clone();
        let both =
            ["in_use", "candidate"].map(|by| decided[by]["requests"].as_u64().expect("some"));
        assert_eq!(both[0] + both[1], 1000);
        let traffic = Traffic::start(&gateway, "m", 2);
        let before = gateway.reloads("loaded").await;
        gateway.replace("config/routing.yaml", engines.routing("candidate", ""));
        gateway.loaded_since(before).await;
        let promoted = Traffic::of(&gateway, "m", 2, 50).await;
        assert_eq!(promoted.share(&["remote"]), 1.0);
        traffic.unharmed().await;
    }
}

async fn is_rolled_back(gateway: &Gateway, says: &str) {
    let shown = eventually("it is rolled back", async || {
        let shown = candidate(gateway).await;
        (shown["state"] == "rolled_back").then_some(shown)
    })
    .await;
    let reason = shown["reason"].as_str().expect("why");
    assert!(reason.contains(says), "{reason}");
    let tally = Traffic::of(gateway, "m", 2, 50).await;
    assert_eq!((tally.share(&["local"]), tally.failures.len()), (1.0, 0));
}

#[tokio::test]
async fn faulting_canary_stays_rolled_back() {
    let engines = Engines::start();
    let guest = on_path("candidate", REMOTE, "unreachable");
    let gateway = engines.gateway(&guest, "canary: 0.5", "");
    let tally = Traffic::of(&gateway, "m", 4, 100).await;
    assert_eq!((tally.share(&["local"]), tally.failures.len()), (1.0, 0));
    is_rolled_back(&gateway, "3 faults, the last of them: trapped").await;
    let before = gateway.reloads("loaded").await;
    gateway.signal(Signal::HUP);
    gateway.loaded_since(before).await;
    is_rolled_back(&gateway, "3 faults").await;
}

#[tokio::test]
async fn a_canary_whose_requests_fail_is_rolled_back() {
    let engines = Engines::start();
    let more = "fallback: {attempts: 1}\nejection: {consecutive: 0, percent: 0}";
    let trial = "canary: 0.5, rollback: {min_requests: 20}";
    let gateway = engines.gateway(&off_path("candidate", REMOTE), trial, more);
    engines.remote.set(json!({"failure_rate": 1.0})).await;
    let tally = Traffic::of(&gateway, "m", 2, 200).await;
    assert!(tally.failures.len() >= 20, "{:?}", tally.failures);
    is_rolled_back(&gateway, "100.0 % of its requests failed, and 0.0 % of the others").await;
}

#[tokio::test]
async fn a_canary_that_falls_back_or_is_dear_or_slow_is_rolled_back() {
    let engines = Engines::start();
    let guest = off_path("candidate", REMOTE);
    let gateway = |rollback: &str| {
        let trial = format!("canary: 0.5, rollback: {{min_requests: 20, {rollback}}}");
        let more = format!("candidate: {{routing_strategy: candidate, {trial}}}");
        let no_ejection = "ejection: {consecutive: 0, percent: 0}";
        let price = "pricing: {completion: 0.001}";
        let (local, remote) = (engines.local.url(), engines.remote.url());
        tests::setup!()
            .models(format!(
                "models:\n  - id: m\n    route:\n      - base_url: {local}\n      - {{base_url: '{remote}', {price}}}\n"
            ))
            .file("plugins/live.wasm", off_path("live", LOCAL))
            .file("plugins/candidate.wasm", guest.clone())
            .routing(engines.routing("live", &format!("{more}\n{no_ejection}")))
            .start()
    };
    let dear = gateway("cost: 0.5");
    Traffic::of(&dear, "m", 2, 200).await;
    is_rolled_back(&dear, "on average, and the others $0.000000").await;
    engines.remote.set(json!({"latency_ms": 200})).await;
    let slow = gateway("first_byte: 1");
    Traffic::of(&slow, "m", 4, 200).await;
    is_rolled_back(&slow, "the first byte came after").await;
    engines.remote.set(json!({"failure_rate": 1.0, "latency_ms": 0})).await;
    let falls_back = gateway("");
    let tally = Traffic::of(&falls_back, "m", 2, 200).await;
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    is_rolled_back(&falls_back, "100.0 % of its requests fell back, and 0.0 %").await;
}

#[tokio::test]
async fn unusable_candidate_is_refused_at_its_line() {
    let setup = tests::setup!().models(one_model(&["http://127.0.0.1:9"])).routing(
        "candidate:\n  routing_strategy: fixed\n  routing_parameter: {local_fracton: 1}\n  shadow: true\n",
    );
    let output = setup.arg("check").output();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("routing.yaml:3:"), "{said}");
    assert!(said.contains("local_fraction"), "{said}");
}

#[tokio::test]
async fn models_have_strategies_of_their_own() {
    let engines = Engines::start();
    let (local, remote) = (engines.local.url(), engines.remote.url());
    let route = format!("    route: [{{base_url: '{local}'}}, {{base_url: '{remote}'}}]\n");
    let models = format!("models:\n  - id: m\n{route}  - id: n\n    aliases: [other]\n{route}");
    let own = "strategies:\n  other: {routing_strategy: remote}";
    let routing = engines.routing("local-first", own).replace("[m]", "[m, n]");
    let gateway = tests::setup!()
        .models(models)
        .file("plugins/remote.wasm", on_path("remote", LOCAL, REMOTE))
        .routing(routing)
        .start();
    for (model, engine) in [("m", "local"), ("n", "remote"), ("other", "remote")] {
        let tally = Traffic::of(&gateway, model, 2, 50).await;
        assert_eq!((tally.share(&[engine]), tally.failures.len()), (1.0, 0), "{model}");
    }
    let routing = gateway.routing().await;
    assert_eq!(routing["strategy"]["name"], "local-first");
    assert_eq!(routing["strategies"]["n"]["name"], "remote");
    assert!(routing["strategies"]["m"].is_null());
}

#[tokio::test]
async fn a_strategy_is_told_how_attempts_went() {
    let engines = Engines::start();
    // An attempt is a record of 72 bytes. After five good attempts at the local engine, all
    // requests go to the remote one.
    let outcome = "(loop $next (if (i32.lt_u (local.get $i) (local.get $count)) (then
            (if (i32.load8_u offset=4 (i32.add (local.get $attempts)
                    (i32.mul (local.get $i) (i32.const 72)))) (then unreachable))
            (i32.store (i32.const 700) (i32.add (i32.load (i32.const 700)) (i32.const 1)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $next))))";
    let assign =
        format!("(if (i32.ge_u (i32.load (i32.const 700)) (i32.const 5)) (then {REMOTE})) {LOCAL}");
    let guest = CoreGuest {
        name: "learns",
        assign: &assign,
        outcome: Some(outcome),
        ..CoreGuest::default()
    };
    let gateway = tests::setup!()
        .models(one_model(&[&engines.local.url(), &engines.remote.url()]))
        .file("plugins/learns.wasm", guest.component())
        .routing(engines.routing("learns", ""))
        .start();
    let tally = Traffic::of(&gateway, "m", 1, 5).await;
    assert_eq!(tally.share(&["local"]), 1.0);
    eventually("it has learned", async || {
        let weights: Vec<f64> = gateway.weights("m").await.into_values().collect();
        (weights == [0.0, 1.0]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn strategy_gets_the_request_facts_it_needs() {
    let engines = Engines::start();
    // The record `request`: prompt-tokens at 12, max-output-tokens at 20, session at 32, prefixes
    // at 48, tenant at 56, headers at 68.
    let there = ["i32.load8_u offset=12", "i32.load8_u offset=20", "i32.load8_u offset=32"];
    let there = there.into_iter().chain(["i32.load offset=52", "i32.load8_u offset=56"]);
    let product = there
        .fold("(i32.load offset=72 (local.get $request))".to_owned(), |all, load| {
            format!("(i32.mul {all} ({load} (local.get $request)))")
        });
    // Each option is present (1), and there are two headers: the product is 2.
    let known = format!("(if (i32.eq {product} (i32.const 2)) (then {REMOTE})) {LOCAL}");
    let guest = |needs| {
        CoreGuest { name: "guest", needs, request: Some(&known), ..CoreGuest::default() }
            .component()
    };
    let headers = "request: {tenant_header: X-Tenant, headers: [x-a, x-b]}";
    for (needs, expected) in [(7, "remote"), (3, "local")] {
        let gateway = tests::setup!()
            .models(one_model(&[&engines.local.url(), &engines.remote.url()]))
            .file("plugins/guest.wasm", guest(needs))
            .routing(engines.routing("guest", headers))
            .start();
        let text = "x".repeat(600);
        let body = json!({"model": "m", "max_tokens": 7, "user": "u",
            "messages": [{"role": "user", "content": text}]});
        let client = tests::client();
        let request = client.post(gateway.url("/v1/chat/completions")).json(&body);
        let request = request.header("x-tenant", "acme").header("x-a", "1").header("x-b", "2");
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.headers()["x-stub-engine"], expected);
    }
}
