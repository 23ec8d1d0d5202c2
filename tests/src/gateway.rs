//! The gateway as a process of its own, with its own files.

mod log;
mod setup;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tempfile::TempDir;

use crate::{DEADLINE, Reply, client};

pub use log::Log;
pub use setup::Setup;

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

    /// Its output after the line that says where it listens.
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

    /// Waits until one more configuration was loaded than when `reloads("loaded")` gave `before`.
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
