//! The decision thread: owns the strategy, asks it when something changed, publishes the answer.
//!
//! It is a plain thread because a strategy may take its whole deadline for one answer; nobody but
//! this thread waits for it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::fleet::{Board, Generation, Snapshot};
use crate::strategy::{Fault, Strategy};
use crate::telemetry::{Metrics, catch};

use super::share::{LastGood, share};

/// After a decision that panicked.
const AGAIN: Duration = Duration::from_secs(1);

/// A generation and the strategies that decide for it, tried once and ready to be used.
pub struct Plan {
    generation: Arc<Generation>,
    /// In the order of the generation's.
    strategies: Vec<Box<dyn Strategy>>,
    last_good: Vec<LastGood>,
    last_errors: Vec<Option<String>>,
    /// Good answers of each strategy that the metrics do not know of yet.
    answers: Vec<usize>,
}

/// A strategy failed in a decision.
#[derive(Debug)]
pub struct Failed {
    /// Index of the strategy.
    pub strategy: usize,
    /// Id of the model it was asked about.
    pub model: String,
    /// How.
    pub fault: Fault,
}

impl Plan {
    /// Asks the strategies, those of `generation`, once for every model.
    ///
    /// # Errors
    /// Which one failed, and how: such a plan is never put in use.
    pub fn tried(
        generation: Arc<Generation>,
        strategies: Vec<Box<dyn Strategy>>,
    ) -> Result<(Self, Snapshot), Failed> {
        let last_good = vec![LastGood::new(); generation.fleet.models.len()];
        let (last_errors, answers) = (vec![None; strategies.len()], vec![0; strategies.len()]);
        let mut plan = Self { generation, strategies, last_good, last_errors, answers };
        let (snapshot, failures) = plan.decide(Instant::now());
        match failures.into_iter().next() {
            Some(failed) => Err(failed),
            None => Ok((plan, snapshot)),
        }
    }

    /// The current weights of every model, and what failed.
    fn decide(&mut self, now: Instant) -> (Snapshot, Vec<Failed>) {
        let (mut routes, mut failures) = (Vec::new(), Vec::new());
        let standby = self.generation.config.fallback.standby;
        for (model, last) in self.generation.fleet.models.iter().zip(&mut self.last_good) {
            let index = model.config.strategy;
            let strategy = self.strategies.get_mut(index).map(|strategy| &mut **strategy);
            let (route, outcome) = share(model, strategy, standby, last, now);
            match outcome {
                Some(Ok(())) => self.answers[index] += 1,
                Some(Err(fault)) => {
                    self.last_errors[index] = Some(format!("{}: {fault}", model.config.id));
                    let model = model.config.id.clone();
                    failures.push(Failed { strategy: index, model, fault });
                }
                None => {}
            }
            routes.push(route);
        }
        let snapshot = Snapshot {
            generation: Arc::clone(&self.generation),
            routes,
            strategy_errors: self.last_errors.clone(),
        };
        (snapshot, failures)
    }

    /// Counts the good answers, those of the trial included.
    fn count(&mut self, metrics: &Metrics) {
        for (strategy, answers) in self.generation.strategies.iter().zip(&mut self.answers) {
            metrics.strategy_calls(&strategy.name, "ok", std::mem::take(answers));
        }
    }

    /// When to decide again after having decided at `now`, even if nothing is heard until then: the
    /// strategy asks for it, or time changes a deployment's state.
    fn next(&self, now: Instant) -> Option<Instant> {
        let refreshes =
            self.strategies.iter().filter_map(|strategy| strategy.description().refresh);
        let refresh = refreshes.min();
        let changes = self.generation.fleet.deployments().filter_map(|d| d.next_change(now));
        changes.chain(refresh.map(|interval| now + interval)).min()
    }
}

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
    pub fn start(
        mut plan: Plan,
        board: Arc<Board>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        plan.count(&metrics);
        let (messages, inbox) = channel();
        let run = move || run(plan, &inbox, &board, &metrics);
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

fn run(mut plan: Plan, inbox: &Receiver<Message>, board: &Board, metrics: &Metrics) {
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
            publish(&mut plan, board, metrics, now);
            plan.next(now)
        };
        let decided = catch(decide);
        next = match (decided, installed) {
            (Ok(next), Some((_, done))) => {
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

fn publish(plan: &mut Plan, board: &Board, metrics: &Metrics, now: Instant) {
    let (snapshot, failures) = plan.decide(now);
    plan.count(metrics);
    for Failed { strategy, model, fault } in failures {
        let strategy = &*plan.generation.strategies[strategy].name;
        metrics.strategy_calls(strategy, fault.cause(), 1);
        tracing::warn!(strategy, model, %fault, "the last good weights stay");
    }
    metrics.publish(&snapshot);
    board.publish(snapshot);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::SystemTime;

    use super::*;
    use crate::config::{self, Paths};
    use crate::fleet::{Fleet, StrategyInfo};
    use crate::strategy::{Candidate, Description, Needs, RawWeights};

    /// A fault of the host in the place of a strategy: panics at its second call, and has other weights
    /// after that.
    struct Moody(Description, u32);

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

    fn generation() -> Generation {
        let folder = tempfile::tempdir().unwrap();
        let [models, routing] =
            ["models.yaml", "routing.yaml"].map(|name| folder.path().join(name));
        std::fs::write(&models, "models: [{id: m}]").unwrap();
        let entries =
            ["a", "b"].map(|host| format!("  - {{endpoint: 'http://{host}', models: [m]}}\n"));
        std::fs::write(&routing, format!("local_deployment:\n{}", entries.concat())).unwrap();
        let config = config::load(&Paths { models, routing, routing_required: true }, &|_| None);
        let config = config.unwrap();
        let name = "moody".to_owned();
        let (version, sha256, parameters) = Default::default();
        let moody = StrategyInfo { name, version, sha256, parameters, on_path: None };
        let fleet = Fleet::build(&config, None);
        Generation { config, fleet, strategies: vec![moody], loaded_at: SystemTime::now() }
    }

    #[test]
    fn a_decision_that_panics_is_not_the_last() {
        let description = Description {
            name: "moody".into(),
            version: "1".into(),
            summary: String::new(),
            parameters: serde_json::json!({}),
            refresh: None,
            needs: Needs::default(),
        };
        let strategy: Box<dyn Strategy> = Box::new(Moody(description, 0));
        let (plan, snapshot) =
            Plan::tried(Arc::new(generation()), vec![strategy]).map_err(|e| e.fault).unwrap();
        let (board, metrics) = (Arc::new(Board::new(snapshot)), Arc::new(Metrics::new().unwrap()));
        let decider = Decider::start(plan, Arc::clone(&board), metrics).unwrap();
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
