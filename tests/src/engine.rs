//! The stub engine in the test's own process. A test can stop it and start it again on its port.

use std::sync::Arc;
use std::thread::JoinHandle;

use serde_json::Value;
pub use stub_engine::EngineOptions;
use stub_engine::serve;
use tokio::sync::oneshot;

use crate::{Port, client};

/// One stub engine. Stopped on drop.
#[derive(Debug)]
pub struct Engine {
    port: Arc<Port>,
    options: EngineOptions,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Engine {
    /// An engine of this name, as fast as it can be.
    #[must_use]
    pub fn start(name: &str) -> Self {
        Self::with(EngineOptions { name: name.to_owned(), ..EngineOptions::default() })
    }

    /// An engine with these options.
    #[must_use]
    pub fn with(options: EngineOptions) -> Self {
        let mut engine = Self { port: Arc::new(Port::take()), options, running: None };
        engine.restart();
        engine
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.port.url()
    }

    /// Closes its port and all connections at once, as a killed engine does.
    ///
    /// # Panics
    /// If the engine did.
    pub fn stop(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            drop(stop);
            thread.join().expect("the engine does not panic");
        }
    }

    /// Listens on the same port again, with counters at 0 and the settings it was made with.
    ///
    /// # Panics
    /// If the system gives no thread.
    pub fn restart(&mut self) {
        self.stop();
        let (port, options) = (Arc::clone(&self.port), self.options.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, listening) = std::sync::mpsc::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = port.listen();
                ready.send(()).expect("the test waits for it");
                let shutdown = async {
                    // Both a message and a dropped sender mean the end.
                    let _ = stopped.await;
                };
                serve(listener, options, shutdown).await.expect("an engine that serves");
            });
        };
        let thread = std::thread::spawn(run);
        listening.recv().expect("the engine listens");
        self.running = Some(Running { stop, thread });
    }

    /// What `GET /stub` says: settings and counters.
    ///
    /// # Panics
    /// If the engine does not run.
    pub async fn status(&self) -> Value {
        let answer = client().get(format!("{}/stub", self.url())).send().await;
        answer.expect("the engine runs").json().await.expect("JSON")
    }

    /// Inference calls since it was started.
    ///
    /// # Panics
    /// If the engine does not run.
    pub async fn requests(&self) -> u64 {
        self.status().await["requests"].as_u64().expect("a number")
    }

    /// Changes settings: `healthy`, `failure_rate`, `latency_ms`, `tokens_per_second`.
    ///
    /// # Panics
    /// If the engine does not run or refuses them.
    pub async fn set(&self, change: Value) {
        let answer = client().post(format!("{}/stub", self.url())).json(&change).send().await;
        let status = answer.expect("the engine runs").status();
        assert_eq!(status.as_u16(), 200, "{change}");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}
