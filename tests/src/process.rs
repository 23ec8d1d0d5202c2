//! The stub engine as a process of its own, for tests that kill or freeze a process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Port, client};

/// `gateway stub`, on a port that stays its own. Killed on drop, by its own id.
#[derive(Debug)]
pub struct StubProcess {
    port: Port,
    command: Command,
    child: Child,
    client: reqwest::Client,
}

impl StubProcess {
    /// Starts a stub engine of this binary, with these options; see
    /// [`stub_process!`](crate::stub_process).
    #[must_use]
    pub fn start(binary: &str, options: &[&str]) -> Self {
        let port = Port::take();
        let mut command = Command::new(binary);
        command.args(["stub", "--port", &port.address().port().to_string()]).args(options);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
        let child = spawn(&mut command);
        Self { port, command, child, client: client() }
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.port.url()
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// If it is no child of this process.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
    }

    /// Starts it again after [`kill`](Self::kill), on the same port.
    pub fn restart(&mut self) {
        self.child = spawn(&mut self.command);
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("ids are positive"), signal).expect("the engine runs");
    }

    /// What `GET /stub` says: settings and counters.
    ///
    /// # Panics
    /// If the engine does not run.
    pub async fn status(&self) -> Value {
        let answer = self.client.get(format!("{}/stub", self.url())).send().await;
        answer.expect("the engine runs").json().await.expect("JSON")
    }
}

impl Drop for StubProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until it listens.
fn spawn(command: &mut Command) -> Child {
    let mut child = command.spawn().expect("the binary runs");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut line).expect("text");
    assert!(line.contains("listening on"), "the stub engine did not start: {line}");
    child
}
