//! Names whose look-ups hang, as if no name server were reachable, delay nobody else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Engine, Gateway, Traffic, eventually};
use tokio::task::JoinSet;

const NAMES: usize = 20;
/// Requests for each name. One look-up serves them all.
const EACH: usize = 3;

/// Builds a library in which the look-ups of some names hang. A machine that builds Rust has a C
/// compiler.
fn resolver(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/hanging_names/resolver.c");
    let library = folder.join("resolver.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compiler.status().expect("a C compiler").success());
    library
}

/// A gateway with a model for each hanging name, and with `m`, whose engine has a name, too.
fn start(engine: &Engine) -> Gateway {
    let port = engine.url().rsplit(':').next().expect("a port").to_owned();
    let hanging = (0..NAMES).map(|n| (format!("m{n}"), format!("http://hangs-{n}.test:8000")));
    let all = hanging.chain([("m".to_owned(), format!("http://localhost:{port}"))]);
    let model = |(id, url)| format!("  - {{id: {id}, route: [{{base_url: '{url}'}}]}}\n");
    let models = format!("models:\n{}", all.map(model).collect::<String>());
    let setup = tests::setup!().models(models).routing("timeouts: {connect: 600, total: 600}\n");
    let library = resolver(setup.folder());
    setup.env("LD_PRELOAD", library).start()
}

/// The threads on which look-ups are.
fn look_ups(gateway: &Gateway) -> usize {
    let tasks = format!("/proc/{}/task", gateway.pid().as_raw_nonzero());
    let tasks = fs::read_dir(tasks).expect("it runs").flatten();
    // A thread may end meanwhile.
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "resolver").count()
}

#[tokio::test]
async fn twenty_hanging_names_delay_no_other() {
    let engine = Engine::start("engine");
    let gateway = start(&engine);
    let mut hanging = JoinSet::new();
    for n in 0..NAMES * EACH {
        let (client, url) = (gateway.client().clone(), gateway.url("/v1/chat/completions"));
        let body = format!(r#"{{"model": "m{}", "messages": []}}"#, n % NAMES);
        hanging.spawn(async move { client.post(url).body(body).send().await });
    }
    let all = async || (look_ups(&gateway) == NAMES).then_some(());
    eventually("all names hang", all).await;

    // Its name is looked up meanwhile, for the first time.
    let answered = Traffic::of(&gateway, "m", 8, 500).await;
    assert_eq!((answered.total(), &answered.failures[..]), (500, &[][..]));
    assert!(hanging.try_join_next().is_none(), "a hanging name was answered");
    // The name of the engine may be looked up again.
    assert!((NAMES..=NAMES + 1).contains(&look_ups(&gateway)), "one look-up for each name");
}
