//! A full deployment is not a broken one. It is kept full, and never ejected for being full.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Engine, EngineOptions, Gateway, Raw, Step, Traffic, eventually, logged, routed};

/// Places of the engine.
const PLACES: u32 = 4;

/// What a full engine says.
fn full(refusal: u16, retry_after: Option<u64>) -> Engine {
    Engine::with(EngineOptions {
        name: "gpu".into(),
        latency: Duration::from_millis(60),
        places: PLACES,
        queue: 0,
        refusal,
        retry_after,
        ..EngineOptions::default()
    })
}

fn gateway(local: &[&str], remote: &[&str], more: &str) -> Gateway {
    let models = "models: [{id: m}]".to_owned();
    let routing = format!("{}{}", routed("local-first", local, remote), logged(more));
    tests::setup!().models(models).routing(routing).start()
}

/// What `/routing` shows of a deployment.
async fn shown(gateway: &Gateway, name: &str) -> Value {
    let page = gateway.get("/routing").await.json();
    let all = page["models"]["m"]["deployments"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|deployment| deployment["name"] == name).expect("the deployment")
}

/// The sum of a metric over all deployments of the model.
async fn ejections(gateway: &Gateway) -> Option<f64> {
    gateway.metric("gateway_ejections_total", &[("deployment", "local-1")]).await
}

#[tokio::test]
async fn refusals_set_a_limit_and_eject_nobody() {
    for (refusal, retry_after) in [(503, None), (503, Some(1)), (429, None), (429, Some(30))] {
        let gpu = full(refusal, retry_after);
        let api = Engine::start("api");
        let gateway = gateway(&[&gpu.url()], &[&api.url()], "");
        let traffic = Traffic::start(&gateway, "m", 12);
        let learned = async || (shown(&gateway, "local-1").await["limit"] == PLACES).then_some(());
        eventually("the limit is learned", learned).await;
        traffic.more(300).await;
        let answered = traffic.unharmed().await;
        let local = shown(&gateway, "local-1").await;
        assert_eq!((&local["state"], &local["reason"]), (&json!("healthy"), &Value::Null));
        assert_eq!(ejections(&gateway).await, Some(0.0), "{refusal} {retry_after:?}");
        let refusals = local["refusals"].as_u64().expect("a count");
        // How often a full engine is tried depends on the machine. Without a limit two of three
        // requests are refused.
        assert!(refusals * 3 < answered, "{refusals} refusals for {answered} answers");
        let page = gateway.get("/metrics").await.text();
        assert!(page.contains("gateway_deployment_limit"), "{page}");
    }
}

#[tokio::test]
async fn a_full_engine_alone_loses_nothing() {
    let gpu = full(503, None);
    let gateway = gateway(&[&gpu.url()], &[], "");
    let traffic = Traffic::start(&gateway, "m", 12);
    traffic.more(300).await;
    traffic.unharmed().await;
    let queued = gateway.metric("gateway_deployment_queued", &[]).await;
    assert_eq!((queued, ejections(&gateway).await), (Some(0.0), Some(0.0)));
}

#[tokio::test]
async fn a_limit_above_the_engines_is_corrected() {
    let gpu = full(503, None);
    let gateway = gateway(&[&gpu.url()], &[], "concurrency: {max: 6}");
    let traffic = Traffic::start(&gateway, "m", 12);
    traffic.more(300).await;
    traffic.unharmed().await;
    assert_eq!(ejections(&gateway).await, Some(0.0));
}

#[tokio::test]
async fn an_engine_that_queues_is_not_ejected() {
    let gpu = Engine::with(EngineOptions {
        name: "gpu".into(),
        latency: Duration::from_millis(150),
        places: 2,
        ..EngineOptions::default()
    });
    let api = Engine::start("api");
    let gateway = gateway(&[&gpu.url()], &[&api.url()], "timeouts: {first_byte: 0.4}");
    let traffic = Traffic::start(&gateway, "m", 24);
    let stalls =
        async || (shown(&gateway, "local-1").await["stalls"].as_u64() > Some(0)).then_some(());
    eventually("requests stall", stalls).await;
    traffic.more(300).await;
    traffic.unharmed().await;
    assert_eq!(ejections(&gateway).await, Some(0.0));
    let limit = shown(&gateway, "local-1").await["limit"].as_u64().expect("a number");
    assert!((1..24).contains(&limit), "{limit}");
}

#[tokio::test]
async fn an_engine_that_works_for_who_left_is_not_ejected() {
    // It looks for clients that have left as seldom as llama.cpp, in proportion to its work.
    let gpu = Engine::with(EngineOptions {
        name: "gpu".into(),
        latency: Duration::from_millis(150),
        linger: Duration::from_millis(300),
        places: PLACES,
        ..EngineOptions::default()
    });
    let api = Engine::start("api");
    let gateway = gateway(&[&gpu.url()], &[&api.url()], "timeouts: {first_byte: 0.36}");
    let traffic = Traffic::start(&gateway, "m", 24);
    let stalls =
        async || (shown(&gateway, "local-1").await["stalls"].as_u64() > Some(0)).then_some(());
    eventually("requests stall", stalls).await;
    let over = async || (shown(&gateway, "local-1").await["state"] == "healthy").then_some(());
    eventually("the stall is over", over).await;
    traffic.more(300).await;
    traffic.unharmed().await;
    assert_eq!(ejections(&gateway).await, Some(0.0));
}

#[tokio::test]
async fn an_engine_that_hangs_is_ejected() {
    let hanging = Raw::steps(vec![Step::Hang]);
    let api = Engine::start("api");
    let more = "timeouts: {first_byte: 0.1}\nejection: {consecutive: 3}";
    let gateway = gateway(&[&hanging.url()], &[&api.url()], more);
    let traffic = Traffic::start(&gateway, "m", 2);
    let ejected = async || (ejections(&gateway).await > Some(0.0)).then_some(());
    eventually("it is ejected", ejected).await;
    traffic.unharmed().await;
    assert_eq!(shown(&gateway, "local-1").await["stalls"], 0);
}

#[tokio::test]
async fn an_allowance_is_learned() {
    let limited = Engine::with(EngineOptions {
        name: "limited".into(),
        requests_per_minute: 1200.0,
        ..EngineOptions::default()
    });
    let spare = Engine::with(EngineOptions {
        name: "spare".into(),
        latency: Duration::from_millis(20),
        ..EngineOptions::default()
    });
    let gateway = gateway(&[], &[&limited.url(), &spare.url()], "");
    let traffic = Traffic::start(&gateway, "m", 4);
    traffic.more(600).await;
    let answered = traffic.unharmed().await;
    let refusals = shown(&gateway, "remote-1").await["refusals"].as_u64().expect("a count");
    assert!(refusals > 0 && refusals * 20 < answered, "{refusals} of {answered}");
}
