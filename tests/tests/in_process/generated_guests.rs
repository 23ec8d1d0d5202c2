//! Random strategies. wasm-smith generates modules with the right exports, most of which fail in
//! `describe`. Flipping bits of good modules and components gives guests that get further. Whatever
//! a guest does, the host answers with checked weights or with an error.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use arbitrary::Unstructured;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::json;
use tests::{CoreGuest, DEADLINE};
use wasm_smith::{Config, Module};
use wasmparser::{Parser, Payload};

use crate::host::{
    Candidate, Facts, LoadError, Place, Plugin, PluginHost, Question, Role, Sandbox, Side,
    Situation, Source, Strategy as _, Verdict, Weights, locate,
};

/// Guests of each kind; twice as many flipped components, most of which are refused at once.
const GUESTS: u64 = 150;

fn sandbox() -> Sandbox {
    Sandbox {
        call: Duration::from_millis(50),
        compile: Duration::from_secs(20),
        memory: 4 << 20,
        ..Sandbox::default()
    }
}

/// The number of guests that reached each stage.
#[derive(Debug, Default)]
struct Tally {
    refused: u32,
    loaded: u32,
    good: u32,
    faults: u32,
}

fn places() -> Vec<Place> {
    let place = |name: &str, side| Place {
        weight: 0.5,
        capacity: 8,
        context_length: 8192,
        ..Place::new(name, "m", side)
    };
    vec![place("a", Side::Local), place("b", Side::Local), place("c", Side::Remote)]
}

fn candidates(places: &[Place]) -> Vec<Candidate<'_>> {
    let candidate =
        |(id, place)| Candidate { in_flight: 1, latency: Some(10.0), ..Candidate::idle(id, place) };
    (0..).zip(places).map(candidate).collect()
}

/// Tries a component on a thread of its own, so that a call without end fails the test.
fn try_it(host: &Arc<PluginHost>, component: Vec<u8>, tally: &mut Tally) {
    let (host, mut own) = (Arc::clone(host), std::mem::take(tally));
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        load_and_ask(&host, &component, &mut own);
        done.send(own).expect("the test waits");
    });
    *tally = match ended.recv_timeout(DEADLINE) {
        Ok(tally) => tally,
        Err(RecvTimeoutError::Timeout) => panic!("a call that does not come back"),
        Err(RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().expect_err("it sent nothing"))
        }
    };
}

/// Loads a component, calls it off and on the path, and counts the results.
fn load_and_ask(host: &PluginHost, component: &[u8], tally: &mut Tally) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("guest.wasm");
    std::fs::write(&file, component).expect("room");
    let opened = host.load(&Source::File(file), None, &sandbox());
    let configured = opened.and_then(|opened| {
        let parameters = json!({});
        opened.configure(&parameters, places(), Role::Live, 2)
    });
    let Ok(plugin) = configured.inspect_err(|error| assert!(!is_of_the_host(error), "{error}"))
    else {
        tally.refused += 1;
        return;
    };
    tally.loaded += 1;
    ask(plugin, tally);
}

/// A fault of the host, and not of the guest.
fn is_of_the_host(error: &LoadError) -> bool {
    matches!(error, LoadError::Host { .. } | LoadError::Read { .. })
        || error.to_string().contains("bug of the compiler")
}

fn ask(mut plugin: Plugin, tally: &mut Tally) {
    let places = places();
    let all = candidates(&places);
    let (local, remote) = all.split_at(2);
    let situation = Situation { local, remote, signals: &[] };
    let mut judge = |good: bool| if good { tally.good += 1 } else { tally.faults += 1 };
    for _ in 0..3 {
        let answer = plugin.assign(situation);
        judge(answer.is_ok_and(|raw| Weights::check(raw, 2, 1).is_ok()));
        // May fail.
        let _ = plugin.outcome(&[]);
    }
    let Some(path) = plugin.on_path() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let facts = Facts::default();
    let question = Question { model: "m", stream: false, facts: &facts, situation, held: 0 };
    for _ in 0..3 {
        let answer = runtime.block_on(path.decide(question));
        if let Ok(Verdict::Route(plan)) = &answer {
            let weights = &plan.weights;
            let sum: f64 = weights.local().iter().chain(weights.remote()).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{weights:?}");
        }
        judge(answer.is_ok());
    }
}

/// A module with the exports of every world and random code.
fn generated(seed: u64) -> Option<Vec<u8>> {
    let guest = CoreGuest {
        imports: r#"(import "hybrid:routing/logging@0.2.0" "log" (func $log (param i32 i32 i32)))"#,
        request: Some(""),
        outcome: Some(""),
        ..CoreGuest::default()
    };
    let model = guest.module();
    let mut bytes = vec![0; 8192];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    let config = Config {
        exports: Some(model.clone()),
        available_imports: Some(model),
        max_memories: 1,
        max_memory32_bytes: 1 << 20,
        gc_enabled: false,
        exceptions_enabled: false,
        threads_enabled: false,
        memory64_enabled: false,
        tail_call_enabled: false,
        relaxed_simd_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    };
    let module = Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    guest.component_of(module.to_bytes()).ok()
}

#[test]
fn generated_modules_give_checked_weights_or_errors() {
    let host = Arc::new(PluginHost::new().expect("a host"));
    let (mut tally, mut tried) = (Tally::default(), 0);
    for seed in 0..GUESTS {
        eprint!("{seed} ");
        let Some(component) = generated(seed) else { continue };
        tried += 1;
        try_it(&host, component, &mut tally);
    }
    eprintln!("\n{tried} generated guests: {tally:?}");
    assert!(tried > 10 && tally.refused > 0, "{tried} {tally:?}");
}

/// A good module with some bits of its code flipped. It is still valid.
fn flipped(guest: &CoreGuest<'_>, rng: &mut StdRng) -> Option<Vec<u8>> {
    let good = guest.module();
    let code = Parser::new(0).parse_all(&good).find_map(|payload| match payload {
        Ok(Payload::CodeSectionStart { range, .. }) => Some(range),
        _ => None,
    })?;
    let (mut module, mut flips) = (good, rng.random_range(1..6));
    for _ in 0..1_000 {
        let (at, bit) = (rng.random_range(code.clone()), 1 << rng.random_range(0..8));
        module[at] ^= bit;
        if wasmparser::validate(&module).is_err() {
            module[at] ^= bit;
            continue;
        }
        flips -= 1;
        if flips == 0 {
            break;
        }
    }
    guest.component_of(module).ok()
}

#[test]
fn flipped_modules_give_checked_weights_or_errors() {
    let host = Arc::new(PluginHost::new().expect("a host"));
    let good = CoreGuest { request: Some(""), outcome: Some(""), ..CoreGuest::default() };
    let mut tally = Tally::default();
    for seed in 0..GUESTS {
        eprint!("{seed} ");
        let Some(component) = flipped(&good, &mut StdRng::seed_from_u64(seed)) else { continue };
        try_it(&host, component, &mut tally);
    }
    eprintln!("\nmodules with bits flipped: {tally:?}");
    assert!(tally.loaded > 0 && tally.good > 0 && tally.faults > 0, "{tally:?}");
}

#[test]
fn flipped_components_give_checked_weights_or_errors() {
    let host = Arc::new(PluginHost::new().expect("a host"));
    let good = CoreGuest { request: Some(""), outcome: Some(""), ..CoreGuest::default() };
    let good = good.component();
    let mut tally = Tally::default();
    for seed in 0..2 * GUESTS {
        eprint!("{seed} ");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes = good.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
        if seed.is_multiple_of(10) {
            bytes.truncate(rng.random_range(0..bytes.len()));
        }
        try_it(&host, bytes, &mut tally);
    }
    eprintln!("\ncomponents with bits flipped: {tally:?}");
    assert!(tally.refused > 0 && tally.loaded > 0 && tally.good > 0, "{tally:?}");
    // The host still loads a good strategy.
    let source = locate("fixed", Path::new("none")).expect("built in");
    assert!(host.load(&source, None, &sandbox()).is_ok());
}
