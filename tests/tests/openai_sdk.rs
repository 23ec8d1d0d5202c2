//! The OpenAI SDK for Python, as users have it, against the gateway: `openai-sdk/test_openai.py`.

use std::process::{Command, Stdio};

use tests::{Engine, Port};

/// Whether this machine has a Python that can make virtual environments.
fn has_python() -> bool {
    let mut python = Command::new("python3");
    let python = python.args(["-c", "import ensurepip, venv"]).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

#[test]
fn the_openai_sdk_works_with_the_gateway() {
    if !has_python() {
        assert!(std::env::var_os("CI").is_none(), "python3 with venv is not installed");
        eprintln!("passed over: it needs python3 with venv, which is not installed");
        return;
    }
    let (local, remote, dead) = (Engine::start("local"), Engine::start("remote"), Port::take());
    let (l, r) = (local.url(), remote.url());
    let models = format!(
        "models:\n  - id: meta/stub\n    provider_model_id: stub-70b\n    route:\n      \
         - base_url: {l}\n      - base_url: {r}/v1\n  - {{id: dead, base_url: {}}}\n",
        dead.url(),
    );
    let gateway = tests::setup!().models(models).start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/openai-sdk/run.sh");
    let output = Command::new("sh")
        .arg(script)
        .env("GATEWAY_URL", gateway.url(""))
        .env("MODEL", "meta/stub")
        .env("DEAD_MODEL", "dead")
        .output()
        .expect("a shell");
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    // A run that finds no tests is a success too.
    assert!(said.contains("test_chat_stream") && said.contains("\nOK"), "{said}\n{errors}");
}
