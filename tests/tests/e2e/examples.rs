//! The strategies of `plugins/examples`, built with their own `build.sh`, under traffic.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tests::{
    CLANG, COMPILING, Engine, EngineOptions, Gateway, NODE, PYTHON, Reply, Toolchain, Traffic,
    eventually, routed, try_out,
};

/// A gateway that runs an example, with a local and a remote deployment. `routing`: parameters and
/// further keys of `routing.yaml`. `tried_with`: arguments for `gateway strategy test`. None: the
/// toolchain is not installed.
fn serve(
    toolchain: &Toolchain,
    path: &str,
    routing: &str,
    engines: [&Engine; 2],
    tried_with: &[&str],
) -> Option<Gateway> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/examples").join(path);
    let (_, name) = path.rsplit_once('/').expect("language/name");
    let component = toolchain.build(tests::gateway!(), &folder, name)?;
    // `gateway strategy test` compiles the strategy, the gateway finds it in the cache.
    let compiled = tempfile::tempdir().expect("a temporary folder");
    let tried = tests::setup!().env("GATEWAY_CACHE", compiled.path());
    try_out(tried, &folder.join(format!("{name}.wasm")), tried_with);
    let [local, remote] = engines.map(Engine::url);
    let models = format!(
        "models:
  - id: m
    route:
      - {{name: gpu, side: local, base_url: {local}, concurrency: {{max: 8}}}}
      - name: api
        side: remote
        base_url: {remote}
        concurrency: {{max: 24}}
        pricing: {{prompt: \"0.001\", completion: \"0.001\"}}
"
    );
    let strategy = format!("{name}\n{routing}");
    let setup = tests::setup!().models(models).routing(routed(&strategy, &[&local], &[&remote]));
    let setup = setup.file(&format!("plugins/{name}.wasm"), component);
    Some(setup.env("GATEWAY_CACHE", compiled.path()).start_within(COMPILING))
}

/// A slow engine, so that several requests are in flight.
fn slow(name: &str) -> Engine {
    let latency = Duration::from_millis(40);
    Engine::with(EngineOptions { name: name.to_owned(), latency, ..EngineOptions::default() })
}

async fn is_on_path(gateway: &Gateway, name: &str, requests: u64) {
    let routing = gateway.routing().await;
    assert_eq!(routing["strategy"]["on_path"]["state"], "on", "{routing}");
    assert!(gateway.strategy_calls(name, "ok").await > requests);
}

#[tokio::test]
async fn c_example_picks_the_shortest_queue() {
    let engines = [slow("gpu"), slow("api")];
    let routing =
        "routing_parameter: {spill: 0.25}\nsandbox: {request_timeout: 30, compile_timeout: 600}";
    let engines = engines.each_ref();
    let Some(gateway) = serve(&CLANG, "c/shortest-queue", routing, engines, &[]) else { return };
    // `spill: 0.25` of 8 places: the local deployment gets 2 of 6 clients.
    let tally = Traffic::of(&gateway, "m", 6, 300).await;
    assert_eq!(tally.failures, [""; 0]);
    assert!((0.26..0.4).contains(&tally.share(&["gpu"])), "{:?}", tally.answered);
    is_on_path(&gateway, "shortest-queue", 300).await;
}

#[tokio::test]
async fn javascript_example_routes_by_tenant_tier() {
    let engines = [Engine::start("gpu"), Engine::start("api")];
    let routing = "routing_parameter:
  tiers: {gold: [gpu], free: [api], all: [gpu, api]}
  default: all
request: {headers: [x-tier]}
sandbox: {request_timeout: 30, compile_timeout: 600}";
    let engines = engines.each_ref();
    // The deployments of generated fleets are called `place-0`, `place-1`, ...
    let tried_with = ["--parameters", r#"{"tiers": {"gold": ["place-0"]}, "default": "gold"}"#];
    let path = "javascript/tenant-tiers";
    let Some(gateway) = serve(&NODE, path, routing, engines, &tried_with) else { return };
    let tally = Traffic::of(&gateway, "m", 2, 900).await;
    assert_eq!(tally.failures, [""; 0]);
    // By capacity: 8 of 32.
    assert!((0.2..0.3).contains(&tally.share(&["gpu"])), "{:?}", tally.answered);
    for (tier, engine) in [("gold", "gpu"), ("free", "api")] {
        for _ in 0..20 {
            assert_eq!(ask(&gateway, tier).await.engine(), engine, "{tier}");
        }
    }
    is_on_path(&gateway, "tenant-tiers", 940).await;
}

/// A chat request of a tier.
async fn ask(gateway: &Gateway, tier: &str) -> Reply {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    let request = gateway.client().post(gateway.url("/v1/chat/completions")).json(&body);
    let answer = request.header("x-tier", tier).send().await.expect("an answer");
    Reply::read(answer).await.expect("a whole answer")
}

#[tokio::test]
async fn python_example_spends_its_allowance() {
    let engines = [Engine::start("gpu"), Engine::start("api")];
    let routing =
        "routing_parameter: {dollars: 0.2}\nsandbox: {component_mib: 32, compile_timeout: 600}";
    let engines = engines.each_ref();
    let Some(gateway) = serve(&PYTHON, "python/allowance", routing, engines, &[]) else { return };
    let weights = async || gateway.weights("m").await["api"];
    assert!((weights().await - 0.75).abs() < 1e-9, "8 and 24 are free");
    // An answer costs about 0.01 dollars.
    let tally = Traffic::of(&gateway, "m", 2, 100).await;
    assert_eq!(tally.failures, [""; 0]);
    assert!(tally.share(&["api"]) > 0.5, "{:?}", tally.answered);
    eventually("the money is spent", async || (weights().await == 0.0).then_some(())).await;
    let tally = Traffic::of(&gateway, "m", 2, 100).await;
    assert_eq!((tally.share(&["gpu"]), tally.failures.len()), (1.0, 0));
    let log = gateway.log();
    assert!(log.contains("$0.2 are spent for this period"), "{log}");
}
