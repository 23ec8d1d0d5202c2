//! The shipped strategies as committed. Their bytes match the digests that users pin, they import
//! nothing but the contract, they are small, and they decide as their Rust source does natively.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use gateway_strategy as sdk;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use crate::host::{
    Candidate, CandidateState, Facts, Modalities, Opened, Place, Plugin, PluginHost, Price,
    Question, RawVerdict, RawWeights, Role, Sandbox, Side, Situation, Strategy as _, host, locate,
};

/// The most bytes that a shipped component may have.
const MOST: usize = 256 << 10;

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins")
}

/// The shipped strategies: every folder of `plugins/` that has a component of its name.
fn shipped() -> Vec<String> {
    let entries = fs::read_dir(plugins()).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let has_component = |name: &String| plugins().join(name).join(format!("{name}.wasm")).is_file();
    let mut names: Vec<String> = names.filter(has_component).collect();
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
    assert_eq!(names.len(), 15, "{names:?}");
    for name in names {
        let pinned = plugins().join(&name).join(format!("{name}.wasm.sha256"));
        let line = format!("{}  {name}.wasm\n", digest(&component(&name)));
        assert_eq!(fs::read_to_string(pinned).unwrap(), line);
    }
}

#[test]
fn the_binary_has_the_committed_components() {
    let host = host();
    for name in shipped() {
        let source = locate(&name, Path::new("no plugin folder")).unwrap();
        let committed = digest(&component(&name));
        // A pin that differs in one digit is refused.
        let opened = host.load(&source, Some(&committed), &sandbox()).unwrap();
        assert_eq!(opened.digest(), committed);
        assert_eq!(opened.description().name, name);
        let other =
            format!("{}{}", if committed.starts_with('0') { 1 } else { 0 }, &committed[1..]);
        assert!(host.load(&source, Some(&other), &sandbox()).is_err());
    }
}

#[test]
fn components_are_small_and_import_only_the_contract() {
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

/// The defaults, with long time-outs for a busy machine.
fn sandbox() -> Sandbox {
    let minute = std::time::Duration::from_secs(60);
    Sandbox { call: minute, compile: minute, ..Sandbox::default() }
}

fn opened(host: &PluginHost, name: &str) -> Opened {
    let source = locate(name, Path::new("no plugin folder")).unwrap();
    host.load(&source, None, &sandbox()).unwrap()
}

/// Deployments, and at some moments the live numbers of each and the facts of a request.
type Story = (Vec<Place>, Vec<(Vec<Live>, Facts)>);

/// The live numbers of a deployment. None: it is not eligible.
type Live = Option<([u32; 3], [Option<f64>; 2], [f64; 2])>;

/// Any deployment, with extreme numbers as well.
fn place() -> impl Strategy<Value = Place> {
    let price = proptest::option::of((0.0..1e-3, 0.0..1e-3));
    let price = price.prop_map(|price| {
        price.map(|(prompt, completion)| Price { prompt, cached: prompt / 2.0, completion })
    });
    let side = prop_oneof![Just(Side::Local), Just(Side::Remote)];
    let numbers = (0.0..=1.0, 1..=u32::MAX, any::<u64>());
    (".{0,12}", side, numbers, price).prop_map(
        |(name, side, (weight, capacity, context_length), price)| {
            let model = "m".to_owned();
            let (takes, tools, tags) = (Modalities::IMAGE, capacity % 2 == 0, vec![name.clone()]);
            Place { name, model, side, weight, capacity, price, context_length, takes, tools, tags }
        },
    )
}

fn facts() -> impl Strategy<Value = Facts> {
    let tokens = || proptest::option::of(any::<u32>());
    let hashes = (proptest::option::of(0..9u64), proptest::collection::vec(0..9u64, 0..5));
    (tokens(), tokens(), hashes).prop_map(
        |(prompt_tokens, max_output_tokens, (session, prefixes))| {
            let headers = vec![("x-tier".to_owned(), "gold".to_owned())];
            Facts {
                prompt_tokens,
                max_output_tokens,
                session,
                prefixes,
                headers,
                ..Facts::default()
            }
        },
    )
}

fn story() -> impl Strategy<Value = Story> {
    let time = || proptest::option::of(any::<f64>());
    let live = move || {
        let numbers = (0..20u32, 0..4u32, 1..20u32).prop_map(|(a, b, c)| [a, b, c]);
        let times = (time(), time()).prop_map(|(a, b)| [a, b]);
        (numbers, times, [0.0..=1.0, 0.0..=1.0])
    };
    proptest::collection::vec(place(), 1..12).prop_flat_map(move |places| {
        let all = proptest::collection::vec(proptest::option::of(live()), places.len());
        (Just(places), proptest::collection::vec((all, facts()), 16..32))
    })
}

/// The eligible deployments of a side, for the host and for the Rust.
fn side<'p>(
    places: &'p [Place],
    all: &[Live],
    side: Side,
) -> (Vec<Candidate<'p>>, Vec<sdk::Deployment>) {
    let (mut candidates, mut deployments) = (Vec::new(), Vec::new());
    for (id, (place, live)) in (0..).zip(places.iter().zip(all)) {
        let Some((numbers, times, [error_rate, refused_rate])) = *live else { continue };
        let ([in_flight, queued, limit], [latency, duration]) = (numbers, times);
        let (state, condition) = [
            (CandidateState::Healthy, sdk::Condition::Healthy),
            (CandidateState::SlowStart, sdk::Condition::SlowStart),
            (CandidateState::HalfOpen, sdk::Condition::HalfOpen),
            (CandidateState::Stalled, sdk::Condition::Stalled),
        ][in_flight as usize % 4];
        if place.side == side {
            candidates.push(Candidate {
                in_flight,
                queued,
                limit,
                state,
                latency,
                duration,
                error_rate,
                refused_rate,
                ..Candidate::idle(id, place)
            });
            deployments.push(sdk::Deployment {
                id,
                in_flight,
                queued,
                limit,
                condition,
                latency: latency.unwrap_or(f64::NAN),
                duration: duration.unwrap_or(f64::NAN),
                error_rate,
                refused_rate,
            });
        }
    }
    (candidates, deployments)
}

fn native_places(places: &[Place]) -> Vec<sdk::Place> {
    let native = |place: &Place| sdk::Place {
        name: place.name.clone(),
        model: place.model.clone(),
        model_number: 0,
        side: match place.side {
            Side::Local => sdk::Side::Local,
            Side::Remote => sdk::Side::Remote,
        },
        weight: place.weight,
        capacity: place.capacity,
        price: place.price.map(|Price { prompt, cached, completion }| sdk::Price {
            prompt,
            cached,
            completion,
        }),
        context_length: place.context_length,
        takes: sdk::Modalities { image: true, ..sdk::Modalities::default() },
        tools: place.tools,
        tags: place.tags.clone(),
    };
    places.iter().map(native).collect()
}

/// Has all facts. A gateway tells a strategy only those that it needs.
fn native_request(facts: &Facts) -> sdk::Request {
    let Facts { prompt_tokens, max_output_tokens, session, prefixes, headers, .. } = facts.clone();
    sdk::Request {
        stream: true,
        prompt_tokens,
        max_output_tokens,
        session,
        prefixes,
        headers,
        ..sdk::Request::default()
    }
}

/// Equal up to the difference of mathematical functions between platforms.
fn alike(component: &RawWeights, native: &sdk::Weights) -> bool {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    let alike = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(near);
    alike(&component.local, &native.local) && alike(&component.remote, &native.remote)
}

/// The same for a whole verdict.
fn same(component: &RawVerdict, native: &sdk::Verdict) -> bool {
    match (component, native) {
        (RawVerdict::Route(said), sdk::Verdict::Route(plan)) => {
            let tiers = plan.tiers.clone().map(|tiers| (tiers.local, tiers.remote));
            alike(&said.weights, &plan.weights) && said.tiers == tiers && said.reason == plan.reason
        }
        _ => false,
    }
}

/// The native function that answers for a request. None: the strategy is off the path.
type Native<S> = fn(&mut S, &sdk::Request, &[sdk::Deployment], &[sdk::Deployment]) -> sdk::Verdict;

fn agrees<S: sdk::Strategy>(name: &str, parameters: &Value, native: Option<Native<S>>) {
    let host = host();
    let first = opened(&host, name);
    assert_eq!(first.is_on_path(), native.is_some());
    let check = |(places, moments): Story| {
        let again = host.load(&locate(name, Path::new("none")).unwrap(), None, &sandbox()).unwrap();
        let mut plugin: Plugin =
            again.configure(parameters, places.clone(), Role::Live, 0).unwrap();
        let text = parameters.to_string();
        let mut strategy: S = sdk::testing::configured(&text, native_places(&places)).unwrap();
        for (all, facts) in &moments {
            let (local, native_local) = side(&places, all, Side::Local);
            let (remote, native_remote) = side(&places, all, Side::Remote);
            if local.is_empty() && remote.is_empty() {
                continue;
            }
            let situation = Situation { local: &local, remote: &remote, signals: &[] };
            let said = plugin.assign(situation).unwrap();
            let expected = strategy.assign(&native_local, &native_remote);
            prop_assert!(alike(&said, &expected), "{:?} {:?}", said, expected);
            if let Some(native) = native {
                let question = Question { model: "m", stream: true, facts, situation, held: 0 };
                let said = plugin.assign_request(question).unwrap();
                let request = native_request(facts);
                let expected = native(&mut strategy, &request, &native_local, &native_remote);
                prop_assert!(same(&said, &expected), "{:?} {:?} {:?}", facts, said, expected);
            }
        }
        Ok(())
    };
    // proptest prints a failing input and writes no file beside the sources.
    let config = Config { cases: 6, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&story(), check).unwrap();
}

fn agrees_on_path<S: sdk::RequestStrategy>(name: &str, parameters: &Value) {
    agrees::<S>(name, parameters, Some(S::assign_request));
}

#[test]
fn components_decide_as_their_rust_does() {
    agrees::<fixed::Fixed>("fixed", &json!({"local_fraction": 0.6}), None);
    agrees::<local_first::LocalFirst>("local-first", &json!({}), None);
    agrees::<weighted_order::WeightedOrder>("weighted-order", &json!({}), None);
    agrees_on_path::<least_load::LeastLoad>("least-load", &json!({"slack": 0.1}));
    agrees_on_path::<lmetric::LMetric>("lmetric", &json!({}));
    agrees_on_path::<latency::Latency>("latency", &json!({}));
    agrees_on_path::<spill::Spill>("spill", &json!({"remote_share": 0.5}));
    agrees_on_path::<budget::Budget>("budget", &json!({"budget": "b", "patience_ms": 500}));
    agrees_on_path::<cost::Cost>("cost", &json!({}));
    let limit = json!({"local_max_tokens": 1_000_000});
    agrees_on_path::<prompt_length::PromptLength>("prompt-length", &limit);
    agrees_on_path::<round_robin::RoundRobin>("round-robin", &json!({}));
    // All exploration is certain, so that no draw decides.
    agrees_on_path::<routewise::RouteWise>("routewise", &json!({"alpha": 1}));
    agrees_on_path::<score::Score>("score", &json!({}));
    let scorers = json!([{"signal": "session"}, {"signal": "first-byte"}, {"side": "local"}]);
    let filters = json!([{"signal": "free-places", "above": 0}]);
    let chosen = json!({"scorers": scorers, "filters": filters, "picker": "best-of-two"});
    agrees_on_path::<score::Score>("score", &chosen);
    agrees_on_path::<session_affinity::SessionAffinity>("session-affinity", &json!({}));
    let mixed = json!({"prefer_local": false});
    agrees_on_path::<prefix_affinity::PrefixAffinity>("prefix-affinity", &mixed);
}

/// The error text for parameters that a strategy refuses.
fn refused(host: &PluginHost, name: &str, parameters: &Value) -> Option<String> {
    let configured = opened(host, name).configure(parameters, Vec::new(), Role::Live, 0);
    configured.err().map(|error| error.to_string())
}

#[test]
fn parameters_are_refused_in_words_for_an_operator() {
    let host = host();
    for (name, parameters, why) in [
        (
            "fixed",
            json!({"local_fraction": 1.5}),
            "`local_fraction`: 1.5 is not a number from 0 to 1",
        ),
        (
            "fixed",
            json!({"local_fracton": 0.6}),
            "unknown field `local_fracton`, expected `local_fraction`",
        ),
        ("spill", json!({"high": 0.5, "low": 0.7}), "`low`: 0.7 is above `high`, which is 0.5"),
        ("weighted-order", json!({"order": [3]}), "`order`: a name, or a list of names"),
        (
            "score",
            json!({"scorers": [{"signal": "load"}, {"signal": "engine.kvs"}]}),
            "`scorers[1].signal`: it asks for the signal `engine.kvs`: did you mean `engine.kv`? \
             There are engine.running, ",
        ),
        (
            "score",
            json!({"filters": [{"signal": "laod", "below": 1}]}),
            "`filters[0].signal`: did you mean the field `load`? As written, it asks for the signal \
             `laod`; there are engine.running, ",
        ),
    ] {
        let says = format!("the built-in strategy `{name}` refuses `routing_parameter`: {why}");
        // The list of signals is longer.
        let is_said =
            |text: &String| text == &says || says.ends_with("running, ") && text.starts_with(&says);
        assert!(refused(&host, name, &parameters).as_ref().is_some_and(is_said), "{says}");
    }
    // `local-first` ignores the parameter of `fixed`.
    assert_eq!(refused(&host, "local-first", &json!({"local_fraction": 0.6})), None);
}

#[test]
fn descriptions_say_who_they_are() {
    let host = host();
    for name in shipped() {
        let opened = opened(&host, &name);
        let description = opened.description();
        assert_eq!(description.name, name);
        assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(sdk::testing::not_understood(&description.parameters), [""; 0], "{name}");
        let off_path = ["fixed", "local-first", "weighted-order"].contains(&&*name);
        assert_eq!(opened.is_on_path(), !off_path, "{name}");
    }
    let fixed = opened(&host, "fixed");
    let expected = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {"local_fraction": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "default": 0.5,
            "description":
                "The share of the traffic that local deployments get together; remote ones get the rest.",
        }},
    });
    let mut schema = fixed.description().parameters.clone();
    schema.as_object_mut().unwrap().remove("description");
    assert_eq!(schema, expected);
    assert_eq!(fixed.description().refresh, None, "it weighs no live numbers");
}
