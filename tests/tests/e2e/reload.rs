//! Edits of a running gateway: good ones take effect, bad ones never do, and no request fails.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tests::{Engine, Gate, Gateway, Raw, Setup, eventually, let_pass, one_model, split};

const ROUTING: &str = "config/routing.yaml";
/// The time between two looks at the files without an event.
const LOOK: Duration = Duration::from_secs(2);

/// A shipped component.
fn component(name: &str) -> Vec<u8> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    std::fs::read(plugins.join(name).join(format!("{name}.wasm"))).expect("a shipped strategy")
}

/// A gateway with one local and one remote deployment that get no requests.
fn unused(strategy: &str) -> Setup {
    let setup = tests::setup!().models(one_model(&[LOCAL, REMOTE]));
    setup.routing(unused_routing(strategy))
}

const LOCAL: &str = "http://127.0.0.1:1";
const REMOTE: &str = "http://127.0.0.1:2";

/// A `routing.yaml` with this strategy and its default parameters.
fn unused_routing(strategy: &str) -> String {
    let fixed = "fixed\nrouting_parameter:\n  local_fraction: 0.5\n";
    // Long time-outs: a busy machine must not look like a slow component.
    let more = "sandbox: {compile_timeout: 600, call_timeout: 5}";
    split(0.5, &[LOCAL], &[REMOTE], more).replace(fixed, &format!("{strategy}\n"))
}

async fn local_weight(gateway: &Gateway) -> f64 {
    gateway.weights("m").await["local-1"]
}

async fn refused(gateway: &Gateway, words: &str) -> String {
    let refusal = async || Some(gateway.refusal().await).filter(|why| why.contains(words));
    eventually(&format!("a refusal that says {words:?}"), refusal).await
}

async fn strategy(gateway: &Gateway) -> Value {
    gateway.routing().await["strategy"].clone()
}

#[tokio::test]
async fn a_broken_edit_never_takes_effect() {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let (l, r) = (local.url(), remote.url());
    let fixed = |fraction: f64| split(fraction, &[&l], &[&r], "");
    let whole = component("fixed");
    let setup = tests::setup!().models(one_model(&[&l, &r])).routing(fixed(0.6));
    let gateway = setup.file("plugins/cut.wasm", &whole[..whole.len() / 2]).start();
    let broken = [
        (fixed(0.1).replace("[m]", "[m"), "routing.yaml:"),
        (fixed(0.1).replace(": fixed", ": fixd"), "did you mean `fixed`?"),
        (fixed(1.5), "at most 1"),
        (fixed(0.1).replace("local_fraction", "local_fracton"), "local_fracton"),
        (fixed(0.1).replace(": fixed", ": cut"), "cut.wasm"),
        (fixed(0.1).replace("0.1", "${NOT_SET}"), "NOT_SET"),
        (fixed(0.1).replace("[m]", "[n]"), "no model `n`"),
        (fixed(0.1) + "helth_check: 1\n", "helth_check"),
    ];
    let before = gateway.routing().await["reload"]["loaded_at"].clone();
    for (text, words) in broken {
        gateway.replace(ROUTING, &text);
        let why = refused(&gateway, words).await;
        assert!(why.contains("config/routing.yaml:"), "it says where: {why}");
        let logged = async || gateway.log().contains(words).then_some(());
        eventually(&format!("the log says {words:?}"), logged).await;
        let routing = gateway.routing().await;
        assert_eq!(routing["reload"]["loaded_at"], before, "{text}");
        assert_eq!(routing["models"]["m"]["deployments"][0]["weight"], 0.6, "{text}");
        assert_eq!(gateway.chat("m").await.status, 200, "{text}");
    }
    assert_eq!(gateway.reloads("loaded").await, 0);
    gateway.replace(ROUTING, fixed(0.3));
    gateway.loaded_since(0).await;
    assert_eq!(local_weight(&gateway).await, 0.3);
    assert_eq!(gateway.refusal().await, "");
}

#[tokio::test]
async fn a_broken_models_file_never_takes_effect() {
    let gateway = unused("local-first").start();
    let models = one_model(&[LOCAL, REMOTE]);
    gateway.replace("config/models.yaml", models.replace("base_url", "bas_url"));
    refused(&gateway, "config/models.yaml:").await;
    assert_eq!(gateway.get("/v1/models").await.json()["data"][0]["id"], "m");
    assert_eq!(local_weight(&gateway).await, 1.0);
    gateway.replace("config/models.yaml", format!("{models}    aliases: [also]\n"));
    gateway.loaded_since(0).await;
    assert_eq!(gateway.get("/v1/models/also").await.status, 200);
    assert_eq!(gateway.refusal().await, "");
}

#[tokio::test]
async fn missing_or_broken_strategy_loads_once_good() {
    let gateway = unused("local-first").start();
    gateway.replace(ROUTING, unused_routing("mine"));
    refused(&gateway, "`mine`").await;
    gateway.replace("plugins/mine.wasm", "not a component");
    refused(&gateway, "mine.wasm").await;
    gateway.replace("plugins/mine.wasm", component("fixed"));
    gateway.loaded_since(0).await;
    assert_eq!(strategy(&gateway).await["name"], "fixed");
    assert_eq!(local_weight(&gateway).await, 0.5);

    // The same with a path, whose folder does not exist either.
    gateway.replace(ROUTING, unused_routing("./later/other.wasm"));
    refused(&gateway, "other.wasm").await;
    std::fs::create_dir(gateway.path("later")).expect("a new folder");
    gateway.replace("later/other.wasm", component("local-first"));
    gateway.loaded_since(1).await;
    assert_eq!(strategy(&gateway).await["name"], "local-first");
    assert_eq!((gateway.reloads("loaded").await, gateway.reloads("refused").await), (2, 3));
}

#[tokio::test]
async fn new_content_in_the_strategys_file_takes_effect() {
    let setup = unused("mine").file("plugins/mine.wasm", component("fixed"));
    let gateway = setup.start();
    let digest = |bytes: &[u8]| -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!(strategy(&gateway).await["sha256"], digest(&component("fixed")));
    gateway.write("plugins/mine.wasm", &component("local-first")[..1000]);
    refused(&gateway, "mine.wasm").await;
    assert_eq!(strategy(&gateway).await["sha256"], digest(&component("fixed")));
    gateway.write("plugins/mine.wasm", component("local-first"));
    gateway.loaded_since(0).await;
    let shown = strategy(&gateway).await;
    assert_eq!(shown["sha256"], digest(&component("local-first")));
    assert_eq!(shown["name"], "local-first");
    assert_eq!(local_weight(&gateway).await, 1.0);
}

#[tokio::test]
async fn request_in_flight_keeps_its_configuration() {
    let gate = Gate::default();
    let opened = gate.clone();
    let upstream = Raw::start(move |_, wire| {
        wire.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 26\r\n\r\n",
        );
        wire.send("data: begun\n\n");
        opened.wait();
        wire.send("data: ended\n\n");
    });
    let engine = Engine::start("new");
    let models = format!("models:\n  - id: m\n    base_url: {}\n", upstream.url());
    let gateway = tests::setup!().models(&models).start();
    let mut answer = gateway.stream("m").await.expect("an answer");
    let first = answer.chunk().await.expect("a chunk").expect("not the end");
    assert_eq!(first, "data: begun\n\n");

    // The new configuration has neither the model nor the upstream of the stream.
    let models = models.replace(&upstream.url(), &engine.url()).replace("id: m", "id: n");
    gateway.replace("config/models.yaml", models);
    gateway.loaded_since(0).await;
    assert_eq!(gateway.chat("m").await.status, 404);
    assert_eq!(gateway.chat("n").await.engine(), "new");
    gate.open();
    let mut rest = Vec::new();
    while let Some(chunk) = answer.chunk().await.expect("not broken off") {
        rest.extend_from_slice(&chunk);
    }
    assert_eq!(rest, b"data: ended\n\n");
}

#[tokio::test]
async fn sighup_reloads_files_and_reopens_the_log() {
    let engine = Engine::start("only");
    let url = engine.url();
    let setup = tests::setup!().models(one_model(&[&url]));
    let gateway = setup.routing(split(1.0, &[&url], &[], "logging: {output: access.log}")).start();
    // Once the gateway prints that it listens, SIGHUP must not end it.
    gateway.signal(Signal::HUP);
    gateway.loaded_since(0).await;
    let lines = |file: &str| {
        let text = std::fs::read_to_string(gateway.path(file)).unwrap_or_default();
        text.lines().count()
    };
    assert_eq!(gateway.chat("m").await.status, 200);
    eventually("a line", async || (lines("access.log") == 1).then_some(())).await;
    std::fs::rename(gateway.path("access.log"), gateway.path("access.log.1")).expect("a rename");
    gateway.signal(Signal::HUP);
    eventually("a new log", async || gateway.path("access.log").exists().then_some(())).await;
    gateway.loaded_since(1).await;
    assert_eq!(gateway.chat("m").await.status, 200);
    eventually("a line", async || (lines("access.log") == 1).then_some(())).await;
    assert_eq!(lines("access.log.1"), 1);
    assert_eq!(gateway.reloads("loaded").await, 2);
}

#[tokio::test]
async fn unchanged_files_are_rarely_read_and_never_loaded() {
    let bytes = component("fixed");
    let gateway = unused("mine").file("plugins/mine.wasm", &bytes).start();
    // Two real edits, then the same content in a new file.
    gateway.replace(ROUTING, unused_routing("local-first"));
    gateway.loaded_since(0).await;
    gateway.replace(ROUTING, unused_routing("mine"));
    gateway.loaded_since(1).await;
    gateway.replace(ROUTING, unused_routing("mine"));
    let (before, start) = (bytes_read(&gateway), Instant::now());
    let looks = async || (bytes_read(&gateway) - before) / bytes.len() as u64;
    let two = async || Some(looks().await).filter(|looks| *looks >= 2);
    eventually("it looks at its files twice", two).await;
    // Two looks for the event of the last edit, and one in every two seconds.
    let_pass(LOOK).await;
    let most = 6 + 2 * start.elapsed().as_secs() / LOOK.as_secs();
    let looks = looks().await;
    assert!(looks <= most, "it read its files {looks} times, at most {most}");
    assert_eq!(gateway.reloads("loaded").await, 2);
}

/// Bytes that a process has read from files.
fn bytes_read(gateway: &Gateway) -> u64 {
    let path = format!("/proc/{}/io", gateway.pid().as_raw_nonzero());
    let text = std::fs::read_to_string(path).expect("Linux tells");
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.expect("the first line").parse().expect("a number")
}
