//! What a strategy cannot do: one test for each promise of `docs/security/sandbox.md` that no other file
//! tests.

use serde_json::json;
use tests::{CoreGuest, Engine, Gateway, Setup, Traffic, eventually, one_model, routed};

const LOCAL: &str =
    "(return (call $answer (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 0)))";
const REMOTE: &str =
    "(return (call $answer (local.get $locals) (f64.const 0) (local.get $remotes) (f64.const 1)))";
const LOG: &str =
    r#"(import "hybrid:routing/logging@0.2.0" "log" (func $log (param i32 i32 i32)))"#;
const STORE: &str = r#"
    (import "hybrid:routing/store@0.2.0" "set" (func $set (param i32 i32 i32 i32 i32 i32 i32)))
    (import "hybrid:routing/store@0.2.0" "get" (func $get (param i32 i32 i32)))"#;

/// Logs everything that the host wrote to the guest's memory in this call, unprintable bytes as
/// dots.
const TELL: &str = "
    (func $tell (local $from i32) (local $i i32) (local $byte i32)
        (local.set $from (i32.const 8192))
        (loop $message
            (local.set $i (i32.const 0))
            (loop $next
                (local.set $byte (i32.load8_u (i32.add (local.get $from) (local.get $i))))
                (if (i32.or (i32.lt_u (local.get $byte) (i32.const 32))
                            (i32.gt_u (local.get $byte) (i32.const 126)))
                    (then (local.set $byte (i32.const 46))))
                (i32.store8 offset=900000 (local.get $i) (local.get $byte))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const 1000))))
            (call $log (i32.const 1) (i32.const 900000) (i32.const 1000))
            (local.set $from (i32.add (local.get $from) (i32.const 1000)))
            (br_if $message (i32.lt_u (local.get $from) (global.get $heap)))))";

/// The engines `local` and `remote`, and a gateway in front of them with this guest.
struct Place {
    local: Engine,
    remote: Engine,
}

impl Place {
    fn new() -> Self {
        Self { local: Engine::start("local"), remote: Engine::start("remote") }
    }

    fn setup(&self, guest: &CoreGuest<'_>, more: &str) -> Setup {
        let (local, remote) = (self.local.url(), self.remote.url());
        // Long time-outs: only the tested limit ends a call, however busy the machine is.
        let sandbox = "sandbox: {compile_timeout: 60, call_timeout: 5, request_timeout: 30}";
        let head = format!("{}\n{more}\n{sandbox}", guest.name);
        tests::setup!()
            .models(one_model(&[&local, &remote]))
            .file(&format!("plugins/{}.wasm", guest.name), guest.component())
            .routing(routed(&head, &[&local], &[&remote]))
    }
}

/// The fault that takes a guest off the path. Every request is answered meanwhile.
async fn fault(request: &str) -> String {
    let place = Place::new();
    let guest = CoreGuest { request: Some(request), assign: LOCAL, ..CoreGuest::default() };
    let gateway = place.setup(&guest, "").start();
    let tally = Traffic::of(&gateway, "m", 2, 30).await;
    assert_eq!((tally.share(&["local"]), tally.failures.len()), (1.0, 0), "{request}");
    let status = gateway.routing().await["strategy"]["on_path"].clone();
    assert_eq!(status["state"], "off", "{request}");
    status["last_error"].as_str().expect("a fault").to_owned()
}

#[tokio::test]
async fn memory_and_answers_are_bounded_on_the_path() {
    let grab = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    assert!(fault(grab).await.contains("unreachable"));
    // A list of 2^27 weights: one gibibyte.
    let huge = "(i32.store (i32.const 1024) (i32.const 0)) (i32.store (i32.const 1028) (i32.const 0x8000000))
        (return (i32.const 1024))";
    assert!(fault(huge).await.starts_with("trapped: "));
    // As many weights as 16 pages of memory hold.
    let large =
        "(i32.store (i32.const 1024) (i32.const 0)) (i32.store (i32.const 1028) (i32.const 131072))
        (i32.store (i32.const 1032) (i32.const 0)) (i32.store (i32.const 1036) (i32.const 131072))
        (return (i32.const 1024))";
    let said = fault(large).await;
    assert!(said.contains("fuel") || said.contains("131072 local weights"), "{said}");
}

#[tokio::test]
async fn strategy_sees_nothing_of_the_process() {
    // Environment, arguments, the working folder, files, and standard input.
    let packages = "
        package wasi:cli@0.2.6 { interface environment {
            get-environment: func() -> list<tuple<string, string>>;
            get-arguments: func() -> list<string>;
            initial-cwd: func() -> option<string>;
        } }
        package wasi:filesystem@0.2.6 {
            interface types { resource descriptor; }
            interface preopens {
                use types.{descriptor};
                get-directories: func() -> list<tuple<descriptor, string>>;
            }
        }";
    let wanted = "import wasi:cli/environment@0.2.6; import wasi:filesystem/preopens@0.2.6;";
    let imports = r#"
        (import "wasi:cli/environment@0.2.6" "get-environment" (func $environment (param i32)))
        (import "wasi:cli/environment@0.2.6" "get-arguments" (func $arguments (param i32)))
        (import "wasi:cli/environment@0.2.6" "initial-cwd" (func $folder (param i32)))
        (import "wasi:filesystem/preopens@0.2.6" "get-directories" (func $files (param i32)))"#;
    // The length of each list, and whether there is a folder.
    let look = "(call $environment (i32.const 900)) (call $arguments (i32.const 908))
        (call $folder (i32.const 916)) (call $files (i32.const 928))
        (if (i32.or (i32.or (i32.load (i32.const 904)) (i32.load (i32.const 912)))
                    (i32.or (i32.load8_u (i32.const 916)) (i32.load (i32.const 932))))
            (then unreachable))";
    let body = format!("{look} {REMOTE}");
    let guest = CoreGuest {
        imports,
        assign: &body,
        request: Some(&body),
        more: (packages, wanted),
        ..CoreGuest::default()
    };
    let place = Place::new();
    // The gateway itself has variables, arguments and a working folder.
    let gateway = place.setup(&guest, "").env("SECRET", "sk-1").arg("serve").start();
    let tally = Traffic::of(&gateway, "m", 2, 30).await;
    assert_eq!((tally.share(&["remote"]), tally.failures.len()), (1.0, 0));
}

#[tokio::test]
async fn strategy_sees_no_key_prompt_or_endpoint() {
    // The guest logs, byte for byte, everything that the host writes to its memory: parameters,
    // places and requests.
    let imports = format!("{LOG}{TELL}");
    let (configure, request) = ("(call $tell)", format!("(call $tell) {REMOTE}"));
    let guest = CoreGuest {
        imports: &imports,
        needs: 7,
        configure,
        request: Some(&request),
        ..CoreGuest::default()
    };
    let place = Place::new();
    let (local, remote) = (place.local.url(), place.remote.url());
    let models = format!(
        "models:\n  - id: m\n    route:\n      - {{base_url: '{local}', api_key: sk-of-the-engine}}\n      \
         - {{base_url: '{remote}', provider_model_id: name-of-the-provider}}\n"
    );
    let more = "request: {headers: [x-tier], tenant_header: x-tenant}";
    let gateway = place.setup(&guest, more).models(models).start();
    let client = tests::client();
    let body = json!({"model": "m", "user": "name-of-the-user",
        "messages": [{"role": "user", "content": "text-of-the-prompt ".repeat(40)}]});
    let request = client.post(gateway.url("/v1/chat/completions")).json(&body);
    let request =
        request.header("authorization", "Bearer sk-of-the-client").header("x-tier", "gold");
    let request = request.header("x-tenant", "acme").header("x-other", "header-not-listed");
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    let log = eventually("it has told what it was told", async || {
        let log = gateway.log();
        log.contains("gold").then_some(log)
    })
    .await;
    let told: String =
        log.lines().filter(|line| line.contains("\"target\":\"strategy\"")).collect();
    for known in ["local-1", "acme", "x-tier", "gold"] {
        assert!(told.contains(known), "{known}: {told}");
    }
    let port = local.rsplit(':').next().expect("a port");
    for secret in [
        "sk-of",
        "text-of-the-prompt",
        "name-of-the",
        "header-not-listed",
        "127.0.0.1",
        "authorization",
        port,
    ] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
}

#[tokio::test]
async fn store_is_bounded_and_survives_trap_and_swap() {
    // A value that is too long and an empty key are refused each time.
    let fill = "(loop $next
            (i32.store (i32.const 700) (local.get $i))
            (call $set (i32.const 700) (i32.const 1) (i32.const 0) (i32.const 4097)
                (i32.const 0) (i32.const 0) (i32.const 720))
            (if (i32.eqz (i32.load8_u (i32.const 720))) (then unreachable))
            (call $set (i32.const 696) (i32.const 0) (i32.const 0) (i32.const 1)
                (i32.const 0) (i32.const 0) (i32.const 720))
            (if (i32.eqz (i32.load8_u (i32.const 720))) (then unreachable))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 100))))";
    // The guest counts its calls in the store. The second call traps, and the third and later ones
    // choose the remote side.
    let count = format!(
        "(call $get (i32.const 640) (i32.const 1) (i32.const 720))
        (i32.store (i32.const 736) (i32.const 0))
        (if (i32.load8_u (i32.const 720)) (then
            (i32.store (i32.const 736) (i32.load8_u (i32.load (i32.const 724))))))
        (i32.store (i32.const 736) (i32.add (i32.load (i32.const 736)) (i32.const 1)))
        (call $set (i32.const 640) (i32.const 1) (i32.const 736) (i32.const 1)
            (i32.const 0) (i32.const 0) (i32.const 720))
        (if (i32.eq (i32.load (i32.const 736)) (i32.const 2)) (then unreachable))
        (if (i32.ge_u (i32.load (i32.const 736)) (i32.const 3)) (then {REMOTE})) {LOCAL}"
    );
    let place = Place::new();
    let guest = CoreGuest {
        imports: STORE,
        configure: fill,
        assign: LOCAL,
        request: Some(&count),
        ..CoreGuest::default()
    };
    let gateway = place.setup(&guest, "").start();
    // The first call chooses local. The second traps, so the published weights choose local. The
    // third runs in a fresh instance and chooses remote.
    let engines = ask(&gateway, 3).await;
    assert_eq!(engines, ["local", "local", "remote"]);
    // Another component of the same name has the same store.
    let changed = CoreGuest { refresh: Some(60_000), ..guest };
    let before = gateway.reloads("loaded").await;
    gateway.replace("plugins/guest.wasm", changed.component());
    gateway.loaded_since(before).await;
    assert_eq!(ask(&gateway, 1).await, ["remote"]);
}

async fn ask(gateway: &Gateway, times: usize) -> Vec<String> {
    let mut engines = Vec::new();
    for _ in 0..times {
        engines.push(gateway.chat("m").await.engine().to_owned());
    }
    engines
}
