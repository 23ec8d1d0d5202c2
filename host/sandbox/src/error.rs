//! Errors of a load for the operator: the strategy, the cause and the remedy.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use config::Sandbox;

use super::compile::Failure;

/// Why a strategy could not be loaded. The host puts names and paths into the texts, never a
/// parameter's value. Only the guest's own text in [`Self::Configure`] may quote one.
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
        /// The most similar known name, if one is similar enough.
        nearest: Option<String>,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// The component is larger than the sandbox allows.
    #[error("{what} has {size} bytes; at most {limit} are allowed (`sandbox.component_mib`)")]
    TooLarge {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The component's digest is not the pinned one.
    #[error("{what} has the sha256 {got}, but `sha256` pins {want}")]
    Pin {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The pinned digest.
        want: String,
        /// The component's digest.
        got: String,
    },
    /// The host could not set up a sandbox: the system refused a thread or memory, or the stack
    /// size is unsupported.
    #[error("cannot make a sandbox for {what}: {cause}")]
    Host {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The reason for the failure.
        cause: String,
    },
    /// The bytes are not a component.
    #[error("{what} is not a WebAssembly component: {found}")]
    NotAComponent {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// What the bytes are, and the remedy.
        found: &'static str,
    },
    /// The compiler rejected the component.
    #[error("{what} does not compile: {cause}")]
    Compile {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The compiler's error message.
        cause: String,
    },
    /// The compiler took too long.
    #[error(
        "{what} is not compiled after {after:?}{} (`sandbox.compile_timeout`)",
        if *is_cpu_time { " of CPU time" } else { "" }
    )]
    CompileTimedOut {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The limit.
        after: Duration,
        /// True if the limit is CPU time, false if it is wall time.
        is_cpu_time: bool,
    },
    /// The compiler used up its memory.
    #[error(
        "{what} takes more than {} MiB of memory to compile (`sandbox.compile_memory_mib`)",
        limit >> 20
    )]
    CompileMemory {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The compiler got too little CPU time because the machine was busy.
    #[error(
        "{what} is not compiled after {after:?}: the machine gives its compiler too little time"
    )]
    CompileStarved {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// Wall time after which the compiler was killed.
        after: Duration,
    },
    /// The compiler could not run because the machine lacks processes or memory.
    #[error("there is no compiler for {what}: {cause}")]
    CompilerUnavailable {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The reason for the failure.
        cause: String,
    },
    /// The compiler crashed or sent a malformed answer: a bug of the compiler.
    #[error("the compiler failed on {what}, this is a bug of the compiler: {cause}")]
    CompilerFailed {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// How the compiler failed.
        cause: String,
    },
    /// The load was canceled, as when a newer load replaces it.
    #[error("the load of {what} was canceled")]
    Canceled {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
    },
    /// The component imports an interface that strategies do not get.
    #[error(
        "{what} imports `{import}`, which a strategy does not get; it may import `{}`, and of WASI 0.2 {}",
        super::interface::offered().join("`, `"), super::interface::WASI.join(", ")
    )]
    Import {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The import.
        import: String,
    },
    /// The exports match no world that this gateway speaks.
    #[error(
        "{what} is for no world that this gateway speaks ({}); it exports {}",
        super::interface::spoken().join(", "), list(seen)
    )]
    Version {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// All exports of the component.
        seen: Vec<String>,
    },
    /// Imports or exports have the right names but the wrong types.
    #[error(
        "{what} does not fit the interface it names: {cause}; build it against the released `wit` folder"
    )]
    Link {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The difference.
        cause: String,
    },
    /// The guest trapped during the load: a bug of the guest, or a limit that it reached.
    #[error("{what} trapped in {stage}: {cause}")]
    Trap {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The stage that failed.
        stage: LoadStage,
        /// The trap's message.
        cause: String,
    },
    /// A call of the guest exceeded its deadline during the load.
    #[error("{what} is still running after {after:?} in {stage} (`sandbox.call_timeout`)")]
    TimedOut {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The stage that failed.
        stage: LoadStage,
        /// The limit.
        after: Duration,
    },
    /// The answer of `describe` is invalid.
    #[error("{what} describes itself badly: {cause}")]
    Description {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The defect of the answer.
        cause: String,
    },
    /// The guest refused its parameters.
    #[error("{what} refuses `routing_parameter`: {message}")]
    Configure {
        /// The strategy, as [`Source`](super::Source) displays it.
        what: String,
        /// The guest's reason, made printable.
        message: String,
    },
}

impl LoadError {
    /// Turns a failed compilation into the error that the operator sees.
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

    /// True if the same load may succeed later: it timed out, or the machine lacked resources.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::CompileTimedOut { .. }
                | Self::CompileStarved { .. }
                | Self::CompilerUnavailable { .. }
                | Self::TimedOut { .. }
        )
    }

    /// Advice for the operator or for the strategy's author.
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
                "the gateway tries again by itself; reduce the machine's load, or give it more memory and processes"
            }
            Self::CompilerFailed { .. } => {
                "build it with other settings, or with another toolchain"
            }
            Self::Import { .. } => {
                "remove the code that needs it: a strategy has no network, and WASI 0.2 only"
            }
            Self::Version { seen, .. } => unspoken(seen),
            Self::Link { .. } => "take the contract from `gateway strategy new`, and build anew",
            Self::Trap { stage: LoadStage::Instantiate, .. } => {
                "it may need more memory (`sandbox.memory_mib`), or its start function fails"
            }
            Self::Trap { .. } => {
                "this is a bug of the strategy: a panic, an exception, memory or stack used up, or, in \
                 JavaScript, a missing export"
            }
            Self::Description { cause, .. } if cause.contains("does not check") => {
                "leave it out of the schema, and check it in `configure`"
            }
            Self::Description { .. } => "fix what its `describe` returns",
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

/// Advice for exports that match no world.
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

/// The stage of a load in which a guest failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadStage {
    /// Instantiation: memory, data, `start` functions.
    Instantiate,
    /// The first call, `describe`.
    Describe,
    /// The second call, `configure`.
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

/// Joins at most 20 names. The number of the others follows. An empty list is "nothing".
fn list(names: &[String]) -> String {
    const SHOWN: usize = 20;
    match names {
        [] => "nothing".to_owned(),
        _ if names.len() <= SHOWN => names.join(", "),
        _ => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}
