#![allow(clippy::unwrap_used)]

mod large_fleets;

use std::path::Path;
use std::time::{Duration, Instant};

use config::Sandbox;
use contract::{Candidate, Fault, Place, Price, RawWeights, Role, Side, Situation, Strategy};

use super::*;

/// The parts in which a test's component differs from a working strategy.
#[derive(Default)]
struct Guest {
    imports: &'static str,
    arguments: &'static str,
    more: &'static str,
    describe: &'static str,
    configure: &'static str,
    assign: &'static str,
    export: Option<&'static str>,
}

impl Guest {
    fn component(&self) -> Vec<u8> {
        let core = include_str!("tests/core.wat")
            .replace("{describe}", self.describe)
            .replace("{configure}", self.configure)
            .replace("{assign}", self.assign)
            .replace("{more}", self.more);
        let text = include_str!("tests/shell.wat")
            .replace("{imports}", self.imports)
            .replace("{core}", &core)
            .replace("{arguments}", self.arguments)
            .replace("{export}", self.export.unwrap_or("hybrid:routing/policy@0.1.0"));
        wat::parse_str(text).unwrap()
    }

    fn load(&self, sandbox: &Sandbox) -> Result<Opened, LoadError> {
        load(&self.component(), None, sandbox)
    }

    fn plugin(&self) -> Plugin {
        configured(self.load(&quick()).unwrap(), &serde_json::json!({})).unwrap()
    }
}

fn load(bytes: &[u8], pin: Option<&str>, sandbox: &Sandbox) -> Result<Opened, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guest.wasm");
    std::fs::write(&file, bytes).unwrap();
    PluginHost::new().unwrap().load(&Source::File(file), pin, sandbox)
}

/// Long enough for a busy test machine, short enough to wait for.
fn quick() -> Sandbox {
    Sandbox {
        call: Duration::from_millis(500),
        compile: Duration::from_secs(60),
        ..Sandbox::default()
    }
}

fn place(name: &str) -> Place {
    Place {
        weight: 0.5,
        capacity: 8,
        price: Some(Price { prompt: 1e-6, cached: 1e-6, completion: 2e-6 }),
        context_length: 8192,
        ..Place::new(name, "llama", Side::Local)
    }
}

fn candidates(places: &[Place]) -> Vec<Candidate<'_>> {
    let candidate =
        |(id, place)| Candidate { in_flight: 3, latency: Some(12.5), ..Candidate::idle(id, place) };
    (0..).zip(places).map(candidate).collect()
}

fn ask(plugin: &mut Plugin) -> Result<RawWeights, Fault> {
    let places = [place("a"), place("b"), place("c")];
    let all = candidates(&places);
    plugin.assign(Situation { local: &all[..2], remote: &all[2..], signals: &[] })
}

fn configured(opened: Opened, parameters: &serde_json::Value) -> Result<Plugin, LoadError> {
    opened.configure(parameters, Vec::new(), Role::Live, 1)
}

fn even() -> RawWeights {
    RawWeights { local: vec![1.0, 1.0], remote: vec![1.0] }
}

const ENDLESS: &str = "(loop $l (br $l))";
/// Traps in an instance's second `assign`. The call count is at address 700.
const SECOND: &str =
    "(i32.store (i32.const 700) (i32.add (i32.load (i32.const 700)) (i32.const 1)))
    (if (i32.eq (i32.load (i32.const 700)) (i32.const 2)) (then unreachable))";

#[test]
fn a_good_strategy_is_loaded_and_asked() {
    let opened = Guest::default().load(&quick()).unwrap();
    assert_eq!(opened.description().name, "evenly");
    assert_eq!(opened.description().version, "1.0.0");
    assert_eq!(opened.description().parameters, serde_json::json!({}));
    assert_eq!(opened.description().refresh, None);
    assert_eq!(opened.digest().len(), 64);
    let mut plugin = configured(opened, &serde_json::json!({"x": 1})).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut plugin).unwrap(), even());
    }
    let (places, local) = ([place("c")], &[]);
    let situation = Situation { local, remote: &candidates(&places), signals: &[] };
    assert!(plugin.assign(situation).unwrap().local.is_empty());
}

#[test]
fn the_built_in_strategies_load_and_import_nothing_of_wasi() {
    let host = PluginHost::new().unwrap();
    for name in ["fixed", "local-first"] {
        let source = locate(name, Path::new("none")).unwrap();
        let opened = host.load(&source, None, &quick()).unwrap();
        assert_eq!(opened.description().name, name);
    }
}

#[test]
fn after_a_trap_there_is_a_fresh_instance() {
    let mut plugin = Guest { assign: SECOND, ..Guest::default() }.plugin();
    for _ in 0..3 {
        assert_eq!(ask(&mut plugin).unwrap(), even());
        let fault = ask(&mut plugin).unwrap_err();
        assert_eq!(fault, Fault::Trap("wasm `unreachable` instruction executed".to_owned()));
    }
}

#[test]
fn an_endless_loop_is_stopped() {
    let mut plugin = Guest { assign: ENDLESS, ..Guest::default() }.plugin();
    for _ in 0..2 {
        let begun = Instant::now();
        assert_eq!(ask(&mut plugin).unwrap_err(), Fault::TimedOut(quick().call));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[test]
fn recursion_and_memory_end_at_their_limits() {
    let more = "(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))";
    let mut deep = Guest { more, assign: "(drop (call $deep))", ..Guest::default() }.plugin();
    assert_eq!(ask(&mut deep).unwrap_err(), Fault::Trap("call stack exhausted".to_owned()));
    // The limit of 64 MiB is 1,024 pages, and the guest has 2: it may grow by 1,022 pages, not
    // 1,023.
    let assign = "(if (i32.ne (memory.grow (i32.const 1023)) (i32.const -1)) (then unreachable))
        (if (i32.eq (memory.grow (i32.const 1022)) (i32.const -1)) (then unreachable))";
    assert_eq!(ask(&mut Guest { assign, ..Guest::default() }.plugin()).unwrap(), even());
    let small = Sandbox { memory: 64 << 10, ..quick() };
    let error = Guest::default().load(&small).unwrap_err();
    assert!(matches!(error, LoadError::Trap { stage: LoadStage::Instantiate, .. }), "{error}");
}

#[test]
fn an_absurd_answer_is_a_fault() {
    // The first two lists end past the guest's memory. The third is larger than the host copies.
    for assign in [
        "(i32.store (i32.const 516) (i32.const 16383))",
        "(i32.store (i32.const 516) (i32.const -1))",
        "(drop (memory.grow (i32.const 100))) (i32.store (i32.const 516) (i32.const 500000))",
    ] {
        let fault = ask(&mut Guest { assign, ..Guest::default() }.plugin());
        assert!(matches!(fault, Err(Fault::Trap(_))), "{fault:?}");
    }
}

#[test]
fn a_guest_that_fails_at_load_says_where() {
    let more = "(func $s (loop $l (br $l))) (start $s)";
    let error = Guest { more, ..Guest::default() }.load(&quick()).unwrap_err();
    assert!(matches!(error, LoadError::TimedOut { stage: LoadStage::Instantiate, .. }), "{error}");
    let error = Guest { describe: ENDLESS, ..Guest::default() }.load(&quick()).unwrap_err();
    assert!(matches!(error, LoadError::TimedOut { stage: LoadStage::Describe, .. }), "{error}");
    let error = Guest { describe: "unreachable", ..Guest::default() }.load(&quick()).unwrap_err();
    assert!(matches!(error, LoadError::Trap { stage: LoadStage::Describe, .. }), "{error}");
    let describe = "(i32.store8 (i32.const 0) (i32.const 69))";
    let error = Guest { describe, ..Guest::default() }.load(&quick()).unwrap_err();
    assert!(error.to_string().contains("its name is `Evenly`"), "{error}");
}

#[test]
fn a_refusal_a_trap_and_a_time_out_of_configure_are_told_apart() {
    let configure = |configure| {
        let opened = Guest { configure, ..Guest::default() }.load(&quick()).unwrap();
        configured(opened, &serde_json::json!({})).unwrap_err()
    };
    let error = configure("(i32.store (i32.const 256) (i32.const 1))");
    assert!(matches!(&error, LoadError::Configure { message, .. } if message == "no such share"));
    assert!(matches!(
        configure("unreachable"),
        LoadError::Trap { stage: LoadStage::Configure, .. }
    ));
    assert!(matches!(configure(ENDLESS), LoadError::TimedOut { stage: LoadStage::Configure, .. }));
}

#[test]
fn an_import_that_is_not_allowed_is_named() {
    let imports = r#"(import "wasi:sockets/tcp@0.2.0" (instance))"#;
    let error = Guest { imports, ..Guest::default() }.load(&quick()).unwrap_err();
    assert!(
        matches!(&error, LoadError::Import { import, .. } if import == "wasi:sockets/tcp@0.2.0")
    );
    assert!(error.to_string().contains("wasi:cli, wasi:clocks"), "{error}");
    let imports = r#"(import "wasi:cli/environment@0.2.0" (instance (export "x" (func))))"#;
    let error = Guest { imports, ..Guest::default() }.load(&quick()).unwrap_err();
    assert!(matches!(error, LoadError::Link { .. }), "{error}");
}

#[test]
fn without_a_version_that_is_spoken_both_sides_are_named() {
    let export = Some("hybrid:routing/policy@0.9.0");
    let error = Guest { export, ..Guest::default() }.load(&quick()).unwrap_err();
    assert!(matches!(error, LoadError::Version { .. }), "{error}");
    assert!(error.to_string().contains("(hybrid:routing/strategy@0.1.0, "), "{error}");
    assert!(error.to_string().contains("exports `hybrid:routing/policy@0.9.0`"), "{error}");
    let error = load(&wat::parse_str("(component)").unwrap(), None, &quick()).unwrap_err();
    assert!(error.to_string().ends_with("it exports nothing"), "{error}");
}

#[test]
fn what_is_not_a_component_is_refused() {
    let module = wat::parse_str("(module)").unwrap();
    for (bytes, says) in [
        (&module[..], "core module"),
        (b"", "empty"),
        (b"(component)", "wasm-tools parse"),
        (b"\x7fELF....", "does not begin"),
    ] {
        let error = load(bytes, None, &quick()).unwrap_err();
        assert!(matches!(error, LoadError::NotAComponent { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let whole = Guest::default().component();
    let error = load(&whole[..whole.len() / 2], None, &quick()).unwrap_err();
    assert!(matches!(error, LoadError::Compile { .. }), "{error}");
}

#[test]
fn size_and_digest_are_checked_before_anything_else() {
    let bytes = Guest::default().component();
    let error = load(&bytes, None, &Sandbox { component: 100, ..quick() }).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { limit: 100, .. }), "{error}");
    let error = load(&bytes, Some(&"0".repeat(64)), &quick()).unwrap_err();
    let LoadError::Pin { got, .. } = error else { panic!("{error}") };
    assert_eq!(load(&bytes, Some(&got), &quick()).unwrap().digest(), got);
}

#[test]
fn an_engine_that_cannot_be_is_an_error() {
    let error = Guest::default().load(&Sandbox { stack: 0, ..quick() }).unwrap_err();
    assert!(matches!(error, LoadError::Host { .. }), "{error}");
}

#[test]
fn a_guest_that_logs_is_heard_within_its_quota() {
    let imports = r#"
        (import "hybrid:routing/logging@0.1.0" (instance $logging
          (type $l (enum "debug" "info" "warn" "error"))
          (export "level" (type $level (eq $l)))
          (export "log" (func (param "level" $level) (param "message" string)))))
        (core module $text (memory (export "memory") 1) (data (i32.const 8) "hello\nyou"))
        (core instance $text (instantiate $text))
        (alias core export $text "memory" (core memory $words))
        (core func $log (canon lower (func $logging "log") (memory $words)))"#;
    let arguments = r#"(with "log" (instance (export "log" (func $log))))"#;
    let more = r#"(import "log" "log" (func $log (param i32 i32 i32)))"#;
    let assign = "(local.set $n (i32.const 0)) (loop $again
        (call $log (i32.const 2) (i32.const 8) (i32.const 9))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $n) (i32.const 700))))";
    let mut plugin = Guest { imports, arguments, more, assign, ..Guest::default() }.plugin();
    let heard = tempfile::NamedTempFile::new().unwrap();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(heard.reopen().unwrap()).finish();
    tracing::subscriber::with_default(subscriber, || {
        (0..2).for_each(|_| assert_eq!(ask(&mut plugin).unwrap(), even()));
    });
    let heard = std::fs::read_to_string(heard.path()).unwrap();
    let from_guest = |line: &&str| line.contains("WARN strategy: hello\\nyou");
    assert_eq!(heard.lines().filter(from_guest).count(), 600, "{heard}");
    assert!(heard.contains(r#"strategy="evenly""#), "{heard}");
    assert_eq!(heard.matches("further messages of this minute are dropped").count(), 1, "{heard}");
}

#[test]
fn a_guest_that_sleeps_is_stopped() {
    let imports = r#"
        (import "wasi:io/poll@0.2.0" (instance $poll
          (export "pollable" (type $p (sub resource)))
          (export "[method]pollable.block" (func (param "self" (borrow $p))))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
          (alias outer 1 $pollable (type $p))
          (export "pollable" (type $q (eq $p)))
          (export "subscribe-duration" (func (param "when" u64) (result (own $q))))))
        (core func $sleep (canon lower (func $clock "subscribe-duration")))
        (core func $block (canon lower (func $poll "[method]pollable.block")))"#;
    let arguments = r#"(with "wasi" (instance
        (export "sleep" (func $sleep)) (export "block" (func $block))))"#;
    let more = r#"(import "wasi" "sleep" (func $sleep (param i64) (result i32)))
        (import "wasi" "block" (func $block (param i32)))"#;
    // An hour, in nanoseconds.
    let assign = "(call $block (call $sleep (i64.const 3600000000000)))";
    let mut plugin = Guest { imports, arguments, more, assign, ..Guest::default() }.plugin();
    for _ in 0..2 {
        let begun = Instant::now();
        assert_eq!(ask(&mut plugin).unwrap_err(), Fault::TimedOut(quick().call));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_plugin_moves_between_threads_and_may_be_dropped_in_a_runtime() {
    let mut plugin = Guest::default().plugin();
    let plugin = std::thread::spawn(move || {
        ask(&mut plugin).unwrap();
        plugin
    });
    let plugin = plugin.join().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move { drop(plugin) });
}
