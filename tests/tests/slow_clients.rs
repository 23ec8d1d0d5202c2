//! Two thousand clients that send or read as slowly as they can (`slowhttptest`, a Debian package):
//! who asks beside them is answered.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tests::{DEADLINE, Engine, Gateway, Log, Reply, one_model};

/// Clients, each with a connection of its own.
const CLIENTS: u64 = 2000;
/// What they and the gateway need of descriptors, each.
const DESCRIPTORS: u64 = 5000;

/// Why it cannot be run here, if it cannot.
fn lacking() -> Option<&'static str> {
    let mut look = Command::new("slowhttptest");
    if look.arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Some("slowhttptest, which is not installed");
    }
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    (most < DESCRIPTORS).then_some("more file descriptors than this machine allows")
}

/// Starts the slow clients, for six seconds.
fn slow(gateway: &Gateway, mode: &[&str], path: &str) -> Child {
    let url = gateway.url(path);
    let clients = CLIENTS.to_string();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec slowhttptest \"$@\""), "sh"]);
    command.args(mode).args(["-c", &clients, "-r", "500", "-l", "6", "-p", "5", "-u", &url]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("it is installed")
}

/// A client without connections of before: each request has to be accepted.
async fn probe(gateway: &Gateway) -> Duration {
    let start = Instant::now();
    let client = tests::client();
    let health = client.get(gateway.url("/health")).send().await;
    assert_eq!(health.expect("an answer").status().as_u16(), 200);
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
    let chat = client.post(gateway.url("/v1/chat/completions")).body(body).send().await;
    let reply = Reply::read(chat.expect("an answer")).await.expect("a whole answer");
    assert_eq!((reply.status, reply.engine()), (200, "beside"), "{}", reply.text());
    start.elapsed()
}

#[tokio::test]
async fn who_asks_beside_two_thousand_slow_clients_is_answered() {
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
        let (mut attack, start) = (slow(&gateway, mode, path), Instant::now());
        let said = Log::follow(attack.stdout.take().expect("piped"));
        let (mut probes, mut worst, mut most) = (0, Duration::ZERO, 0);
        while attack.try_wait().expect("a child").is_none() {
            assert!(start.elapsed() < 3 * DEADLINE, "{what}: it does not end: {}", said.text());
            worst = worst.max(probe(&gateway).await);
            most = most.max(gateway.open_files() - before);
            probes += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        eprintln!("{what}: {most} connections, {probes} probes beside them, the slowest {worst:?}");
        assert!(probes > 5, "{what}: {probes} probes; {}", said.text());
        assert!(most > CLIENTS / 2, "{what}: no more than {most} connections; {}", said.text());
        probe(&gateway).await;
    }
}
