//! `gateway strategy new`: each project builds with its own `build.sh` and carries traffic.

use std::path::Path;
use std::process::Output;

use serde_json::json;
use tempfile::TempDir;
use tests::{
    CLANG, COMPILING, Engine, Gateway, NODE, PYTHON, RUST, Toolchain, Traffic, eventually, try_out,
};

/// Where the projects expect engines.
const LOCAL: &str = "http://127.0.0.1:8000";
const REMOTE: &str = "http://127.0.0.1:8001";

/// Runs `gateway strategy new NAME --dir FOLDER` with further arguments.
fn new(name: &str, folder: &Path, more: &[&str]) -> Output {
    let setup = tests::setup!().arg("strategy").arg("new").arg(name).arg("--dir").arg(folder);
    more.iter().fold(setup, |setup, argument| setup.arg(argument)).output()
}

/// Projects in one language.
struct Projects {
    toolchain: &'static Toolchain,
    root: TempDir,
}

impl Projects {
    /// None: this machine lacks what building them needs.
    fn new(toolchain: &'static Toolchain) -> Option<Self> {
        let root = tempfile::tempdir().expect("a temporary folder");
        toolchain.is_here().then_some(Self { toolchain, root })
    }

    /// Writes a project, builds it, and starts a gateway in front of two engines as its own files
    /// say.
    fn serve(&self, name: &str, more: &[&str], engines: [&Engine; 2]) -> Gateway {
        let folder = self.root.path().join(name);
        let lang = if self.toolchain.name == "node" { "javascript" } else { self.toolchain.name };
        let output = new(name, &folder, &[&["--lang", lang], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let component = self.build(&folder, name);
        let compiled = folder.join("compiled");
        let tried = tests::setup!().env("GATEWAY_CACHE", &compiled);
        try_out(tried, &folder.join(format!("{name}.wasm")), &[]);
        let read = |file: &str| {
            let text = std::fs::read_to_string(folder.join(file)).expect("a file of the project");
            text.replace(LOCAL, &engines[0].url()).replace(REMOTE, &engines[1].url())
        };
        tests::setup!()
            .models(read("try/models.yaml"))
            .routing(patient(&read("try/routing.yaml")))
            .file(&format!("plugins/{name}.wasm"), component)
            .env("GATEWAY_CACHE", &compiled)
            .start_within(COMPILING)
    }

    /// The first project installs and compiles its dependencies, and the next one uses them.
    fn build(&self, folder: &Path, name: &str) -> Vec<u8> {
        for kept in ["target", "node_modules"] {
            let of_another = self.root.path().join("busy").join(kept);
            if of_another.exists() && !folder.join(kept).exists() {
                std::fs::rename(of_another, folder.join(kept)).expect("on one file system");
            }
        }
        // A virtual environment cannot be moved, but `build.sh` looks for its compiler in PATH
        // first.
        let tools = self.root.path().join("busy/.venv/bin");
        self.toolchain.build_with(Some(&tools), folder, name).expect("a toolchain")
    }
}

/// With long time-outs: a busy machine must not look like a slow strategy.
fn patient(routing: &str) -> String {
    let begun = "sandbox: {";
    match routing.contains(begun) {
        true => routing.replace(begun, &format!("{begun}request_timeout: 30, ")),
        false => format!("{routing}{begun}request_timeout: 30, compile_timeout: 600}}\n"),
    }
}

/// Both kinds of project. Idle deployments share 2 to 1: the projects count remote ones half.
async fn each_kind_carries_traffic(toolchain: &'static Toolchain) {
    let Some(projects) = Projects::new(toolchain) else { return };
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));

    let gateway = projects.serve("busy", &[], [&local, &remote]);
    idle_weights(&gateway).await;
    let tally = Traffic::of(&gateway, "m", 2, 400).await;
    assert_eq!(tally.failures, [""; 0]);
    // The strategy is asked once a second, and weighs what is in flight then.
    assert!((0.3..0.9).contains(&tally.share(&["local"])), "{:?}", tally.answered);
    drop(gateway);

    let gateway = projects.serve("asked", &["--request"], [&local, &remote]);
    idle_weights(&gateway).await;
    // One request at a time, so that each finds both deployments idle.
    let tally = Traffic::of(&gateway, "m", 1, 900).await;
    assert_eq!(tally.failures, [""; 0]);
    assert!((0.6..0.74).contains(&tally.share(&["local"])), "{:?}", tally.answered);
    let long = "many words ".repeat(10_000);
    for _ in 0..20 {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": long}]});
        let reply = gateway.post("/v1/chat/completions", body.to_string()).await;
        assert_eq!(reply.engine(), "local", "{}", reply.status);
    }
    assert!(gateway.strategy_calls("asked", "ok").await > 920);
    let routing = gateway.routing().await;
    assert_eq!(routing["strategy"]["on_path"]["state"], "on", "{routing}");
}

async fn idle_weights(gateway: &Gateway) {
    let idle = async || {
        let weights = gateway.weights("m").await;
        let near = (weights["gpu"] - 2.0 / 3.0).abs() < 1e-9;
        (near && weights.len() == 2).then_some(())
    };
    eventually("idle deployments share 2 to 1", idle).await;
}

#[tokio::test]
async fn a_project_in_rust_carries_traffic() {
    each_kind_carries_traffic(&RUST).await;
}

#[tokio::test]
async fn a_learning_project_carries_traffic() {
    let Some(projects) = Projects::new(&RUST) else { return };
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let gateway = projects.serve("learns", &["--learning"], [&local, &remote]);
    idle_weights(&gateway).await;
    let tally = Traffic::of(&gateway, "m", 2, 100).await;
    assert_eq!(tally.failures, [""; 0]);
    // All attempts are good, so what it learns changes nothing.
    idle_weights(&gateway).await;
}

#[tokio::test]
async fn a_project_in_python_carries_traffic() {
    each_kind_carries_traffic(&PYTHON).await;
}

#[tokio::test]
async fn a_project_in_javascript_carries_traffic() {
    each_kind_carries_traffic(&NODE).await;
}

#[tokio::test]
async fn a_project_in_c_carries_traffic() {
    each_kind_carries_traffic(&CLANG).await;
}

#[test]
fn existing_files_are_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mine = folder.path().join("README.md");
    std::fs::write(&mine, "mine").expect("a writable folder");
    let output = new("busy", folder.path(), &["--lang", "c"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("is not empty"), "{said}");
    assert_eq!(std::fs::read_to_string(&mine).expect("still there"), "mine");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn invalid_name_is_refused_before_writing() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = parent.path().join("project");
    let long = "a".repeat(65);
    for (name, says) in [
        ("Busy", "lower-case letters"),
        ("1st", "begins with a letter"),
        ("a/b", "lower-case letters"),
        ("a-", "does not end with `-`"),
        ("", "lower-case letters"),
        (&long, "at most 64"),
        ("fixed", "is a built-in strategy"),
    ] {
        let output = new(name, &folder, &["--lang", "rust"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{name}: {said}");
        assert!(!folder.exists(), "{name}");
    }
    for (more, says) in [
        (["--lang", "c", "--learning"], "write `--lang rust`"),
        (["--lang=rust", "--request", "--learning"], "cannot be used with"),
    ] {
        let output = new("learns", &folder, &more);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{said}");
        assert!(!folder.exists(), "{more:?}");
    }
}
