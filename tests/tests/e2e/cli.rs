//! The command line: addresses, files, and errors.

use std::process::Output;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Gateway, Port, Reply, Setup, one_model, split};

/// A model at a port where nobody listens.
fn nowhere() -> Setup {
    tests::setup!().models(one_model(&["http://127.0.0.1:1"]))
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

/// Checks that a command failed with this exit code, printed nothing, and all of `says` on standard
/// error.
fn failed(setup: Setup, code: i32, says: &[&str]) {
    let output = setup.output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(stdout(&output), "");
    for text in says {
        assert!(said.contains(text), "no {text:?} in: {said}");
    }
}

fn address(port: &Port) -> String {
    port.address().to_string()
}

fn number(port: &Port) -> String {
    port.address().port().to_string()
}

#[test]
fn port_flag_wins_over_variable() {
    let (one, other) = (Port::take(), Port::take());
    assert_eq!(nowhere().env("PORT", number(&one)).start().address(), address(&one));
    let both = nowhere().env("PORT", number(&one)).arg("--port").arg(number(&other));
    assert_eq!(both.start().address(), address(&other));
    // `serve` is the default subcommand.
    let serve = nowhere().env("PORT", number(&one)).arg("serve");
    assert_eq!(serve.start().address(), address(&one));
    let free = nowhere().start();
    assert!(free.address().starts_with("127.0.0.1:"));
    assert!(!free.address().ends_with(":0"), "{}", free.address());
    let host = nowhere().env("HOST", "localhost").start();
    assert!(host.address().starts_with("127.0.0.1:") || host.address().starts_with("[::1]:"));
}

#[test]
fn empty_variables_count_as_unset() {
    let setup = ["HOST", "MODELS_CONFIG", "ROUTING_CONFIG", "PLUGINS_DIR", "ADMIN_TOKEN"]
        .iter()
        .fold(nowhere(), |setup, name| setup.env(name, ""));
    drop(setup.start());
    let port = Port::take();
    let setup = nowhere().env("PORT", "").arg("--port").arg(number(&port));
    assert_eq!(setup.start().address(), address(&port));
}

#[test]
fn unusable_port_is_a_clear_error() {
    for bad in ["abc", "-1", "65536", "80a"] {
        let invalid = format!("invalid value '{bad}' for '--port <PORT>'");
        failed(nowhere().env("PORT", bad), 2, &[&invalid]);
    }
    let first = nowhere().start();
    let port = first.address().rsplit(':').next().expect("a port");
    let says = format!("error: cannot listen on 127.0.0.1:{port}: ");
    failed(nowhere().env("PORT", port), 1, &[&says, "in use"]);
    let says = "error: cannot listen on nowhere.invalid:0: ";
    failed(nowhere().env("HOST", "nowhere.invalid"), 1, &[says]);
}

#[test]
fn missing_file_error_names_the_flag_and_variable() {
    let says = ["cannot be read", "config/models.yaml", "`--models` or `MODELS_CONFIG`"];
    failed(tests::setup!(), 1, &says);
    failed(tests::setup!().arg("check"), 1, &says);
    let says = ["cannot be read", "none.yaml", "`--routing` or `ROUTING_CONFIG`"];
    failed(nowhere().arg("check").arg("--routing").arg("none.yaml"), 1, &says);
    failed(nowhere().arg("check").env("ROUTING_CONFIG", "none.yaml"), 1, &says);
}

#[test]
fn unknown_words_name_the_nearest_known_one() {
    failed(nowhere().arg("chekc"), 2, &["'chekc'", "'check'"]);
    failed(nowhere().arg("--prot").arg("1"), 2, &["'--prot'", "'--port'"]);
    // `--models` before `check` belongs to no subcommand.
    failed(nowhere().arg("--models").arg("x").arg("check"), 2, &["cannot be used with"]);
}

#[test]
fn file_flags_win_over_variables() {
    let model = |id: &str| format!("models:\n  - {{id: {id}, base_url: http://127.0.0.1:1}}\n");
    let routing = "routing_strategy: mine\nlocal_deployment: []\nremote_deployment:\n  - {endpoint: http://127.0.0.1:1, models: [one]}\n";
    let setup = || {
        let setup = tests::setup!().file("one.yaml", model("one")).file("two.yaml", model("two"));
        setup.file("r.yaml", routing).file("mine.wasm", tests::guest("good"))
    };
    let says = |setup: Setup| {
        let output = setup.arg("check").output();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        stdout(&output).to_owned()
    };
    assert!(says(setup().env("MODELS_CONFIG", "one.yaml")).contains("model one\n"));
    let output = setup().env("MODELS_CONFIG", "one.yaml").arg("check").arg("--models");
    assert!(stdout(&output.arg("two.yaml").output()).contains("model two\n"));
    let setup = setup().env("MODELS_CONFIG", "one.yaml").env("ROUTING_CONFIG", "r.yaml");
    let said = says(setup.env("PLUGINS_DIR", "."));
    assert!(said.starts_with("strategy good 0.1.0"), "{said}");
}

#[test]
fn check_sums_up_what_the_files_come_to() {
    let models = one_model(&["http://10.0.0.1:8000/v1", "https://api.example.com"]);
    let routing = split(0.6, &["http://10.0.0.1:8000"], &["https://api.example.com/"], "");
    // `check` ignores `PORT`.
    let setup = tests::setup!().models(models).routing(routing).env("PORT", "abc").arg("check");
    let output = setup.output();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = stdout(&output).lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let said: Vec<Vec<&str>> = said.collect();
    assert_eq!((said[0][0], said[0][1]), ("strategy", "fixed"));
    assert_eq!(said[0][3], r#"{"local_fraction":0.6}"#);
    let settings = said[1..].iter().map(|line| line.join(" "));
    let settings: Vec<String> = settings.take_while(|line| line != "model m").collect();
    for line in [
        "fallback: {ambiguous: once, attempts: 3, budget: {per_second: 10, percent: 20}, standby: last}",
        "limits: {bodies_mib: 1024, body_mib: 32, connections: 10000, requests: 5000}",
        "health_check: 0",
        "shutdown: {accept: 5, grace: 30}",
    ] {
        assert!(settings.iter().any(|said| said == line), "{line}: {settings:?}");
    }
    let said = &said[2 + settings.len()..];
    assert_eq!(said[0], ["local-1", "local", "0.6000", "http://10.0.0.1:8000/v1/chat/completions"]);
    assert_eq!(
        said[1],
        ["remote-1", "remote", "0.4000", "https://api.example.com/v1/chat/completions"]
    );
    assert_eq!(said.len(), 2);
    assert!(!stdout(&output).contains("0ns") && !stdout(&output).contains("Last"));
}

#[test]
fn check_warns_of_a_limit_for_both_sides() {
    let models = one_model(&["http://10.0.0.1:8000/v1", "https://api.example.com"]);
    let routing = split(0.6, &["http://10.0.0.1:8000"], &["https://api.example.com/"], "");
    let warned = |concurrency: &str| {
        let routing = format!("{routing}\nconcurrency: {concurrency}\n");
        let output = tests::setup!().models(&models).routing(routing).arg("check").output();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    let said = warned("{max: 4}");
    assert!(said.starts_with("warning: this limits local and remote deployments alike"), "{said}");
    assert!(said.contains("config/routing.yaml:") && said.contains("{local: {max: 4}}"), "{said}");
    assert_eq!(warned("{local: {max: 4}}"), "");
}

#[test]
fn a_log_that_cannot_be_opened_is_told_with_place() {
    let models = "models: [{id: a, base_url: 'http://127.0.0.1:1'}]\n";
    for (output, why, remedy) in [
        ("none/access.log", "No such file or directory", "make its folder"),
        ("config", "Is a directory", "name a file in that folder"),
    ] {
        let routing = format!("logging:\n  output: {output}\n");
        let place = format!("config/routing.yaml:2:11: cannot open the access log {output}: {why}");
        failed(tests::setup!().models(models).routing(routing), 1, &[&place, remedy]);
    }
}

#[test]
fn schema_prints_the_committed_schemas() {
    for file in ["models", "routing"] {
        let output = tests::setup!().arg("schema").arg(file).output();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/schema");
        let committed = std::fs::read_to_string(format!("{folder}/{file}.schema.json"));
        let committed: Value = serde_json::from_str(&committed.expect("a file")).expect("JSON");
        assert_eq!(printed, committed);
    }
    failed(tests::setup!().arg("schema"), 2, &["<FILE>"]);
}

/// A stub engine as a process. `Gateway` is the harness of any process that prints where it
/// listens.
fn stub(flags: &[&str]) -> Gateway {
    flags.iter().fold(tests::setup!().arg("stub"), |setup, flag| setup.arg(flag)).start()
}

#[tokio::test]
async fn stub_runs_one_engine_alone_with_its_flags() {
    let flags = ["--name", "gpu-a", "--latency-ms", "150", "--tokens-per-second", "40"];
    let mut engine = stub(&[&flags[..], &["--model", "one", "--model", "two"]].concat());
    let status = engine.get("/stub").await.json();
    assert_eq!(status["name"], "gpu-a");
    let start = std::time::Instant::now();
    let answer = Reply::read(engine.stream("m").await.expect("an answer")).await.expect("whole");
    assert_eq!((answer.status, answer.engine()), (200, "gpu-a"));
    // The latency, and at least a word or two at 25 ms each.
    assert!(start.elapsed().as_millis() >= 175, "{:?}", start.elapsed());
    let models = engine.get("/v1/models").await.json();
    assert_eq!(models["data"][1]["id"], "two");
    engine.signal(Signal::INT);
    assert_eq!(engine.ended().await.code(), Some(0));
    let failing = stub(&["--failure-rate", "1", "--api-key", "sk-1"]);
    assert_eq!(failing.chat("m").await.status, 401);
    let request = failing.client().post(failing.url("/v1/chat/completions")).bearer_auth("sk-1");
    let request =
        request.json(&json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}));
    assert_eq!(request.send().await.expect("an answer").status(), 500);
}
