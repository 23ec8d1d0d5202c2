//! Hostile strategies at load: `gateway check` names the fault and its line, and a running gateway
//! keeps its strategy.

use std::path::Path;

use tests::{
    CoreGuest, Engine, Gateway, Setup, Traffic, component, eventually, guest, guests, one_model,
    routed,
};

/// A strategy that cannot be used.
struct Hostile {
    /// Its file in the plugin folder, without `.wasm`.
    name: String,
    bytes: Vec<u8>,
    /// Further lines for `routing.yaml`.
    more: &'static str,
    /// Where `routing.yaml` is wrong, and what about it.
    place: &'static str,
    cause: String,
    remedy: &'static str,
}

/// The position of the strategy's name.
const NAME: &str = "config/routing.yaml:1:19";
/// The line after the strategy's name.
const SECOND: &str = "config/routing.yaml:2:";

fn hostile(name: &str, bytes: impl Into<Vec<u8>>, cause: impl Into<String>) -> Hostile {
    let (name, bytes, cause) = (name.to_owned(), bytes.into(), cause.into());
    let remedy = remedy(&cause);
    Hostile { name, bytes, more: "", place: NAME, cause, remedy }
}

/// The remedy for a cause. For most causes it is to mend the strategy.
fn remedy(cause: &str) -> &'static str {
    const REMEDIES: [(&str, &str); 9] = [
        ("model `m`", "mend the strategy, or name another"),
        ("still running", "make it smaller or cheaper, or raise the limit where you trust it"),
        ("in instantiation", "it may need more memory (`sandbox.memory_mib`)"),
        ("have export", "take the contract from `gateway strategy new`, and build anew"),
        ("another type", "take the contract from `gateway strategy new`, and build anew"),
        ("no world", "export a world of the contract"),
        ("@0.0.9", "it is of a version that this gateway does not speak"),
        ("imports `", "a strategy has no network, and WASI 0.2 only"),
        ("not a WebAssembly component", "name a component: `gateway strategy new`"),
    ];
    let known = REMEDIES.iter().find(|(part, _)| cause.contains(part));
    known.map_or("mend the strategy", |(_, remedy)| remedy)
}

/// Why a guest of `tests/guests` cannot be used; None: it can.
fn fault(name: &str) -> Option<&'static str> {
    Some(match name {
        "good" | "log-flood" => return None,
        "all-zero" => "for model `m`: refused: the weights sum to 0: at least one is above 0",
        "configure-refuses" => "refuses `routing_parameter`: no thanks",
        "deep-recursion" => "for model `m`: trapped: call stack exhausted",
        "describe-loop" => "still running after 400ms in `describe` (`sandbox.call_timeout`)",
        "endless-loop" => "for model `m`: still running after 400ms",
        "huge-list" => "for model `m`: trapped: list pointer/length out of bounds of memory",
        "memory-at-start" => "trapped in instantiation: memory minimum size of 16384 pages exceeds",
        "memory-grab" | "trap" => "for model `m`: trapped: wasm `unreachable` instruction executed",
        "missing-export" => "does not have export `assign`",
        "nan" => "refused: local weight 0 is NaN: weights are finite and at least 0",
        "negative" => "refused: local weight 0 is -1: weights are finite and at least 0",
        "no-policy" => "is for no world that this gateway speaks (hybrid:routing/strategy@0.1.0, ",
        "old-version" => "@0.3.0-draft); it exports `hybrid:routing/policy@0.0.9`",
        "start-loop" => "still running after 400ms in instantiation (`sandbox.call_timeout`)",
        "unknown-import" => "imports `evil:net/socket@1.0.0`, which a strategy does not get",
        "wrong-lengths" => "for model `m`: refused: 2 local weights for 1 local deployments",
        "wrong-type" => "`assign` is of another type",
        other => panic!("the guest {other} has no test"),
    })
}

/// Every guest that is refused, and files that are not components.
fn all() -> Vec<Hostile> {
    let names = guests().into_iter().filter(|name| name != "later");
    let faulty = names.filter_map(|name| fault(&name).map(|cause| (name, cause)));
    let mut all: Vec<Hostile> =
        faulty.map(|(name, cause)| hostile(&name, guest(&name), cause)).collect();
    let refuses = all.iter_mut().find(|hostile| hostile.name == "configure-refuses");
    let refuses = refuses.expect("a guest");
    (refuses.more, refuses.place) = ("routing_parameter: {a: 1}\n", SECOND);
    refuses.remedy = "which `gateway strategy inspect` lists, or mend its `configure`";
    let not = "is not a WebAssembly component: ";
    let good = guest("good");
    all.extend([
        hostile("empty", "", format!("{not}the file is empty")),
        hostile("a-text", "#!/bin/sh\n", format!("{not}it does not begin like WebAssembly")),
        hostile("wat-text", "(component)", format!("{not}it looks like WebAssembly text")),
        hostile("core", component("(module)"), format!("{not}it is a core module; build for")),
        Hostile {
            remedy: "build it anew; `wasm-tools validate FILE` says more",
            ..hostile("cut", &good[..good.len() / 2], "cut.wasm does not compile: ")
        },
        Hostile {
            remedy: "make it smaller or cheaper, or raise the limit where you trust it",
            ..hostile("large", vec![0; 5 << 20], "has 5242880 bytes; at most 4194304 are allowed")
        },
    ]);
    for (name, request, cause) in [
        ("request-trap", "unreachable", "trapped: wasm `unreachable` instruction executed"),
        ("request-loop", "(loop $forever (br $forever))", "still running after 400ms"),
        (
            "request-nan",
            "(return (call $answer (i32.const 1) (f64.const nan) (i32.const 1) (f64.const 1)))",
            "refused: local weight 0 is NaN: weights are finite and at least 0",
        ),
    ] {
        let assign = "(global.set $off-path (i32.const 0))";
        let guest = CoreGuest { name, assign, request: Some(request), ..CoreGuest::default() };
        let cause = format!("failed its trial for a request to model `m`: {cause}");
        all.push(hostile(name, guest.component(), cause));
    }
    let pinned = "has the sha256 ";
    all.push(Hostile {
        more: "sha256: ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\n",
        place: SECOND,
        remedy: "check where the file came from, then update the digest",
        ..hostile("pinned", good, pinned)
    });
    all
}

fn routing(strategy: &str, more: &str, local: &str, remote: &str) -> String {
    // Long time-outs: a busy machine must not look like a slow component.
    let sandbox = "sandbox: {compile_timeout: 60, call_timeout: 0.4}\n";
    let strategy = format!("{strategy}\n{more}{sandbox}");
    routed(strategy.trim_end(), &[local], &[remote])
}

fn check(strategy: &str, bytes: &[u8], more: &str) -> std::process::Output {
    let (l, r) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
    let setup = tests::setup!().models(one_model(&[l, r])).routing(routing(strategy, more, l, r));
    let plugin = Path::new("plugins").join(format!("{strategy}.wasm"));
    setup.file(&plugin.to_string_lossy(), bytes).arg("check").output()
}

#[test]
fn check_names_fault_and_line_of_a_strategy() {
    for Hostile { name, bytes, more, place, cause, remedy } in all() {
        let output = check(&name, &bytes, more);
        let says = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{name}: {says}");
        assert!(output.stdout.is_empty(), "{name}: {:?}", output.stdout);
        for expected in [place, &cause, remedy] {
            assert!(says.contains(expected), "{name}: no {expected:?} in:\n{says}");
        }
    }
}

#[test]
fn check_accepts_good_and_log_flooding_strategies() {
    for name in ["good", "log-flood"] {
        assert!(fault(name).is_none());
        let output = check(name, &guest(name), "");
        let says = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{name}: {says}");
        assert!(says.contains(&format!("strategy {name} 0.1.0")), "{says}");
        assert!(says.contains("0.5000"), "{says}");
    }
}

#[test]
fn missing_strategy_error_lists_the_known_ones() {
    let check = |strategy: &str| {
        let (l, r) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let setup: Setup = tests::setup!().models(one_model(&[l, r])).file("plugins/mine.wasm", "");
        let output = setup.routing(routing(strategy, "", l, r)).arg("check").output();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    };
    let says = check("local-frist");
    assert!(says.contains(NAME), "{says}");
    assert!(says.contains("did you mean `local-first`?"), "{says}");
    assert!(says.contains("weighted-order; in plugins: mine"), "{says}");
    let says = check("./nowhere.wasm");
    assert!(says.contains(NAME) && says.contains("cannot read ./nowhere.wasm"), "{says}");
}

#[tokio::test]
async fn a_running_gateway_keeps_what_it_has() {
    let (local, remote) = (Engine::start("local"), Engine::start("remote"));
    let (l, r) = (local.url(), remote.url());
    let start = routing("fixed", "routing_parameter: {local_fraction: 0.6}\n", &l, &r);
    let setup = tests::setup!().models(one_model(&[&l, &r])).routing(&start);
    let all = all();
    let setup = all.iter().fold(setup, |setup, hostile| {
        setup.file(&format!("plugins/{}.wasm", hostile.name), &hostile.bytes)
    });
    let gateway = setup.start();
    let before = gateway.routing().await;
    let traffic = Traffic::start(&gateway, "m", 2);
    for hostile in &all {
        let count = gateway.reloads("refused").await;
        gateway.replace("config/routing.yaml", routing(&hostile.name, hostile.more, &l, &r));
        refused(&gateway, hostile, count).await;
        let now = gateway.routing().await;
        assert_eq!(now["strategy"], before["strategy"], "{}", hostile.name);
        assert_eq!(now["models"], before["models"], "{}", hostile.name);
        assert_eq!(now["reload"]["loaded_at"], before["reload"]["loaded_at"]);
    }
    gateway.replace("config/routing.yaml", start);
    eventually("the good file is taken up", async || {
        gateway.routing().await["reload"]["last_error"].is_null().then_some(())
    })
    .await;
    traffic.unharmed().await;
}

/// Waits for a refusal after the `count`th that describes `hostile`. There may be more refusals: one for want of
/// time is tried again by itself.
async fn refused(gateway: &Gateway, hostile: &Hostile, count: u64) {
    let Hostile { name, place, cause, remedy, .. } = hostile;
    eventually(&format!("{name} is refused"), async || {
        (gateway.reloads("refused").await > count).then_some(())
    })
    .await;
    eventually(&format!("/routing says {place}, {cause:?} and {remedy:?}"), async || {
        let error = gateway.routing().await["reload"]["last_error"].as_str()?.to_owned();
        [*place, cause, remedy].iter().all(|text| error.contains(text)).then_some(())
    })
    .await;
}
