//! The gateway as a process of its own, with its own files.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tempfile::TempDir;

use crate::{DEADLINE, Reply, client};

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

    /// Runs it to its end, for one that has much to do.
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

/// A running gateway. Killed on drop, by its own id.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    url: String,
    stdout: Log,
    stderr: Log,
    unread: Option<ChildStderr>,
    client: reqwest::Client,
    folder: TempDir,
}

impl Gateway {
    /// Waits until it listens.
    ///
    /// # Panics
    /// If it ends instead.
    pub fn listens(&mut self) {
        self.listens_within(DEADLINE);
    }

    fn listens_within(&mut self, limit: Duration) {
        let start = Instant::now();
        while !self.stdout.text().contains('\n') {
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("the gateway did not start, {status}: {}", self.stderr.text_at_end());
            }
            assert!(start.elapsed() < limit, "the gateway does not listen");
            std::thread::sleep(Duration::from_millis(1));
        }
        let text = self.stdout.text();
        let line = text.lines().next().unwrap_or_default();
        let url = line.split_once("listening on ").map(|(_, url)| url.to_owned());
        self.url = url.unwrap_or_else(|| panic!("no address: {line}"));
    }

    /// Its address and a path: `/v1/models`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The client that the requests below are made with.
    #[must_use]
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// A file in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in its folder, in place.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("a writable folder");
    }

    /// Writes a file in its folder by renaming a whole one over it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let new = format!("{name}.new");
        self.write(&new, content);
        std::fs::rename(self.path(&new), self.path(name)).expect("a writable folder");
    }

    /// Its own log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.stderr.text()
    }

    /// Begins to read the log of a gateway that was [`unread`](Setup::unread).
    pub fn read_log(&mut self) {
        if let Some(stderr) = self.unread.take() {
            self.stderr = Log::follow(stderr);
        }
    }

    /// What it printed after the line that says where it listens.
    #[must_use]
    pub fn printed(&self) -> String {
        let text = self.stdout.text();
        text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If it has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the gateway runs");
    }

    /// Stops it as it stands, until it is sent `SIGCONT`.
    ///
    /// # Panics
    /// If it has ended.
    pub fn stand_still(&self) {
        self.signal(Signal::STOP);
        // Threads run on until one of them handles the signal.
        let status = waitpid(Some(self.pid()), WaitOptions::UNTRACED).expect("the gateway runs");
        assert!(status.is_some_and(|(_, status)| status.stopped()), "it stands still");
    }

    /// Its process.
    ///
    /// # Panics
    /// Never: ids are positive.
    #[must_use]
    pub fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("an id")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If that takes longer than [`DEADLINE`].
    pub async fn ended(&mut self) -> ExitStatus {
        crate::eventually("the gateway ends", async || self.child.try_wait().expect("a child"))
            .await
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// If it is no child of this process.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// `GET path`.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn get(&self, path: &str) -> Reply {
        let answer = self.client.get(self.url(path)).send().await.expect("an answer");
        Reply::read(answer).await.expect("a whole answer")
    }

    /// `POST path` with a body of JSON, as it is.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        let request = self.client.post(self.url(path)).body(body);
        let answer = request.header("content-type", "application/json").send().await;
        Reply::read(answer.expect("an answer")).await.expect("a whole answer")
    }

    /// A chat request that is not streamed.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn chat(&self, model: &str) -> Reply {
        self.post("/v1/chat/completions", client::chat(model, false).to_string()).await
    }

    /// A chat request that is streamed, as its answer begins.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn stream(&self, model: &str) -> reqwest::Result<reqwest::Response> {
        let request = self.client.post(self.url("/v1/chat/completions"));
        request.json(&client::chat(model, true)).send().await
    }

    /// `GET /routing`.
    ///
    /// # Panics
    /// If it is not answered well.
    pub async fn routing(&self) -> Value {
        let reply = self.get("/routing").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Why the last reload was refused; empty where it was not.
    pub async fn refusal(&self) -> String {
        self.routing().await["reload"]["last_error"].as_str().unwrap_or_default().to_owned()
    }

    /// The weights that `/routing` shows for a model, by the deployment's name.
    ///
    /// # Panics
    /// If there is no such model.
    pub async fn weights(&self, model: &str) -> BTreeMap<String, f64> {
        let routing = self.routing().await;
        let deployments = routing["models"][model]["deployments"].as_array();
        let weight = |deployment: &Value| {
            let name = deployment["name"].as_str().expect("a name").to_owned();
            (name, deployment["weight"].as_f64().expect("a number"))
        };
        deployments.expect("a known model").iter().map(weight).collect()
    }

    /// How many reloads ended so: `loaded`, `refused`.
    ///
    /// # Panics
    /// If the metrics are none.
    pub async fn reloads(&self, result: &str) -> u64 {
        let series = format!("gateway_reloads_total{{result=\"{result}\"}} ");
        self.count(&series).await
    }

    /// The count behind the beginning of a line of the metrics.
    async fn count(&self, series: &str) -> u64 {
        let metrics = self.get("/metrics").await.text();
        // A series does not exist before its first count.
        let count = metrics.lines().find_map(|line| line.strip_prefix(series));
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    /// How many calls of a strategy ended so: `ok`, `trap`.
    ///
    /// # Panics
    /// If the metrics are none.
    pub async fn strategy_calls(&self, strategy: &str, outcome: &str) -> u64 {
        let series = format!(
            "gateway_strategy_calls_total{{outcome=\"{outcome}\",strategy=\"{strategy}\"}} "
        );
        self.count(&series).await
    }

    /// Waits until a configuration was loaded that was not when `reloads("loaded")` gave `before`.
    ///
    /// # Panics
    /// If none is.
    pub async fn loaded_since(&self, before: u64) {
        let loaded = async || (self.reloads("loaded").await > before).then_some(());
        crate::eventually("a reload", loaded).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.stderr.text());
        }
    }
}

/// The output of a process, kept as it comes.
#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    ended: bool,
}

impl Log {
    /// Reads `source` to its end on a thread of its own.
    #[must_use]
    pub fn follow(mut source: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let writer = log.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(read @ 1..) = source.read(&mut chunk) {
                writer.kept().bytes.extend_from_slice(&chunk[..read]);
            }
            writer.kept().ended = true;
        });
        log
    }

    /// All of it so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept().bytes).into_owned()
    }

    /// All of it, once the process has ended.
    fn text_at_end(&self) -> String {
        let start = Instant::now();
        while !self.kept().ended && start.elapsed() < DEADLINE {
            std::thread::yield_now();
        }
        self.text()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
