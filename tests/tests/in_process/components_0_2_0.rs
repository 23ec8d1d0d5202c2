//! Components built for version 0.2.0 of the contract still work.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::{fs, time::Duration};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::host::{
    Candidate, Facts, Place, Plugin, PluginHost, Question, RawVerdict, Role, Sandbox, Side,
    Situation, Strategy as _, locate,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("components-0.2.0")
}

fn places() -> Vec<Place> {
    let place = |name: &str, side| Place { capacity: 4, ..Place::new(name, "m", side) };
    vec![place("a", Side::Local), place("b", Side::Local), place("api", Side::Remote)]
}

/// The component of that name, pinned to its digest.
fn configured(name: &str, parameters: &Value) -> Plugin {
    let file = folder().join(format!("{name}.wasm"));
    let pinned = fs::read_to_string(folder().join(format!("{name}.wasm.sha256"))).unwrap();
    let (digest, rest) = pinned.split_once("  ").unwrap();
    assert_eq!(rest, format!("{name}.wasm\n"));
    let hash = Sha256::digest(fs::read(&file).unwrap());
    assert_eq!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), digest);
    let minute = Duration::from_secs(60);
    let sandbox = Sandbox { call: minute, compile: minute, ..Sandbox::default() };
    let source = locate(file.to_str().unwrap(), Path::new("no plugin folder")).unwrap();
    let opened = PluginHost::new().unwrap().load(&source, Some(digest), &sandbox).unwrap();
    assert!(opened.world().ends_with("@0.2.0"), "{}", opened.world());
    assert_eq!(opened.description().name, name);
    opened.configure(parameters, places(), Role::Live, 1).unwrap()
}

/// The shares of a request, of a, b and api, while so many are in flight there.
fn shares(plugin: &mut Plugin, in_flight: [u32; 3], facts: &Facts) -> Vec<f64> {
    let places = places();
    let candidate = |at: usize| {
        let id = u32::try_from(at).unwrap();
        Candidate { in_flight: in_flight[at], ..Candidate::idle(id, &places[at]) }
    };
    let (local, remote) = ([candidate(0), candidate(1)], [candidate(2)]);
    let situation = Situation { local: &local, remote: &remote, signals: &[] };
    let question = Question { model: "m", stream: true, facts, situation, held: 0 };
    let said = plugin.assign_request(question).unwrap();
    let RawVerdict::Route(plan) = said else { panic!("{said:?}") };
    let all = [plan.weights.local, plan.weights.remote].concat();
    let sum: f64 = all.iter().sum();
    all.iter().map(|weight| (weight / sum * 1e4).round() / 1e4).collect()
}

#[test]
fn fixed_shares_by_its_fraction() {
    let mut plugin = configured("fixed", &json!({"local_fraction": 0.6}));
    assert_eq!(shares(&mut plugin, [0; 3], &Facts::default()), [0.3, 0.3, 0.4]);
}

#[test]
fn least_load_takes_the_idlest() {
    let mut plugin = configured("least-load", &json!({}));
    assert_eq!(shares(&mut plugin, [3, 1, 2], &Facts::default()), [0.0, 1.0, 0.0]);
}

#[test]
fn spill_spills_when_local_ones_are_full() {
    let mut plugin = configured("spill", &json!({}));
    assert_eq!(shares(&mut plugin, [0; 3], &Facts::default())[2], 0.0);
    assert_eq!(shares(&mut plugin, [4, 4, 0], &Facts::default())[2], 1.0);
}

#[test]
fn affinities_keep_sessions_and_prefixes_together() {
    let session = |session| Facts { session: Some(session), ..Facts::default() };
    let mut sessions = configured("session-affinity", &json!({}));
    let prefix = |first: u64| Facts { prefixes: vec![first, first + 1], ..Facts::default() };
    let mut prefixes = configured("prefix-affinity", &json!({}));
    let mut used = [[0; 2]; 2];
    for number in 0..32 {
        let [of_session, of_prefix] = [
            shares(&mut sessions, [0; 3], &session(number)),
            shares(&mut prefixes, [0; 3], &prefix(number * 10)),
        ];
        assert_eq!(shares(&mut sessions, [0; 3], &session(number)), of_session);
        assert_eq!(shares(&mut prefixes, [0; 3], &prefix(number * 10)), of_prefix);
        for (which, shares) in [of_session, of_prefix].iter().enumerate() {
            used[which][shares.iter().position(|share| *share > 0.99).unwrap()] += 1;
        }
    }
    assert!(used.iter().flatten().all(|count| *count > 4), "both are used: {used:?}");
}
