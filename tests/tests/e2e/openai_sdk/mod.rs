//! The OpenAI SDKs for Python and Node against the gateway; their scripts are in `openai-sdk/`.

mod streams;
mod table;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tests::{Engine, Gateway, NODE, PYTHON, Port, Toolchain, eventually, logged};

/// One SDK at a time: two would install into the same folder.
static RUNNING: Mutex<()> = Mutex::new(());

/// Runs a script of an SDK against a gateway. None: the toolchain is not installed.
fn run(
    sdk: &Toolchain,
    script: &str,
    gateway: &Gateway,
    variables: &[(&str, &str)],
) -> Option<Output> {
    if !sdk.is_here() {
        return None;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("openai-sdk").join(sdk.name);
    let mut command = Command::new("sh");
    command.arg(folder.join("run.sh")).arg(script).env("GATEWAY_URL", gateway.url(""));
    let _running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    Some(command.envs(variables.iter().copied()).output().expect("a shell"))
}

/// What a script said, if it succeeded.
fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    said
}

#[test]
fn python_sdk_works_with_the_gateway() {
    let (local, remote, dead) = (Engine::start("local"), Engine::start("remote"), Port::take());
    let (l, r) = (local.url(), remote.url());
    let models = format!(
        "models:\n  - id: meta/stub\n    provider_model_id: stub-70b\n    route:\n      \
         - base_url: {l}\n      - base_url: {r}/v1\n  - {{id: dead, base_url: {}}}\n",
        dead.url(),
    );
    let gateway = tests::setup!().models(models).start();
    let variables = [("MODEL", "meta/stub"), ("DEAD_MODEL", "dead")];
    let Some(output) = run(&PYTHON, "test_openai.py", &gateway, &variables) else { return };
    let said = said(&output);
    // A run without tests would succeed as well.
    assert!(said.contains("test_chat_stream") && said.contains("\nOK"), "{said}");
}

/// Lets an SDK make every call of the table, and checks its results.
async fn through_the_table(sdk: &Toolchain, script: &str) {
    let cases = table::cases();
    let upstream = table::upstream(&cases);
    let route = |case: &table::Case| {
        let (id, idle) = (quoted(&case.model), case.pool_idle());
        let settings = format!("base_url: '{}', timeouts: {{pool_idle: {idle}}}", upstream.url());
        format!("  - {{id: '{id}', {settings}}}\n")
    };
    let models: String = cases.iter().map(route).collect();
    let setup = tests::setup!().models(format!("models:\n{models}"));
    let gateway = setup.routing(logged("timeouts: {idle: 1}\nconcurrency: {wait: 1.5}")).start();
    let calls: Vec<Value> = cases.iter().map(table::Case::to_json).collect();
    gateway.write("calls.json", serde_json::to_vec(&calls).expect("JSON"));
    let path = gateway.path("calls.json");
    let variables = [("CALLS", path.to_str().expect("text"))];
    let Some(output) = run(sdk, script, &gateway, &variables) else { return };
    let said = said(&output);
    assert!(said.contains(&format!("{} calls, all as expected", cases.len())), "{said}");
    eprintln!("{}: {} calls, all as expected", sdk.name, cases.len());
    // Log lines follow the answers by some milliseconds.
    let all: usize = cases.iter().map(|case| case.requests).sum();
    let records = eventually("a line for each request", async || {
        Some(gateway.records()).filter(|records| records.len() >= all)
    })
    .await;
    for case in &cases {
        let asked = records.iter().filter(|record| record["model"] == *case.model).count();
        assert_eq!(asked, case.requests, "{}: requests of the SDK", case.model);
    }
}

/// For YAML in single quotes.
fn quoted(model: &str) -> String {
    model.replace('\'', "''")
}

#[tokio::test]
async fn python_sdk_accepts_whole_answers_and_raises_otherwise() {
    through_the_table(&PYTHON, "calls.py").await;
}

#[tokio::test]
async fn node_sdk_accepts_whole_answers_and_raises_otherwise() {
    through_the_table(&NODE, "calls.js").await;
}
