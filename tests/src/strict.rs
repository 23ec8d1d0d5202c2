//! An upstream in Python that reads HTTP with a strict parser.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The upstream of `tests/strict-upstream`. Ended on drop.
#[derive(Debug)]
pub struct Strict {
    child: Child,
    out: BufReader<ChildStdout>,
    port: u16,
}

impl Strict {
    /// Starts it; None where there is no `python3`.
    ///
    /// # Panics
    /// If there is, and it does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        Command::new("python3").arg("--version").stdout(Stdio::null()).status().ok()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("strict-upstream/run.sh");
        let mut command = Command::new(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("text");
        let port = line.trim().parse().expect("the upstream prints its port");
        Some(Self { child, out, port })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it, and gives what it did not accept: a line each.
    ///
    /// # Panics
    /// If it printed no text.
    #[must_use]
    pub fn complaints(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        BufRead::lines(&mut self.out).map(|line| line.expect("text")).collect()
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        // Closing its standard input ends the process; it may have ended already.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
