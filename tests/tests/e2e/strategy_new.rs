//! `gateway strategy new`: each project builds with its own `build.sh` and carries traffic.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::json;
use tempfile::TempDir;
use tests::{
    CLANG, COMPILING, Engine, Gateway, NODE, PYTHON, RUST, Toolchain, Traffic, ZIG, eventually,
    try_out,
};

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

    /// Writes a project.
    fn write(&self, name: &str, more: &[&str]) -> PathBuf {
        let folder = self.root.path().join(name);
        let lang = if self.toolchain.name == "node" { "javascript" } else { self.toolchain.name };
        let output = new(name, &folder, &[&["--lang", lang], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder
    }

    /// Writes a project, builds it, and starts a gateway in front of two engines as its own files
    /// say.
    fn serve(&self, name: &str, more: &[&str], engines: [&Engine; 2]) -> Gateway {
        let folder = self.write(name, more);
        let component = self.build(&folder, name);
        let compiled = folder.join("compiled");
        let tried = tests::setup!().env("GATEWAY_CACHE", &compiled);
        try_out(tried, &folder.join(format!("{name}.wasm")), &[]);
        let read =
            |file: &str| std::fs::read_to_string(folder.join(file)).expect("a file of the project");
        let models = read("try/models.yaml");
        let found = base_urls(&models);
        let with_engines = |text: &str| {
            text.replace(found[0], &engines[0].url()).replace(found[1], &engines[1].url())
        };
        tests::setup!()
            .models(with_engines(&models))
            .routing(patient(&with_engines(&read("try/routing.yaml"))))
            .file(&format!("plugins/{name}.wasm"), component)
            .env("GATEWAY_CACHE", &compiled)
            .start_within(COMPILING)
    }

    /// The first project installs and compiles its dependencies, and the next one uses them.
    fn build(&self, folder: &Path, name: &str) -> Vec<u8> {
        let moved: &[&str] = match self.toolchain.name {
            // It is called by its path alone.
            "zig" => &[".venv"],
            _ => &["target", "node_modules"],
        };
        let earlier = ["busy", "asked"].map(|earlier| self.root.path().join(earlier));
        for kept in moved {
            let found = earlier.iter().map(|earlier| earlier.join(kept)).find(|path| path.exists());
            if let Some(found) = found.filter(|_| !folder.join(kept).exists()) {
                std::fs::rename(found, folder.join(kept)).expect("on one file system");
            }
        }
        // The programs of a virtual environment cannot be moved, but `build.sh` looks for its
        // compiler in PATH first.
        let tools = self.root.path().join("busy/.venv/bin");
        let gateway = tests::gateway!();
        self.toolchain.build_with(Some(&tools), gateway, folder, name).expect("a toolchain")
    }
}

/// The engines of a `models.yaml`, in its order.
fn base_urls(models: &str) -> Vec<&str> {
    let after = models.lines().filter_map(|line| line.split_once("base_url: "));
    after.map(|(_, url)| url.trim_end_matches('}')).collect()
}

/// With long time-outs: a busy machine must not look like a slow strategy.
fn patient(routing: &str) -> String {
    let begun = "sandbox: {";
    match routing.contains(begun) {
        true => routing.replace(begun, &format!("{begun}request_timeout: 30, ")),
        false => format!("{routing}{begun}request_timeout: 30, compile_timeout: 600}}\n"),
    }
}

async fn each_kind_carries_traffic(toolchain: &'static Toolchain) {
    if let Some(projects) = Projects::new(toolchain) {
        projects.carry_traffic().await;
    }
}

impl Projects {
    /// Both kinds of project. Idle deployments share 2 to 1: the projects count remote ones half.
    async fn carry_traffic(&self) {
        let (local, remote) = (Engine::start("local"), Engine::start("remote"));

        let gateway = self.serve("busy", &[], [&local, &remote]);
        idle_weights(&gateway).await;
        let tally = Traffic::of(&gateway, "m", 2, 400).await;
        assert_eq!(tally.failures, [""; 0]);
        // The strategy is asked once a second, and weighs what is in flight then.
        assert!((0.3..0.9).contains(&tally.share(&["local"])), "{:?}", tally.answered);
        drop(gateway);

        let gateway = self.serve("asked", &["--request"], [&local, &remote]);
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

#[tokio::test]
async fn a_project_in_zig_carries_traffic() {
    let Some(projects) = Projects::new(&ZIG) else { return };
    projects.carry_traffic().await;
    // Nobody generates `strategy.zig`, and Zig compiles only what is used.
    let folder = projects.write("learns", &[]);
    let policy = std::fs::read_to_string(folder.join("policy.zig")).expect("a policy");
    let policy = policy.replace("weight.* = ", "weight.* = good[deployment.id] * ");
    let more = include_str!("../../zig/learning.zig");
    std::fs::write(folder.join("policy.zig"), policy + more).expect("a writable file");
    let fixtures = include_str!("../../zig/fixtures.yaml");
    std::fs::write(folder.join("fixtures.yaml"), fixtures).expect("a writable file");
    projects.build(&folder, "learns");
    try_out(tests::setup!(), &folder.join("learns.wasm"), &[]);
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
