//! What requests do to a deployment's state: ejection, half-open, cooling, credentials and slow
//! start. The budget for extra attempts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use serde_json::{Value, json};
use tests::{
    Engine, EngineOptions, Gate, Gateway, Raw, Received, Traffic, Wire, eventually, one_model,
    split,
};
use tokio::task::JoinSet;

/// What `/routing` shows of a deployment of the model `m`.
async fn shown(gateway: &Gateway, name: &str) -> Value {
    let routing = gateway.routing().await;
    let deployments = routing["models"]["m"]["deployments"].as_array().expect("a list");
    deployments.iter().find(|d| d["name"] == name).expect("a known name").clone()
}

/// Waits until a deployment is in a state, and shows it.
async fn becomes(gateway: &Gateway, name: &str, state: &str) -> Value {
    let what = format!("{name} is {state}");
    eventually(&what, async || Some(shown(gateway, name).await).filter(|d| d["state"] == state))
        .await
}

/// Sends requests until a deployment is in a state; all of them are answered well.
async fn until(gateway: &Gateway, name: &str, state: &str) -> Value {
    let what = format!("{name} is {state}");
    eventually(&what, async || {
        assert_eq!(gateway.chat("m").await.status, 200);
        Some(shown(gateway, name).await).filter(|d| d["state"] == state)
    })
    .await
}

/// An upstream whose `/health` is always good; `script` answers all other requests.
fn healthy(script: impl Fn(&Received, &mut Wire) + Send + Sync + 'static) -> Raw {
    Raw::start(move |received, wire| match received.path.as_str() {
        "/health" => wire.answer(200, "{}"),
        _ => script(received, wire),
    })
}

/// Requests an upstream got, without the probes.
fn asked(raw: &Raw) -> usize {
    raw.received().iter().filter(|received| received.method == "POST").count()
}

fn probed(raw: &Raw) -> usize {
    raw.received().len() - asked(raw)
}

/// A gateway with a local and a remote deployment that share evenly, and lines of `routing.yaml`.
fn between(local: &str, remote: &str, more: &str) -> Gateway {
    let routing = split(0.5, &[local], &[remote], more);
    tests::setup!().models(one_model(&[local, remote])).routing(routing).start()
}

const ANSWER: &str = r#"{"object":"chat.completion","choices":[]}"#;
const REFUSAL: &str = r#"{"error":{"message":"no","type":"server_error"}}"#;

#[tokio::test]
async fn failing_requests_eject_a_healthy_deployment() {
    let bad = healthy(|_, wire| wire.answer(500, REFUSAL));
    let good = Engine::start("good");
    let gateway = between(&bad.url(), &good.url(), "health_check: 0.05\n");
    let ejected = until(&gateway, "local-1", "ejected").await;
    let reason = ejected["reason"].as_str().expect("text");
    assert!(reason.contains("5 attempts in a row failed, the last: answered 500"), "{reason}");
    assert_eq!(asked(&bad), 5);
    assert_eq!(
        gateway.weights("m").await,
        [("local-1".into(), 0.0), ("remote-1".into(), 1.0)].into()
    );
    let probes = probed(&bad);
    eventually("five more good probes", async || (probed(&bad) >= probes + 5).then_some(())).await;
    assert_eq!(shown(&gateway, "local-1").await["state"], "ejected");
    for _ in 0..30 {
        assert_eq!(gateway.chat("m").await.engine(), "good");
    }
    assert_eq!(asked(&bad), 5);
    let metrics = gateway.get("/metrics").await.text();
    // One series, with the current state.
    let of_local =
        |line: &&str| line.starts_with("gateway_deployment_state{") && line.contains("\"local-1\"");
    let lines: Vec<&str> = metrics.lines().filter(of_local).collect();
    let expected = "gateway_deployment_state{deployment=\"local-1\",model=\"m\",side=\"local\",state=\"ejected\"} 1";
    assert_eq!(lines, [expected]);
}

#[tokio::test]
async fn ejected_hanging_deployment_delays_no_request() {
    let hanging = healthy(|_, wire| wire.hang());
    let good = Engine::start("good");
    let models = one_model(&[&hanging.url(), &good.url()]);
    let models = models.replacen("\n      -", "\n      - timeouts: {first_byte: 0.3}\n       ", 1);
    let routing = split(0.5, &[&hanging.url()], &[&good.url()], "");
    let gateway = Arc::new(tests::setup!().models(models).routing(routing).start());
    let mut requests = JoinSet::new();
    // Few enough for the retry budget, even if all of them hang at first.
    for _ in 0..12 {
        let gateway = Arc::clone(&gateway);
        requests.spawn(async move { gateway.chat("m").await.status });
    }
    assert!(requests.join_all().await.iter().all(|status| *status == 200));
    until(&gateway, "local-1", "ejected").await;
    let before = asked(&hanging);
    for _ in 0..30 {
        assert_eq!(gateway.chat("m").await.engine(), "good");
    }
    assert_eq!(asked(&hanging), before);
}

#[tokio::test]
async fn half_open_lets_exactly_one_of_fifty_through() {
    let (mended, gate, tried) = <(Arc<AtomicBool>, Gate, Arc<AtomicUsize>)>::default();
    let (is_mended, wait, count) = (Arc::clone(&mended), gate.clone(), Arc::clone(&tried));
    let flaky = healthy(move |_, wire| {
        if !is_mended.load(SeqCst) {
            return wire.answer(500, REFUSAL);
        }
        count.fetch_add(1, SeqCst);
        wait.wait();
        wire.answer(200, ANSWER);
    });
    let good = Engine::start("good");
    let more = "ejection: {base: 0.2, max: 0.5}\nslow_start: {duration: 0}\n";
    let gateway = Arc::new(between(&flaky.url(), &good.url(), more));
    until(&gateway, "local-1", "ejected").await;
    becomes(&gateway, "local-1", "half_open").await;
    // The first trial fails.
    eventually("a trial that fails", async || {
        assert_eq!(gateway.chat("m").await.status, 200);
        let reason = shown(&gateway, "local-1").await["reason"].clone();
        reason.as_str()?.starts_with("failed again when it was tried").then_some(())
    })
    .await;
    mended.store(true, SeqCst);
    becomes(&gateway, "local-1", "half_open").await;
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let gateway = Arc::clone(&gateway);
        requests.spawn(async move { gateway.chat("m").await });
    }
    for _ in 0..49 {
        let reply = requests.join_next().await.expect("49 more").expect("no panic");
        assert_eq!(reply.engine(), "good", "{}", reply.text());
    }
    assert_eq!(tried.load(SeqCst), 1);
    gate.open();
    let reply = requests.join_next().await.expect("the trial").expect("no panic");
    assert_eq!(reply.text(), ANSWER);
    becomes(&gateway, "local-1", "healthy").await;
    assert_eq!(
        gateway.weights("m").await,
        [("local-1".into(), 0.5), ("remote-1".into(), 0.5)].into()
    );
}

#[tokio::test]
async fn cooling_deployment_gets_its_weight_back() {
    let limited = healthy(|_, wire| {
        wire.send("HTTP/1.1 429 X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n");
    });
    let good = Engine::start("good");
    let gateway = between(&good.url(), &limited.url(), "ejection: {consecutive: 2}");
    // Cooling is not a failure: two in a row would eject it.
    for _ in 0..3 {
        let cooling = until(&gateway, "remote-1", "cooling").await;
        assert_eq!(cooling["reason"], "answered 429: left alone for 1 s");
        assert_eq!(cooling["weight"], 0.0);
        let before = asked(&limited);
        for _ in 0..10 {
            assert_eq!(gateway.chat("m").await.status, 200);
        }
        let now = shown(&gateway, "remote-1").await;
        // Skipped if the second passed before the requests ended.
        if now["since"] == cooling["since"] {
            assert_eq!(asked(&limited), before, "it is asked while it cools");
        }
        becomes(&gateway, "remote-1", "healthy").await;
        assert_eq!(
            gateway.weights("m").await,
            [("local-1".into(), 0.5), ("remote-1".into(), 0.5)].into()
        );
    }
}

#[tokio::test]
async fn client_is_told_the_shortest_wait() {
    let after = |seconds: u32| {
        Raw::start(move |_, wire| {
            wire.send(format!(
                "HTTP/1.1 503 X\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n"
            ));
        })
    };
    let (short, long) = (after(40), after(90));
    let (short_url, long_url) = (short.url(), long.url());
    let urls = [&*short_url, &*long_url];
    let routing = split(0.5, &[], &urls, "");
    let gateway = tests::setup!().models(one_model(&urls)).routing(routing).start();
    for _ in 0..5 {
        let reply = gateway.chat("m").await;
        assert_eq!(reply.status, 503, "{}", reply.text());
        let wait: u64 = reply.header("retry-after").parse().expect("seconds");
        assert!((20..=40).contains(&wait), "{wait}");
    }
    assert_eq!((asked(&short), asked(&long)), (1, 1), "and nobody is asked before");
}

#[tokio::test]
async fn refused_credential_ejects_and_is_logged_once() {
    let options = EngineOptions { name: "keyed".into(), ..Default::default() };
    let keyed = Engine::with(EngineOptions { api_key: Some("right".into()), ..options });
    let good = Engine::start("good");
    let models = |key: &str| {
        let (keyed, good) = (keyed.url(), good.url());
        format!(
            "models:\n  - id: m\n    route:\n      - {{base_url: '{keyed}', name: keyed, \
             api_key: {key}}}\n      - {{base_url: '{good}', name: good}}\n"
        )
    };
    let gateway = tests::setup!().models(models("wrong")).start();
    // Only different requests prove that the key is refused.
    let mut asked = 0;
    let out = eventually("it is out", async || {
        asked += 1;
        let body = json!({"model": "m", "messages": [{"role": "user", "content": asked}]});
        assert_eq!(gateway.post("/v1/chat/completions", body.to_string()).await.status, 200);
        Some(shown(&gateway, "keyed").await).filter(|d| d["state"] == "credential")
    })
    .await;
    assert_eq!(out["reason"], "answered 401: it does not accept its api_key");
    for _ in 0..20 {
        assert_eq!(gateway.chat("m").await.engine(), "good");
    }
    assert_eq!(keyed.requests().await, 2);
    assert_eq!(gateway.log().matches("does not accept its api_key").count(), 1);
    let before = gateway.reloads("loaded").await;
    gateway.write("config/models.yaml", models("right"));
    gateway.loaded_since(before).await;
    assert_eq!(shown(&gateway, "keyed").await["state"], "healthy");
    eventually("it answers", async || (gateway.chat("m").await.engine() == "keyed").then_some(()))
        .await;
}

#[tokio::test]
async fn panic_mode_spares_cooling_deployments() {
    let cooling = healthy(|_, wire| {
        wire.send("HTTP/1.1 429 X\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n");
    });
    let (up, good) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let (is_up, is_good) = (Arc::clone(&up), Arc::clone(&good));
    let doubtful = Raw::start(move |received, wire| match received.path.as_str() {
        "/health" if !is_up.load(SeqCst) => wire.answer(503, "{}"),
        "/health" => wire.answer(200, "{}"),
        _ if !is_good.load(SeqCst) => wire.answer(500, REFUSAL),
        _ => wire.answer(200, ANSWER),
    });
    let more = "health_check: 0.05\n";
    let gateway = between(&doubtful.url(), &cooling.url(), more);
    until(&gateway, "remote-1", "cooling").await;
    up.store(false, SeqCst);
    becomes(&gateway, "local-1", "unhealthy").await;
    assert_eq!(gateway.routing().await["models"]["m"]["panic"], true);
    for _ in 0..10 {
        assert_eq!(gateway.chat("m").await.status, 200);
    }
    good.store(false, SeqCst);
    assert_eq!(gateway.chat("m").await.status, 502, "the other one is not even a fallback");
    assert_eq!(asked(&cooling), 1);
}

#[tokio::test]
async fn departed_clients_are_not_charged_to_deployments() {
    let hanging = healthy(|_, wire| wire.hang());
    let other = Engine::start("other");
    let models = format!(
        "models:\n  - id: m\n    route:\n      - {{base_url: '{}', name: hanging}}\n      \
         - {{base_url: '{}', weight: 0}}\n",
        hanging.url(),
        other.url()
    );
    let gateway = tests::setup!().models(models).start();
    let body = json!({"model": "m", "messages": []}).to_string();
    for left in 1..=8 {
        let request = gateway.client().post(gateway.url("/v1/chat/completions"));
        let client = tokio::spawn(request.body(body.clone()).send());
        eventually("it hangs", async || (asked(&hanging) == left).then_some(())).await;
        client.abort();
        eventually("the gateway lets go", async || (hanging.hung_up() == left).then_some(())).await;
    }
    assert_eq!(shown(&gateway, "hanging").await["state"], "healthy");
}

#[tokio::test]
async fn extra_attempts_stay_within_the_budget() {
    let failing = || Raw::answering(500, REFUSAL);
    let (one, other) = (failing(), failing());
    // Without ejection and without a budget, every request would try both.
    let more = "ejection: {consecutive: 0, percent: 0}\n";
    let gateway = Arc::new(between(&one.url(), &other.url(), more));
    let start = Instant::now();
    let mut told = 0;
    for _ in 0..30 {
        let mut requests = JoinSet::new();
        for _ in 0..10 {
            let gateway = Arc::clone(&gateway);
            requests.spawn(async move { gateway.chat("m").await });
        }
        for reply in requests.join_all().await {
            assert_eq!(reply.status, 502);
            told += usize::from(reply.header("x-should-retry") == "false");
        }
    }
    let attempts = asked(&one) + asked(&other);
    let most = 300.0 * 1.2 + 10.0 * (start.elapsed().as_secs_f64() + 1.0);
    assert!(attempts as f64 <= most, "{attempts} attempts, at most {most}");
    assert!(attempts >= 350, "{attempts}: a fifth may be extra");
    assert_eq!(told, 600 - attempts, "who got no second attempt is told not to try again at once");
}

#[tokio::test]
async fn returning_deployment_starts_slowly() {
    let (mut local, remote) = (Engine::start("local"), Engine::start("remote"));
    let local_url = local.url();
    let routing = |seconds: f64| {
        let slow_start = format!("slow_start: {{duration: {seconds}, min_rate: 1}}");
        let more = format!("health_check: 0.1\n{slow_start}\n");
        split(0.5, &[&local_url], &[&remote.url()], &more)
    };
    let setup = tests::setup!().models(one_model(&[&local_url, &remote.url()]));
    // Long enough to see its beginning on a busy machine.
    let gateway = setup.routing(routing(20.0)).start();
    let load = Traffic::start(&gateway, "m", 2);
    load.more(100).await;
    local.stop();
    let gone = || async { gateway.weights("m").await["local-1"] == 0.0 };
    eventually("no weight", async || gone().await.then_some(())).await;
    local.restart();
    let rising = becomes(&gateway, "local-1", "slow_start").await;
    let first = rising["weight"].as_f64().expect("a number");
    assert!(first < 0.4, "{first}");
    eventually("a higher weight", async || {
        let weight = gateway.weights("m").await["local-1"];
        (weight > first && weight < 0.5).then_some(())
    })
    .await;
    let before = gateway.reloads("loaded").await;
    gateway.replace("config/routing.yaml", routing(0.1));
    gateway.loaded_since(before).await;
    becomes(&gateway, "local-1", "healthy").await;
    assert_eq!(
        gateway.weights("m").await,
        [("local-1".into(), 0.5), ("remote-1".into(), 0.5)].into()
    );
    load.unharmed().await;
}
