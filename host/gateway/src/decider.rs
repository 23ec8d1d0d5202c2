//! The decision thread: owns the strategy, asks it when something changed, publishes the answer.
//!
//! It is a plain thread because a strategy may take its whole deadline for one answer; nobody but
//! this thread waits for it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fleet::{Board, StrategyTable};
use proxy::telemetry::catch;
use routing::{Failed, Plan};

/// After a decision that panicked.
const AGAIN: Duration = Duration::from_secs(1);

enum Message {
    Changed,
    Install(Box<Plan>, Sender<()>),
}

/// The handle of the decision thread, which ends when every clone of it is gone.
#[derive(Clone)]
pub struct Decider {
    messages: Sender<Message>,
    thread: Arc<OnceLock<JoinHandle<()>>>,
}

impl Decider {
    /// Starts the thread with its first plan.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(mut plan: Plan, board: Arc<Board>) -> std::io::Result<Self> {
        count(&mut plan, &board.snapshot().generation.fleet.strategies);
        let (messages, inbox) = channel();
        let run = move || run(plan, &inbox, &board);
        let thread = std::thread::Builder::new().name("decision".into()).spawn(run)?;
        Ok(Self { messages, thread: Arc::new(OnceLock::from(thread)) })
    }

    /// Says that eligibility changed. Returns at once; several calls may lead to one decision.
    pub fn changed(&self) {
        // A thread that has ended decides nothing any more, and nobody is left to serve.
        let _ = self.messages.send(Message::Changed);
    }

    /// Puts a plan in use; returns once its weights are published. False: that panicked, and the old
    /// weights stay.
    #[must_use]
    pub fn install(&self, plan: Plan) -> bool {
        let (done, published) = channel();
        let sent = self.messages.send(Message::Install(Box::new(plan), done));
        sent.is_ok() && published.recv().is_ok()
    }

    /// Whether the thread still runs: it ends only by a panic.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.get().is_some_and(|thread| !thread.is_finished())
    }
}

fn run(mut plan: Plan, inbox: &Receiver<Message>, board: &Board) {
    let mut next = plan.next(Instant::now());
    loop {
        let message = match next {
            Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let mut installed = None;
        match message {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) | Ok(Message::Changed) => {}
            Ok(Message::Install(new, reply)) => {
                installed = Some((std::mem::replace(&mut plan, *new), reply));
            }
        }
        let now = Instant::now();
        let decide = || {
            publish(&mut plan, board, now);
            plan.next(now)
        };
        let decided = catch(decide);
        next = match (decided, installed) {
            (Ok(next), Some((old, done))) => {
                drop(old);
                // Whoever waited may have given up.
                let _ = done.send(());
                next
            }
            (Ok(next), None) => next,
            (Err(panic), installed) => {
                panic.log("a decision panicked, the last weights stay");
                plan = installed.map_or(plan, |(old, _)| old);
                Some(now + AGAIN)
            }
        };
    }
}

fn publish(plan: &mut Plan, board: &Board, now: Instant) {
    let (snapshot, failures) = plan.decide(now);
    let strategies = &snapshot.generation.fleet.strategies;
    count(plan, strategies);
    for Failed { strategy, is_candidate, model, fault, .. } in failures {
        let strategy = plan.name(strategy, is_candidate);
        strategies.of(strategy).faults.add(fault.cause(), 1);
        tracing::warn!(strategy, is_candidate, model, %fault, "the last good weights stay");
    }
    board.publish(snapshot);
}

/// Counts the good answers since the last call.
fn count(plan: &mut Plan, strategies: &StrategyTable) {
    for (name, answers) in plan.answers().filter(|(_, answers)| *answers > 0) {
        strategies.of(name).ok.add(answers as u64);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::SystemTime;

    use super::*;
    use config::{self, Paths};
    use contract::{Candidate, Description, Fault, Needs, RawWeights, Strategy};
    use fleet::{Fleet, Generation, Snapshot, StrategyInfo};
    use routing::Seat;

    /// A fault of the host in the place of a strategy: panics at its second call, and has other weights
    /// after that.
    struct Moody(Description, u32);

    impl Moody {
        fn new() -> Self {
            let description = Description {
                name: "moody".into(),
                version: "1".into(),
                summary: String::new(),
                parameters: serde_json::json!({}),
                refresh: None,
                needs: Needs::default(),
            };
            Self(description, 0)
        }
    }

    impl Strategy for Moody {
        fn description(&self) -> &Description {
            &self.0
        }

        fn assign(
            &mut self,
            _: &[Candidate<'_>],
            _: &[Candidate<'_>],
        ) -> Result<RawWeights, Fault> {
            self.1 += 1;
            match self.1 {
                1 => Ok(RawWeights { local: vec![1.0, 0.0], remote: Vec::new() }),
                2 => panic!("moody"),
                _ => Ok(RawWeights { local: vec![0.0, 1.0], remote: Vec::new() }),
            }
        }
    }

    /// Of two deployments, with these settings beside them, which a moody strategy decides for.
    pub(crate) fn generation(settings: &str, previous: Option<&Fleet>) -> Generation {
        let folder = tempfile::tempdir().unwrap();
        let [models, routing] =
            ["models.yaml", "routing.yaml"].map(|name| folder.path().join(name));
        std::fs::write(&models, "models: [{id: m}]").unwrap();
        let entries =
            ["a", "b"].map(|host| format!("  - {{endpoint: 'http://{host}', models: [m]}}\n"));
        let text = format!("{settings}\nlocal_deployment:\n{}", entries.concat());
        std::fs::write(&routing, text).unwrap();
        let config = config::load(&Paths { models, routing, routing_required: true }, &|_| None);
        let config = config.unwrap();
        let name = "moody".to_owned();
        let (version, sha256, parameters) = Default::default();
        let (on_path, meters, lessons, candidate) = Default::default();
        let moody =
            StrategyInfo { name, version, sha256, parameters, on_path, meters, lessons, candidate };
        let fleet = Fleet::build(&config, previous);
        Generation { config, fleet, strategies: vec![moody], loaded_at: SystemTime::now() }
    }

    /// A plan that panics when it is put in use after another.
    pub(crate) fn tried(generation: Generation) -> (Plan, Snapshot) {
        let strategy: Box<dyn Strategy> = Box::new(Moody::new());
        Plan::tried(Arc::new(generation), vec![Seat { strategy, candidate: None }])
            .map_err(|failed| failed.fault)
            .unwrap()
    }

    #[test]
    fn a_decision_that_panics_is_not_the_last() {
        let (plan, snapshot) = tried(generation("", None));
        let board = Arc::new(Board::new(snapshot));
        let decider = Decider::start(plan, Arc::clone(&board)).unwrap();
        let weights = || board.snapshot().routes[0].weights.clone();
        assert_eq!(weights(), [1.0, 0.0]);
        // It comes back by itself.
        decider.changed();
        let start = Instant::now();
        while weights() != [0.0, 1.0] {
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", weights());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(decider.is_running());
    }
}
