//! Closed-loop load: each client has a connection of its own and sends its next request after an
//! answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};

use tokio::task::JoinSet;

use crate::client::chat;
use crate::{Gateway, Reply, client, eventually};

/// The answers that the clients got.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers of status 200, by the engine that gave them.
    pub answered: BTreeMap<String, u64>,
    /// Everything else, as text.
    pub failures: Vec<String>,
}

impl Tally {
    /// Answers of status 200.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.answered.values().sum()
    }

    /// The share of the answers that these engines gave.
    #[must_use]
    pub fn share(&self, engines: &[&str]) -> f64 {
        let given: u64 = engines.iter().filter_map(|name| self.answered.get(*name)).sum();
        given as f64 / self.total() as f64
    }

    /// Adds another's answers.
    pub fn add(&mut self, other: Self) {
        for (engine, count) in other.answered {
            *self.answered.entry(engine).or_default() += count;
        }
        self.failures.extend(other.failures);
    }
}

/// Clients under way.
#[derive(Debug)]
pub struct Traffic {
    clients: JoinSet<Tally>,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
}

impl Traffic {
    /// Starts clients that ask for `model` until they are stopped. Must be called inside a runtime.
    #[must_use]
    pub fn start(gateway: &Gateway, model: &str, clients: usize) -> Self {
        Self::bounded(gateway, model, clients, i64::MAX)
    }

    /// `requests` requests for `model`, by several clients.
    pub async fn of(gateway: &Gateway, model: &str, clients: usize, requests: u32) -> Tally {
        Self::bounded(gateway, model, clients, requests.into()).collect().await
    }

    fn bounded(gateway: &Gateway, model: &str, clients: usize, requests: i64) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (left, mut tasks) = (Arc::new(AtomicI64::new(requests)), JoinSet::new());
        let body = chat(model, false).to_string();
        for _ in 0..clients {
            let (url, body) = (gateway.url("/v1/chat/completions"), body.clone());
            let (stop, left, answers) =
                (Arc::clone(&stop), Arc::clone(&left), Arc::clone(&answers));
            tasks.spawn(async move {
                let (client, mut tally) = (client(), Tally::default());
                while !stop.load(SeqCst) && left.fetch_sub(1, SeqCst) > 0 {
                    tally.ask(&client, &url, body.clone()).await;
                    answers.fetch_add(1, SeqCst);
                }
                tally
            });
        }
        Self { clients: tasks, stop, answers }
    }

    /// Waits for this many more answers.
    ///
    /// # Panics
    /// If they do not come.
    pub async fn more(&self, answers: u64) {
        let enough = self.answers.load(SeqCst) + answers;
        let come = async || (self.answers.load(SeqCst) >= enough).then_some(());
        eventually("the clients are answered", come).await;
    }

    /// Stops after the requests under way, and gives all answers.
    pub async fn stop(self) -> Tally {
        self.stop.store(true, SeqCst);
        self.collect().await
    }

    /// Stops after the requests under way, and checks that every answer was a 200. Gives their
    /// number.
    ///
    /// # Panics
    /// If one was not, or nothing was asked.
    pub async fn unharmed(self) -> u64 {
        let tally = self.stop().await;
        assert!(tally.failures.is_empty(), "requests failed: {:?}", tally.failures);
        assert!(tally.total() > 0, "no traffic");
        tally.total()
    }

    async fn collect(self) -> Tally {
        let mut all = Tally::default();
        for tally in self.clients.join_all().await {
            all.add(tally);
        }
        all
    }
}

impl Tally {
    async fn ask(&mut self, client: &reqwest::Client, url: &str, body: String) {
        let answer = match client.post(url).body(body).send().await {
            Ok(answer) => Reply::read(answer).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(reply) if reply.status == 200 => {
                *self.answered.entry(reply.engine().to_owned()).or_default() += 1;
            }
            Ok(reply) => self.failures.push(format!("{}: {}", reply.status, reply.text())),
            Err(error) => self.failures.push(format!("{error:?}")),
        }
    }
}
