//! The strategy that a subcommand examines, and the limits of its sandbox.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use config::Sandbox;
use sandbox::{Compiler, LoadError, Opened, PluginHost, Source, locate};

use crate::commands::CacheArgs;

/// The strategy, and the limits of its sandbox.
#[derive(Debug, Args)]
pub(super) struct Subject {
    /// A component's file, or a name as in routing.yaml
    #[arg(value_name = "FILE|NAME")]
    pub(super) strategy: String,
    /// The folder of strategies that are not built in
    #[arg(long, env = "PLUGINS_DIR", default_value = "plugins")]
    pub(super) plugins: PathBuf,
    /// Linear memory of an instance, as `sandbox.memory_mib`
    #[arg(long, value_name = "MIB", default_value = "64", value_parser = clap::value_parser!(u32).range(1..=4096))]
    memory_mib: u32,
    /// Size of the component, as `sandbox.component_mib`
    #[arg(long, value_name = "MIB", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=1024))]
    component_mib: u32,
    /// Seconds of CPU time to compile it, as `sandbox.compile_timeout`
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    compile_timeout: u64,
    #[command(flatten)]
    cache: CacheArgs,
}

impl Subject {
    /// Resolves the strategy to a file or to a built-in.
    pub(super) fn source(&self) -> anyhow::Result<Source> {
        let file = Path::new(&self.strategy);
        let located = locate(&self.strategy, &self.plugins);
        // A file without `.wasm` in its name is accepted if the name has no other meaning.
        let located = match located {
            Err(LoadError::Unknown { .. }) if file.is_file() => Ok(Source::File(file.to_owned())),
            located => located,
        };
        located.map_err(|error| explain(&error))
    }

    /// The gateway's default sandbox with the limits of the command line.
    pub(super) fn sandbox(&self) -> Sandbox {
        Sandbox {
            memory: (self.memory_mib as usize) << 20,
            component: u64::from(self.component_mib) << 20,
            compile: Duration::from_secs(self.compile_timeout),
            ..Sandbox::default()
        }
    }
}

impl Subject {
    /// Loads the strategy up to its `describe`.
    pub(super) fn open(&self) -> anyhow::Result<Opened> {
        let host = host()?;
        let host = match self.cache.cache() {
            Some(cache) => host.with_cache(cache),
            None => host,
        };
        let opened = host.load(&self.source()?, None, &self.sandbox());
        opened.map_err(|error| explain(&error))
    }
}

/// A host that compiles as the gateway does: in a child process, within a limit of CPU time, so that a
/// busy machine refuses nothing. The program of unit tests is no gateway: it compiles by itself.
pub(super) fn host() -> anyhow::Result<PluginHost> {
    let compiler = if cfg!(test) { Compiler::InProcess } else { Compiler::child_of_this()? };
    Ok(PluginHost::new()?.with_compiler(compiler))
}

/// Combines a load error with its remedy.
pub(super) fn explain(error: &LoadError) -> anyhow::Error {
    anyhow!("{error}\nhelp: {}", error.remedy())
}
