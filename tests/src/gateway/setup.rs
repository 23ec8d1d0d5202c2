//! What a gateway is started with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{DEADLINE, client};

use super::{Gateway, Log};

/// The variable that names the folder for compiled strategies.
const CACHE: &str = "GATEWAY_CACHE";

/// The folder for compiled strategies below `scratch`, made anew for each test run. It begins with
/// the two strategies that most tests use: a busy machine may need longer to compile one than a
/// gateway waits by default.
fn compiled_strategies(binary: &str, scratch: &str) -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(scratch).join("compiled-strategies");
        // The folder does not exist in the first run.
        let _ = std::fs::remove_dir_all(&folder);
        for name in ["fixed", "local-first"] {
            let mut compile = Command::new(binary);
            compile.args(["strategy", "test", name, "--fleets", "1", "--compile-timeout", "600"]);
            // Whether its checks pass is tested elsewhere.
            compile.env_clear().env(CACHE, &folder).output().expect("the binary runs");
        }
        assert!(folder.is_dir(), "nothing was compiled");
        folder
    })
}

/// The files, variables and arguments of a gateway.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    command: Command,
    unlogged: bool,
    unread: bool,
}

impl Setup {
    /// A gateway of this binary; see [`setup!`](crate::setup). Its environment is empty but for
    /// `PORT=0` and `GATEWAY_CACHE`, its working folder is its own, and so is its plugin folder,
    /// `plugins`.
    ///
    /// All gateways of a test run share a folder below `scratch` for compiled strategies: most of
    /// the time of a start is compiling the same built-in strategy.
    ///
    /// # Panics
    /// If there is no folder for temporary files.
    #[must_use]
    pub fn new(binary: &str, scratch: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["config", "plugins"] {
            std::fs::create_dir(folder.path().join(name)).expect("an empty folder");
        }
        let mut command = Command::new(binary);
        command.current_dir(folder.path()).env_clear().env("PORT", "0");
        command.env(CACHE, compiled_strategies(binary, scratch));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { folder, command, unlogged: false, unread: false }
    }

    /// Writes `config/models.yaml`.
    #[must_use]
    pub fn models(self, text: impl AsRef<[u8]>) -> Self {
        self.file("config/models.yaml", text)
    }

    /// Writes `config/routing.yaml`.
    #[must_use]
    pub fn routing(self, text: impl AsRef<[u8]>) -> Self {
        self.file("config/routing.yaml", text)
    }

    /// Writes a file in the gateway's folder: `plugins/x.wasm`. A gateway with a strategy of its
    /// own shares no compiled strategies: its own would push out those that all others use.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        if name.ends_with(".wasm") {
            self.command.env(CACHE, "off");
        }
        std::fs::write(self.folder.path().join(name), content).expect("a writable folder");
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Unsets one of the few variables that are set.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Closes the reading end of its standard error, so that writing its log fails.
    #[must_use]
    pub fn unlogged(self) -> Self {
        Self { unlogged: true, ..self }
    }

    /// Reads nothing of its standard error before [`Gateway::read_log`], so that writing its log blocks.
    #[must_use]
    pub fn unread(self) -> Self {
        Self { unread: true, ..self }
    }

    /// The gateway's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs it to its end, for a gateway that does not serve.
    ///
    /// # Panics
    /// If it cannot be run, or takes longer than [`DEADLINE`].
    #[must_use]
    pub fn output(self) -> Output {
        self.output_within(DEADLINE)
    }

    /// Runs a command that may take as long as `limit` to its end.
    ///
    /// # Panics
    /// If it cannot be run, or takes longer.
    #[must_use]
    pub fn output_within(mut self, limit: Duration) -> Output {
        let mut child = self.command.spawn().expect("the binary runs");
        let stdout = Log::follow(child.stdout.take().expect("piped"));
        let stderr = Log::follow(child.stderr.take().expect("piped"));
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            if start.elapsed() > limit {
                child.kill().expect("a child");
                panic!("still running after {limit:?}: {}", stderr.text_at_end());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (stdout, stderr) = (stdout.text_at_end().into(), stderr.text_at_end().into());
        Output { status, stdout, stderr }
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// If it ends instead.
    #[must_use]
    pub fn start(self) -> Gateway {
        self.start_within(DEADLINE)
    }

    /// Starts it, and waits until it listens. For a strategy that takes long to compile.
    ///
    /// # Panics
    /// If it ends instead, or takes longer.
    #[must_use]
    pub fn start_within(self, limit: Duration) -> Gateway {
        let mut gateway = self.spawn();
        gateway.listens_within(limit);
        gateway
    }

    /// Starts it. Until [`Gateway::listens`] it has no address.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn spawn(mut self) -> Gateway {
        let mut child = self.command.spawn().expect("the binary runs");
        let mut unread = None;
        let stderr = match child.stderr.take().expect("piped") {
            _ if self.unlogged => Log::follow(std::io::empty()),
            stderr if self.unread => {
                unread = Some(stderr);
                Log::follow(std::io::empty())
            }
            stderr => Log::follow(stderr),
        };
        let stdout = Log::follow(child.stdout.take().expect("piped"));
        let url = String::new();
        Gateway { child, url, stdout, stderr, unread, client: client(), folder: self.folder }
    }
}
