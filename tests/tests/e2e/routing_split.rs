//! Weights, and how traffic follows them.

use tests::{Engine, Gateway, Port, Tally, Traffic, eventually, one_model, split};

/// Of a share of 10,000 draws.
const TOLERANCE: f64 = 0.015;

/// A model on some routes, each with lines of its own: `weight: 2`.
fn model(id: &str, routes: &[(&str, &str)]) -> String {
    let route = |(url, more): &(&str, &str)| format!("      - base_url: {url}\n        {more}\n");
    format!("  - id: {id}\n    route:\n{}", routes.iter().map(route).collect::<String>())
}

/// The weights of a model in the order of the files; they always sum to 1.
async fn weights(gateway: &Gateway, model: &str) -> Vec<f64> {
    let routing = gateway.routing().await;
    let deployments = routing["models"][model]["deployments"].as_array().expect("a known model");
    let weights: Vec<f64> =
        deployments.iter().map(|shown| shown["weight"].as_f64().expect("a number")).collect();
    let sum: f64 = weights.iter().sum();
    assert!((sum - 1.0).abs() < 1e-9, "{model}: {weights:?}");
    weights
}

fn assert_near(weights: &[f64], wanted: &[f64]) {
    assert_eq!(weights.len(), wanted.len());
    let near = weights.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(near, "{weights:?}, not {wanted:?}");
}

/// Draws 10,000 times, and once more if a share is off. Fair draws exceed the tolerance by chance
/// about once in a hundred runs, but not in the sum of two.
async fn draw(gateway: &Gateway, shares: &[(&[&str], f64)]) {
    let mut tally = Tally::default();
    for last in [false, true] {
        tally.add(Traffic::of(gateway, "m", 16, 10_000).await);
        assert_eq!(tally.failures, [""; 0]);
        let off =
            |(engines, wanted): &&(&[&str], f64)| (tally.share(engines) - wanted).abs() > TOLERANCE;
        match shares.iter().find(off) {
            None => return,
            Some(wanted) => assert!(!last, "{:?}, not {wanted:?}", tally.answered),
        }
    }
}

#[tokio::test]
async fn a_request_is_answered_by_a_deployment() {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let (l, r) = (local.url(), remote.url());
    let gateway =
        tests::setup!().models(one_model(&[&l, &r])).routing(split(0.6, &[&l], &[&r], "")).start();
    let reply = gateway.chat("m").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(["local", "remote"].contains(&reply.engine()), "{:?}", reply.headers);
    let weights = gateway.weights("m").await;
    assert_eq!(weights, [("local-1".into(), 0.6), ("remote-1".into(), 0.4)].into());
}

#[tokio::test]
async fn ten_thousand_draws_follow_the_weights() {
    let engines = ["one", "two", "remote"].map(Engine::start);
    let [one, two, remote] = engines.each_ref().map(Engine::url);
    let routing = split(0.6, &[&one, &two], &[&remote], "");
    let setup = tests::setup!().models(one_model(&[&one, &two, &remote]));
    let gateway = setup.routing(routing).start();
    let shares: [(&[&str], f64); 4] =
        [(&["one", "two"], 0.6), (&["one"], 0.3), (&["two"], 0.3), (&["remote"], 0.4)];
    draw(&gateway, &shares).await;
}

#[tokio::test]
async fn weights_come_from_models_without_routing_file() {
    let (a, b) = (Engine::start("a"), Engine::start("b"));
    let (a, b) = (a.url(), b.url());
    let models = [
        "models:\n".to_owned(),
        model("uneven", &[(&a, "weight: 3"), (&b, "weight: 1")]),
        model("even", &[(&a, "kind: vllm"), (&b, "kind: vllm")]),
        model("small", &[(&a, "weight: 0.05"), (&b, "weight: 0.15")]),
        format!("  - id: alone\n    base_url: {a}\n"),
    ];
    let gateway = tests::setup!().models(models.concat()).start();
    assert_near(&weights(&gateway, "uneven").await, &[0.75, 0.25]);
    assert_near(&weights(&gateway, "even").await, &[0.5, 0.5]);
    assert_near(&weights(&gateway, "small").await, &[0.25, 0.75]);
    assert_near(&weights(&gateway, "alone").await, &[1.0]);
    let tally = Traffic::of(&gateway, "uneven", 8, 400).await;
    assert_eq!(tally.failures, [""; 0]);
    // 0.11 is five standard deviations.
    assert!((tally.share(&["a"]) - 0.75).abs() < 0.11, "{:?}", tally.answered);
}

#[tokio::test]
async fn unlisted_route_keeps_its_share() {
    let urls = [1, 2, 3, 4].map(|n| format!("http://127.0.0.1:{n}"));
    let [local, kept, remote, new] = urls.each_ref().map(String::as_str);
    let models = [
        "models:\n".to_owned(),
        model("m", &[(local, "weight: 1"), (kept, "weight: 1"), (remote, "weight: 2")]),
        model("other", &[(local, "weight: 1"), (remote, "weight: 4")]),
    ];
    let setup = tests::setup!().models(models.concat());
    let gateway = setup.routing(split(0.6, &[local], &[remote], "")).start();
    assert_near(&weights(&gateway, "m").await, &[0.45, 0.25, 0.3]);
    assert_near(&weights(&gateway, "other").await, &[0.2, 0.8]);

    // An endpoint that only routing.yaml has is added with weight 1, so the sum is 5.
    gateway.replace("config/routing.yaml", split(0.5, &[local], &[new], ""));
    gateway.loaded_since(0).await;
    assert_near(&weights(&gateway, "m").await, &[0.2, 0.2, 0.4, 0.2]);
}

#[tokio::test]
async fn empty_side_leaves_everything_to_the_other() {
    let urls = [1, 2, 3].map(|n| format!("http://127.0.0.1:{n}"));
    let [a, b, c] = urls.each_ref().map(String::as_str);
    let models = format!("models:\n  - id: m\n    base_url: {c}\n");
    let gateway = tests::setup!().models(models).routing(split(0.6, &[a, b], &[c], "")).start();
    // The model's own route comes first.
    assert_near(&weights(&gateway, "m").await, &[0.4, 0.3, 0.3]);
    type Urls<'a> = &'a [&'a str];
    let cases: [(f64, Urls, Urls, &[f64]); 6] = [
        (0.6, &[c, b], &[], &[0.5, 0.5]),
        (0.6, &[], &[c, b, a], &[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]),
        (1.0, &[a], &[c], &[0.0, 1.0]),
        (0.0, &[a], &[c], &[1.0, 0.0]),
        (0.0, &[c], &[], &[1.0]),
        (1.0, &[], &[c, b], &[0.5, 0.5]),
    ];
    for (fraction, local, remote, wanted) in cases {
        let count = gateway.reloads("loaded").await;
        gateway.replace("config/routing.yaml", split(fraction, local, remote, ""));
        gateway.loaded_since(count).await;
        assert_near(&weights(&gateway, "m").await, wanted);
    }
}

#[tokio::test]
async fn standby_takes_over_when_all_others_fail() {
    let (mut first, mut second) = (Engine::start("first"), Engine::start("second"));
    let standby = Engine::start("standby");
    let models = model(
        "m",
        &[(&standby.url(), "weight: 0"), (&first.url(), "weight: 1"), (&second.url(), "weight: 1")],
    );
    // Without ejection each request finds out anew which deployment fails.
    let gateway = tests::setup!()
        .models(format!("models:\n{models}"))
        .routing("ejection: {consecutive: 0, percent: 0}\n")
        .start();
    assert_near(&weights(&gateway, "m").await, &[0.0, 0.5, 0.5]);
    assert_eq!(answering(&gateway).await, ["first", "second"]);
    second.stop();
    assert_eq!(answering(&gateway).await, ["first"]);
    first.stop();
    assert_eq!(answering(&gateway).await, ["standby"]);
    second.restart();
    // Until its first success, an attempt at it counts against the retry budget.
    eventually("it answers", async || (answering(&gateway).await == ["second"]).then_some(()))
        .await;
}

#[tokio::test]
async fn standby_is_turned_off_by_a_setting() {
    let (dead, standby) = (Port::take(), Engine::start("standby"));
    let (l, r) = (dead.url(), standby.url());
    let routing = |setting| split(1.0, &[&l], &[&r], &no_ejection(setting));
    let setup = tests::setup!().models(one_model(&[&l, &r]));
    let gateway = setup.routing(routing("never")).start();
    assert_near(&weights(&gateway, "m").await, &[1.0, 0.0]);
    for _ in 0..20 {
        let reply = gateway.chat("m").await;
        assert_eq!(reply.status, 502, "{}", reply.text());
    }
    assert_eq!(standby.requests().await, 0);
    gateway.replace("config/routing.yaml", routing("last"));
    eventually("the edit", async || (gateway.chat("m").await.status == 200).then_some(())).await;
    assert_near(&weights(&gateway, "m").await, &[1.0, 0.0]);
    assert_eq!(answering(&gateway).await, ["standby"]);
}

/// Without ejection. Ejecting the others would give the standby weight.
fn no_ejection(standby: &str) -> String {
    format!("fallback: {{standby: {standby}}}\nejection: {{consecutive: 0, percent: 0}}")
}

/// The engines that answer a hundred requests. No request may fail.
async fn answering(gateway: &Gateway) -> Vec<String> {
    let tally = Traffic::of(gateway, "m", 4, 100).await;
    assert_eq!(tally.failures, [""; 0]);
    tally.answered.into_keys().collect()
}
