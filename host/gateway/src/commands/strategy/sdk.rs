//! The Rust SDK, embedded in this binary. A project has a copy of it, because the SDK is in no
//! package registry.

/// A file of the SDK: its path in the project, and its text.
type File = (&'static str, &'static str);

macro_rules! sources {
    ($($path:literal),* $(,)?) => {
        &[$((
            concat!("vendor/gateway-strategy/src/", $path),
            include_str!(concat!("../../../../../plugins/sdk/src/", $path)),
        )),*]
    };
}

/// Manifest of the copy. The SDK's own manifest inherits versions from the workspace.
pub(super) const MANIFEST: File = (
    "vendor/gateway-strategy/Cargo.toml",
    include_str!("../../../templates/strategy/rust/sdk.toml"),
);

/// All sources of the SDK. They find the contract two folders above the package, as in this
/// repository.
pub(super) const SOURCES: &[File] = sources![
    "clock.rs",
    "component.rs",
    "export.rs",
    "hash.rs",
    "lib.rs",
    "log.rs",
    "memory.rs",
    "order.rs",
    "pacing.rs",
    "parameters.rs",
    "rendezvous.rs",
    "signals.rs",
    "store.rs",
    "strategy.rs",
    "testing/checks.rs",
    "testing/fleet.rs",
    "testing/mod.rs",
    "testing/schema.rs",
    "testing/stand_in.rs",
    "types.rs",
    "verdict.rs",
    "weights.rs",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    fn sources(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { sources(&path) } else { 1 }).sum()
    }

    #[test]
    fn a_project_has_every_file_of_the_sdk() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/sdk/src");
        assert_eq!(sources(&folder), SOURCES.len(), "add the new files to SOURCES");
    }
}
