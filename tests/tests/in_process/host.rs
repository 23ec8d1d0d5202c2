//! What these tests use of the gateway as a library.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sandbox::Cache;

pub(crate) use config::Sandbox;
pub(crate) use contract::{
    Candidate, CandidateState, Facts, Modalities, Place, Price, Question, RawVerdict, RawWeights,
    Role, Side, Situation, Strategy, Verdict, Weights,
};
pub(crate) use sandbox::{LoadError, Opened, Plugin, PluginHost, Source, locate};

/// A host with a cache that all tests of a run share: each built-in strategy is compiled once, not
/// once a test.
pub(crate) fn host() -> PluginHost {
    static COMPILED: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-in-process");
        // The folder does not exist in the first run.
        let _ = std::fs::remove_dir_all(&folder);
        folder
    });
    PluginHost::new().expect("a host").with_cache(Cache::at(COMPILED.clone()))
}
