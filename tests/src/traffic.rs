//! Requests that never stop, while a test does something to the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::{Gateway, client};

/// Chat requests for one model, each client's one after the other.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    answered: usize,
    failures: Vec<String>,
}

impl Traffic {
    /// Starts this many clients.
    #[must_use]
    pub fn start(gateway: &Gateway, model: &str, clients: usize) -> Self {
        let (stop, url) = (Arc::new(AtomicBool::new(false)), gateway.url("/v1/chat/completions"));
        let client = |_| {
            let (stop, url, body) =
                (Arc::clone(&stop), url.clone(), client::chat(model, false).to_string());
            async move {
                let (client, mut tally) = (client(), Tally::default());
                while !stop.load(SeqCst) {
                    match client.post(&url).body(body.clone()).send().await {
                        Ok(answer) if answer.status() == 200 => match answer.bytes().await {
                            Ok(_) => tally.answered += 1,
                            Err(error) => tally.failures.push(error.to_string()),
                        },
                        Ok(answer) => tally.failures.push(answer.status().to_string()),
                        Err(error) => tally.failures.push(format!("{error:?}")),
                    }
                    // The machine is the gateway's too.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                tally
            }
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, clients }
    }

    /// Stops, and gives the number of requests, which were all answered with 200.
    ///
    /// # Panics
    /// If one was not, or there was none.
    pub async fn unharmed(mut self) -> usize {
        self.stop.store(true, SeqCst);
        let mut answered = 0;
        while let Some(tally) = self.clients.join_next().await {
            let tally = tally.expect("a client does not panic");
            assert!(tally.failures.is_empty(), "requests failed: {:?}", tally.failures);
            answered += tally.answered;
        }
        assert!(answered > 0, "no traffic");
        answered
    }
}
