//! Why a strategy could not be loaded: what, where and the remedy, for the operator.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use config::Sandbox;

use super::compile::Failure;

/// Why a strategy could not be loaded. Its texts hold names and paths, never a parameter's value.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No strategy of that name or path.
    #[error(
        "unknown strategy `{reference}`{}; built in: {}; in {}: {}",
        nearest.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default(),
        built_in.join(", "), folder.display(), list(in_folder)
    )]
    Unknown {
        /// What `routing_strategy` says.
        reference: String,
        /// The built-in strategies.
        built_in: Vec<&'static str>,
        /// The plugin folder.
        folder: PathBuf,
        /// The names of the folder's `.wasm` files.
        in_folder: Vec<String>,
        /// The known name that looks most like it.
        nearest: Option<String>,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The component is larger than the sandbox allows.
    #[error("{what} has {size} bytes; at most {limit} are allowed (`sandbox.component_mib`)")]
    TooLarge {
        /// The strategy, as people know it.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The component is not the one that was pinned.
    #[error("{what} has the sha256 {got}, but `sha256` pins {want}")]
    Pin {
        /// The strategy, as people know it.
        what: String,
        /// The pinned digest.
        want: String,
        /// The component's digest.
        got: String,
    },
    /// The host itself could not get ready: a thread or memory that the system refused, or a
    /// stack size it cannot give.
    #[error("cannot make a sandbox for {what}: {cause}")]
    Host {
        /// The strategy, as people know it.
        what: String,
        /// Why not.
        cause: String,
    },
    /// The bytes are something else.
    #[error("{what} is not a WebAssembly component: {found}")]
    NotAComponent {
        /// The strategy, as people know it.
        what: String,
        /// What it is, and what to do.
        found: &'static str,
    },
    /// The compiler refused it.
    #[error("{what} does not compile: {cause}")]
    Compile {
        /// The strategy, as people know it.
        what: String,
        /// The compiler's words.
        cause: String,
    },
    /// The compiler took too long.
    #[error(
        "{what} is not compiled after {after:?}{} (`sandbox.compile_timeout`)",
        if *is_cpu_time { " of CPU time" } else { "" }
    )]
    CompileTimedOut {
        /// The strategy, as people know it.
        what: String,
        /// The limit.
        after: Duration,
        /// Whether the limit is of CPU time, and not of waiting.
        is_cpu_time: bool,
    },
    /// The compiler used up its memory.
    #[error(
        "{what} takes more than {} MiB of memory to compile (`sandbox.compile_memory_mib`)",
        limit >> 20
    )]
    CompileMemory {
        /// The strategy, as people know it.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The compiler got too little CPU time: other work of the machine was in its way.
    #[error(
        "{what} is not compiled after {after:?}: the machine gives its compiler too little time"
    )]
    CompileStarved {
        /// The strategy, as people know it.
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// There is no compiler, for want of processes or memory of the machine.
    #[error("there is no compiler for {what}: {cause}")]
    CompilerUnavailable {
        /// The strategy, as people know it.
        what: String,
        /// Why not.
        cause: String,
    },
    /// The compiler failed: a bug of the compiler.
    #[error("the compiler failed on {what}, this is a bug of the compiler: {cause}")]
    CompilerFailed {
        /// The strategy, as people know it.
        what: String,
        /// How.
        cause: String,
    },
    /// Another load takes the place of this one.
    #[error("the load of {what} was canceled")]
    Canceled {
        /// The strategy, as people know it.
        what: String,
    },
    /// It wants something a strategy does not get.
    #[error(
        "{what} imports `{import}`, which a strategy does not get; it may import `{}`, and of WASI 0.2 {}",
        super::interface::offered().join("`, `"), super::interface::WASI.join(", ")
    )]
    Import {
        /// The strategy, as people know it.
        what: String,
        /// The import.
        import: String,
    },
    /// What it exports is not that of any world that this gateway speaks.
    #[error(
        "{what} is for no world that this gateway speaks ({}); it exports {}",
        super::interface::spoken().join(", "), list(seen)
    )]
    Version {
        /// The strategy, as people know it.
        what: String,
        /// What it exports.
        seen: Vec<String>,
    },
    /// Its imports or exports have the right names and other types.
    #[error(
        "{what} does not fit the interface it names: {cause}; build it against the released `wit` folder"
    )]
    Link {
        /// The strategy, as people know it.
        what: String,
        /// The difference.
        cause: String,
    },
    /// It trapped while it was being loaded: a bug of the guest, or a limit it hit.
    #[error("{what} trapped in {stage}: {cause}")]
    Trap {
        /// The strategy, as people know it.
        what: String,
        /// When.
        stage: LoadStage,
        /// The trap.
        cause: String,
    },
    /// It ran past its deadline while it was being loaded.
    #[error("{what} is still running after {after:?} in {stage} (`sandbox.call_timeout`)")]
    TimedOut {
        /// The strategy, as people know it.
        what: String,
        /// When.
        stage: LoadStage,
        /// The limit.
        after: Duration,
    },
    /// What it says of itself cannot be used.
    #[error("{what} describes itself badly: {cause}")]
    Description {
        /// The strategy, as people know it.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The guest refused its parameters, in its own words.
    #[error("{what} refuses `routing_parameter`: {message}")]
    Configure {
        /// The strategy, as people know it.
        what: String,
        /// The guest's words.
        message: String,
    },
}

impl LoadError {
    /// The error for a component that was not compiled.
    pub(super) fn of(failure: Failure, what: &str, sandbox: &Sandbox) -> Self {
        let what = what.to_owned();
        match failure {
            Failure::Refused(cause) => Self::Compile { what, cause },
            Failure::OutOfTime => {
                Self::CompileTimedOut { what, after: sandbox.compile, is_cpu_time: true }
            }
            Failure::TimedOut(after) => Self::CompileTimedOut { what, after, is_cpu_time: false },
            Failure::OutOfMemory => Self::CompileMemory { what, limit: sandbox.compile_memory },
            Failure::Starved(after) => Self::CompileStarved { what, after },
            Failure::Panicked => Self::CompilerFailed { what, cause: "it panicked".to_owned() },
            Failure::Crashed(cause) => Self::CompilerFailed { what, cause },
            Failure::Unavailable(cause) => Self::CompilerUnavailable { what, cause },
            Failure::Canceled => Self::Canceled { what },
        }
    }

    /// Whether the same load may succeed later: it ran out of time, or the machine had too little to give.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::CompileTimedOut { .. }
                | Self::CompileStarved { .. }
                | Self::CompilerUnavailable { .. }
                | Self::TimedOut { .. }
        )
    }

    /// What its user or its author can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        const LIMIT: &str = "make it smaller or cheaper, or raise the limit where you trust it";
        match self {
            Self::Compile { .. } => {
                "build it anew; `wasm-tools validate FILE` says more about a broken file"
            }
            Self::CompileTimedOut { .. }
            | Self::CompileMemory { .. }
            | Self::TimedOut { .. }
            | Self::TooLarge { .. } => LIMIT,
            Self::CompileStarved { .. } | Self::CompilerUnavailable { .. } => {
                "it is tried again by itself; give the machine less to do, or more memory and processes"
            }
            Self::CompilerFailed { .. } => {
                "build it with other settings, or with another toolchain"
            }
            Self::Import { .. } => {
                "leave out what needs it: a strategy has no network, and WASI 0.2 only"
            }
            Self::Version { seen, .. } => unspoken(seen),
            Self::Link { .. } => "take the contract from `gateway strategy new`, and build anew",
            Self::Trap { stage: LoadStage::Instantiate, .. } => {
                "it may need more memory (`sandbox.memory_mib`), or its start function fails"
            }
            Self::Trap { .. } => {
                "this is a bug of the strategy: a panic, an exception, memory or stack at its end, or, in \
                 JavaScript, an export that is not there"
            }
            Self::Description { .. } => "mend what its `describe` returns",
            Self::Configure { .. } => {
                "give it other parameters, which `gateway strategy inspect` lists, or mend its `configure`"
            }
            Self::Unknown { .. } => {
                "write one of these names, or a path, which contains a `/`: ./plugins/NAME.wasm"
            }
            Self::Read { .. } => "check the path and its permissions",
            Self::Pin { .. } => "check where the file came from, then update the digest",
            Self::Canceled { .. } => "load it again",
            Self::Host { .. } => "free memory or threads on this machine, then load it again",
            Self::NotAComponent { .. } => {
                "name a component: `gateway strategy new` writes a project that builds one"
            }
        }
    }
}

/// What to do about exports that are those of no world.
fn unspoken(seen: &[String]) -> &'static str {
    let has = |text: &str| seen.iter().any(|name| name.contains(text));
    if !has("hybrid:routing/") {
        return "export a world of the contract: `gateway strategy new` writes it, with a project that does";
    }
    let policy = |version: &super::interface::Version| has(&format!("`{}`", version.policy()));
    if super::interface::Version::ALL.iter().any(policy) {
        return "its other exports are of another version or of no world: build all of them against one \
                version of the contract";
    }
    if has("hybrid:routing/policy@") {
        return "it is of a version that this gateway does not speak: build it against the contract that \
                `gateway strategy new` writes, or take a newer gateway";
    }
    "every strategy exports `policy`, whatever else it exports: `describe`, `configure` and `assign`"
}

/// What a guest was asked to do when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadStage {
    /// Instantiation: memory, data, `start` functions.
    Instantiate,
    /// `describe`.
    Describe,
    /// `configure`.
    Configure,
}

impl fmt::Display for LoadStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoadStage::Instantiate => "instantiation",
            LoadStage::Describe => "`describe`",
            LoadStage::Configure => "`configure`",
        })
    }
}

/// The names, or a word for their absence; at most 20 of them.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 20;
    match names {
        [] => "nothing".to_owned(),
        _ if names.len() <= SHOWN => names.join(", "),
        _ => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}
