//! Components built for version 0.1.0 of the contract still work.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::{fs, time::Duration};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::host::{
    Candidate, Place, Plugin, PluginHost, RawWeights, Role, Sandbox, Side, Situation,
    Strategy as _, locate,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("components-0.1.0")
}

/// The component of that name, pinned to its digest.
fn configured(name: &str, parameters: &Value) -> Result<Plugin, String> {
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
    assert_eq!(
        (opened.world().as_str(), opened.is_on_path()),
        ("hybrid:routing/strategy@0.1.0", false)
    );
    assert_eq!((&*opened.description().name, &*opened.description().version), (name, "0.1.0"));
    opened.configure(parameters, Vec::new(), Role::Live, 1).map_err(|error| error.to_string())
}

/// Its answer for this many idle deployments.
fn asked(plugin: &mut Plugin, locals: u32, remotes: u32) -> RawWeights {
    let places = [Side::Local, Side::Remote].map(|side| Place::new("one", "m", side));
    let side = |count, place| (0..count).map(|_| Candidate::idle(0, place)).collect::<Vec<_>>();
    let (local, remote) = (&*side(locals, &places[0]), &*side(remotes, &places[1]));
    plugin.assign(Situation { local, remote, signals: &[] }).unwrap()
}

fn weights(local: &[f64], remote: &[f64]) -> RawWeights {
    RawWeights { local: local.to_vec(), remote: remote.to_vec() }
}

#[test]
fn fixed_shares_by_its_fraction() {
    let mut plugin = configured("fixed", &json!({"local_fraction": 0.6})).unwrap();
    assert_eq!(asked(&mut plugin, 1, 1), weights(&[0.6], &[0.4]));
    assert_eq!(asked(&mut plugin, 2, 1), weights(&[0.3, 0.3], &[0.4]));
    assert_eq!(asked(&mut plugin, 0, 2), weights(&[], &[0.5, 0.5]));
    let refused = configured("fixed", &json!({"local_fraction": 2})).map(drop).unwrap_err();
    assert!(refused.contains("`local_fraction` is 2: it is a number from 0 to 1"), "{refused}");
}

#[test]
fn local_first_keeps_remote_ones_on_standby() {
    let mut plugin = configured("local-first", &json!({})).unwrap();
    assert_eq!(asked(&mut plugin, 2, 2), weights(&[0.5, 0.5], &[0.0, 0.0]));
    assert_eq!(asked(&mut plugin, 0, 1), weights(&[], &[1.0]));
}
