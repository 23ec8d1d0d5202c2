//! Two thousand clients that send or read as slowly as they can (`slowhttptest`, a Debian package)
//! delay no other client.

use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, getrlimit};
use tests::{Engine, Gateway, Log, Reply, eventually, one_model};

/// Clients, each with a connection of its own.
const CLIENTS: u64 = 2000;
/// File descriptors that the clients need, and as many for the gateway.
const DESCRIPTORS: u64 = 5000;

/// What this machine lacks for the test.
fn lacking() -> Option<&'static str> {
    let mut look = Command::new("slowhttptest");
    if look.arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Some("slowhttptest, which is not installed");
    }
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    (most < DESCRIPTORS).then_some("more file descriptors than this machine allows")
}

/// Starts the slow clients, for longer than the test.
fn slow(gateway: &Gateway, mode: &[&str], path: &str) -> Child {
    let url = gateway.url(path);
    let clients = CLIENTS.to_string();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec slowhttptest \"$@\""), "sh"]);
    command.args(mode).args(["-c", &clients, "-r", "1000", "-l", "600", "-p", "5", "-u", &url]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("it is installed")
}

/// One request by a new client, whose connection must be accepted.
async fn probe(gateway: &Gateway) {
    let client = tests::client();
    let health = client.get(gateway.url("/health")).send().await;
    assert_eq!(health.expect("an answer").status().as_u16(), 200);
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
    let chat = client.post(gateway.url("/v1/chat/completions")).body(body).send().await;
    let reply = Reply::read(chat.expect("an answer")).await.expect("a whole answer");
    assert_eq!((reply.status, reply.engine()), (200, "beside"), "{}", reply.text());
}

#[tokio::test]
async fn two_thousand_slow_clients_block_nobody() {
    if let Some(lacking) = lacking() {
        assert!(std::env::var_os("CI").is_none(), "it needs {lacking}");
        return eprintln!("passed over: it needs {lacking}");
    }
    let engine = Engine::start("beside");
    let modes: [(&str, &[&str], &str); 3] = [
        ("slow heads", &["-H", "-i", "1"], "/v1/chat/completions"),
        ("slow bodies", &["-B", "-i", "1", "-s", "100000"], "/v1/chat/completions"),
        ("slow readers", &["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "10"], "/metrics"),
    ];
    for (what, mode, path) in modes {
        let gateway = tests::setup!().models(one_model(&[&engine.url()])).start();
        gateway.limit_open_files(Some(DESCRIPTORS));
        probe(&gateway).await;
        let before = gateway.open_files();
        let mut attack = slow(&gateway, mode, path);
        let said = Log::follow(attack.stdout.take().expect("piped"));
        let mut probes = 0;
        eventually(&format!("ten answers beside the {what}"), async || {
            probe(&gateway).await;
            let ended = attack.try_wait().expect("a child");
            assert!(ended.is_none(), "{what}: {}", said.text());
            probes += u32::from(gateway.open_files().saturating_sub(before) > CLIENTS / 2);
            (probes == 10).then_some(())
        })
        .await;
        attack.kill().expect("a child");
        attack.wait().expect("a child");
        probe(&gateway).await;
    }
}
