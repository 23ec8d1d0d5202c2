//! The shipped strategies as they are committed: the bytes that users pin, import nothing of the
//! outside world, are small, and decide exactly as the pure functions they were built from.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use gateway::config::{Sandbox, Side};
use gateway::decision::plugin::{Plugin, PluginHost, Role, locate};
use gateway::strategy::{Candidate, Place, Price, RawWeights, Strategy as _};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};

/// The most bytes that a shipped component may have.
const MOST: usize = 128 << 10;

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins")
}

/// The shipped strategies: every folder of `plugins/`.
fn shipped() -> Vec<String> {
    let entries = fs::read_dir(plugins()).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let mut names: Vec<String> =
        folders.map(|folder| folder.file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn component(name: &str) -> Vec<u8> {
    fs::read(plugins().join(name).join(format!("{name}.wasm"))).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names that the outermost component imports.
fn imports(bytes: &[u8]) -> Vec<String> {
    let (mut names, mut depth) = (Vec::new(), 0);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.unwrap() {
            Payload::Version { encoding, .. } => {
                assert!(depth > 0 || encoding == Encoding::Component, "a core module");
                depth += 1;
            }
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                names
                    .extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
            }
            _ => {}
        }
    }
    names
}

#[test]
fn committed_components_are_what_their_digest_says() {
    let names = shipped();
    assert_eq!(names, ["fixed", "local-first"]);
    for name in names {
        let pinned = plugins().join(&name).join(format!("{name}.wasm.sha256"));
        let line = format!("{}  {name}.wasm\n", digest(&component(&name)));
        assert_eq!(fs::read_to_string(pinned).unwrap(), line);
    }
}

#[test]
fn the_binary_has_the_committed_components() {
    let host = PluginHost::new().unwrap();
    for name in shipped() {
        let source = locate(&name, Path::new("no plugin folder")).unwrap();
        let committed = digest(&component(&name));
        // The digest is the pin, too: with one digit another, it is refused.
        let opened = host.load(&source, Some(&committed), &sandbox()).unwrap();
        assert_eq!(opened.digest(), committed);
        assert_eq!(opened.description().name, name);
        let other =
            format!("{}{}", if committed.starts_with('0') { 1 } else { 0 }, &committed[1..]);
        assert!(host.load(&source, Some(&other), &sandbox()).is_err());
    }
}

#[test]
fn they_import_nothing_outside_the_package_and_are_small() {
    for name in shipped() {
        let bytes = component(&name);
        assert!(bytes.len() < MOST, "{name} has {} bytes", bytes.len());
        for import in imports(&bytes) {
            assert!(import.starts_with("hybrid:routing/"), "{name} imports {import}");
        }
    }
}

#[test]
fn the_import_check_sees_imports() {
    let bytes = wat::parse_str(
        r#"(component
            (import "hybrid:routing/logging@0.1.0" (instance))
            (import "wasi:cli/environment@0.2.0" (instance))
            (component (import "inner" (func))))"#,
    );
    assert_eq!(
        imports(&bytes.unwrap()),
        ["hybrid:routing/logging@0.1.0", "wasi:cli/environment@0.2.0"]
    );
}

/// The defaults, with time for a test machine that does many things at once.
fn sandbox() -> Sandbox {
    let minute = std::time::Duration::from_secs(60);
    Sandbox { call: minute, compile: minute, ..Sandbox::default() }
}

fn configured(host: &PluginHost, name: &str, parameters: &Value) -> Plugin {
    let source = locate(name, Path::new("no plugin folder")).unwrap();
    host.load(&source, None, &sandbox())
        .unwrap()
        .configure(parameters, Vec::new(), Role::Live, 1)
        .unwrap()
}

/// A deployment, and what is live of it.
#[derive(Debug, Clone)]
struct Live {
    place: Place,
    in_flight: u32,
    latency: Option<f64>,
    error_rate: f64,
}

/// Any deployment at all, as odd as its numbers may be.
fn deployment() -> impl Strategy<Value = Live> {
    let price = proptest::option::of((0.0..1e-3, 0.0..1e-3));
    let numbers = (0.0..=1.0, any::<u32>(), proptest::option::of(any::<f64>()), 0.0..=1.0);
    (".{0,12}", ".{0,12}", numbers, price).prop_map(
        |(name, model, (weight, in_flight, latency, error_rate), price)| {
            let (side, capacity, context_length) = (Side::Local, 8, 8192);
            let price = price.map(|(prompt, completion)| Price { prompt, completion });
            let place = Place { name, model, side, weight, capacity, price, context_length };
            Live { place, in_flight, latency, error_rate }
        },
    )
}

/// The local and the remote deployments of a model: at least one.
type Sides = (Vec<Live>, Vec<Live>);

fn fleet() -> impl Strategy<Value = Sides> {
    let side = || proptest::collection::vec(deployment(), 0..12);
    (side(), side()).prop_filter("nobody", |(local, remote)| local.len() + remote.len() > 0)
}

fn candidates(side: &[Live]) -> Vec<Candidate<'_>> {
    let mut candidates = Vec::new();
    for (id, Live { place, in_flight, latency, error_rate }) in (0..).zip(side) {
        let (in_flight, latency, error_rate) = (*in_flight, *latency, *error_rate);
        candidates.push(Candidate { id, place, in_flight, queued: 0, latency, error_rate });
    }
    candidates
}

fn runner(cases: u32) -> TestRunner {
    // A failure is shown with its input; nothing is written beside the sources.
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn fixed_decides_as_its_pure_function() {
    let host = PluginHost::new().unwrap();
    let fractions = prop_oneof![Just(0.0), Just(1.0), Just(0.6), 0.0..=1.0];
    let cases = (fractions, proptest::collection::vec(fleet(), 1..8));
    let check = |(fraction, fleets): (f64, Vec<Sides>)| {
        let parameters = json!({"local_fraction": fraction});
        let mut plugin = configured(&host, "fixed", &parameters);
        let fraction = fixed::policy::parse(&parameters.to_string()).unwrap().local_fraction;
        for (locals, remotes) in fleets {
            let answer = plugin.assign(&candidates(&locals), &candidates(&remotes));
            let (local, remote) = fixed::policy::share(fraction, locals.len(), remotes.len());
            prop_assert_eq!(answer, Ok(RawWeights { local, remote }));
        }
        Ok(())
    };
    runner(40).run(&cases, check).unwrap();
}

#[test]
fn local_first_decides_as_its_pure_function() {
    let host = PluginHost::new().unwrap();
    let mut plugin = configured(&host, "local-first", &json!({}));
    // One instance over all fleets: its memory must be given back after each call.
    let plugin = std::cell::RefCell::new(&mut plugin);
    let check = |(locals, remotes): Sides| {
        let answer = plugin.borrow_mut().assign(&candidates(&locals), &candidates(&remotes));
        let (local, remote) = local_first::policy::share(locals.len(), remotes.len());
        prop_assert_eq!(answer, Ok(RawWeights { local, remote }));
        Ok(())
    };
    runner(256).run(&fleet(), check).unwrap();
}

#[test]
fn parameters_are_refused_as_by_the_pure_functions() {
    let host = PluginHost::new().unwrap();
    let refusal = |name: &str, parameters: &Value| {
        let source = locate(name, Path::new("no plugin folder")).unwrap();
        let opened = host.load(&source, None, &sandbox()).unwrap();
        opened.configure(parameters, Vec::new(), Role::Live, 1).err().map(|error| error.to_string())
    };
    for parameters in [
        json!({}),
        json!({"local_fraction": 0}),
        json!({"local_fraction": 1.5}),
        json!({"local_fraction": "0.6"}),
        json!({"local_fracton": 0.6}),
        json!({"local_fraction": null}),
    ] {
        let text = parameters.to_string();
        let cases = [
            ("fixed", fixed::policy::parse(&text).err()),
            ("local-first", local_first::policy::check(&text).err()),
        ];
        for (name, native) in cases {
            let words =
                |why| format!("the built-in strategy `{name}` refuses `routing_parameter`: {why}");
            assert_eq!(refusal(name, &parameters), native.map(words), "{name} {text}");
        }
    }
}

#[test]
fn descriptions_are_those_of_the_sources() {
    let host = PluginHost::new().unwrap();
    for (name, schema) in
        [("fixed", fixed::policy::SCHEMA), ("local-first", local_first::policy::SCHEMA)]
    {
        let source = locate(name, Path::new("no plugin folder")).unwrap();
        let opened = host.load(&source, None, &sandbox()).unwrap();
        let description = opened.description();
        assert_eq!(description.name, name);
        assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(description.parameters, serde_json::from_str::<Value>(schema).unwrap());
        assert_eq!(description.refresh, None, "neither weighs live numbers");
    }
}
