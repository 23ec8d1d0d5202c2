//! Chromium without a window, driven by the DevTools protocol over pipes.

use std::io;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::{CHROMIUM, DEADLINE};

/// The protocol is spoken on descriptors 3 and 4, which only a shell can make of pipes here.
const START: &str = "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";

const OPTIONS: [&str; 8] = [
    "--headless",
    // The sandbox refuses to run as root. All pages are those of tests.
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    // Pages of several origins on one machine.
    "--host-resolver-rules=MAP *.example 127.0.0.1",
];

/// A browser. Names below `.example` mean this machine. Killed on drop, by its own id; its other
/// processes end with it.
#[derive(Debug)]
pub struct Chromium {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    sent: u64,
    _child: Child,
    _profile: TempDir,
}

/// A page that is open.
#[derive(Debug)]
pub struct Page {
    session: String,
}

impl Chromium {
    /// Starts one. None: it is not installed.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        if !CHROMIUM.is_here() {
            return None;
        }
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("sh");
        command.args(["-c", START, "sh"]).args(OPTIONS);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.env("HOME", profile.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("a shell");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        Some(Self { to, from, sent: 0, _child: child, _profile: profile })
    }

    /// Opens a URL in a tab of its own, and waits until its document is loaded.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub async fn open(&mut self, url: &str) -> Page {
        let target = self.call(None, "Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call(None, "Target.attachToTarget", attach).await;
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        let page = Page { session };
        let opened = self.call(Some(&page), "Page.navigate", json!({ "url": url })).await;
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
        let loaded = "new Promise(loaded => document.readyState === 'complete' ? loaded(true) \
                      : addEventListener('load', () => loaded(true)))";
        self.run(&page, loaded).await;
        page
    }

    /// Runs a script in a page, and gives its value. One that is a promise is waited for.
    ///
    /// # Panics
    /// If the script throws.
    pub async fn run(&mut self, page: &Page, script: &str) -> Value {
        let evaluate = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let mut result = self.call(Some(page), "Runtime.evaluate", evaluate).await;
        assert!(result.get("exceptionDetails").is_none(), "{script}: {result}");
        result["result"]["value"].take()
    }

    async fn call(&mut self, page: Option<&Page>, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": params});
        if let Some(page) = page {
            message["sessionId"] = json!(page.session);
        }
        let answer = timeout(DEADLINE, self.exchange(&message)).await;
        let mut answer = answer.expect("within the deadline").expect("the browser runs");
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// Messages end with a zero byte. Events come between answers.
    async fn exchange(&mut self, message: &Value) -> io::Result<Value> {
        self.to.write_all(format!("{message}\0").as_bytes()).await?;
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer).await?;
            if answer.pop().is_none() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let answer: Value = serde_json::from_slice(&answer)?;
            if answer["id"] == message["id"] {
                return Ok(answer);
            }
        }
    }
}
