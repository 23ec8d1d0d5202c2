//! The decision thread. It owns the strategies, asks them after each change, and publishes the
//! weights.
//!
//! It is a plain thread because a strategy may block it for the whole deadline. No request waits
//! for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use contract::{Breaker, Role};
use fleet::{Board, ChangeNotifier, StrategyTable};
use proxy::telemetry::catch;
use routing::{Agenda, AgendaStep, Failed, FailedCall, Plan};

/// A longer decision is published in part, and continues as the next decision. Otherwise changes
/// and reloads would wait for all models of a large fleet.
const SLICE: Duration = Duration::from_millis(50);
/// Interval at which replaced snapshots that no request holds any more are released.
const RELEASE: Duration = Duration::from_secs(1);

enum Message {
    /// Models were added to the [`ChangeNotifier`].
    Changed,
    Install(Installation),
}

/// A plan to install, and the channel to the reload that waits for it.
struct Installation {
    plan: Box<Plan>,
    done: Sender<()>,
}

/// Handle of the decision thread. The thread ends when all clones are dropped.
#[derive(Clone)]
pub(crate) struct Decider {
    messages: Arc<Sender<Message>>,
}

impl Decider {
    /// Starts the thread with its first plan, whose snapshot is already on the board. The thread is
    /// notified of changes in this fleet and in all later ones.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(crate) fn start(mut plan: Plan, board: Arc<Board>) -> std::io::Result<Self> {
        let generation = Arc::clone(&board.snapshot().generation);
        let fleet = &generation.fleet;
        let strategies = Arc::clone(&fleet.strategies);
        count(&mut plan, &fleet.strategies);
        let (messages, inbox) = channel();
        let messages = Arc::new(messages);
        // The thread holds the fleet, so a strong handle in the fleet's listener would keep the
        // thread alive for ever.
        let weak = Arc::downgrade(&messages);
        fleet.changes.listen(move || {
            if let Some(messages) = weak.upgrade() {
                // Fails only if the thread has ended, after the gateway has stopped serving.
                let _ = messages.send(Message::Changed);
            }
        });
        let changes = Arc::clone(&fleet.changes);
        let (agenda, installations) = Default::default();
        let decisions =
            Decisions { plan, board, changes, strategies, agenda, installations, keeps: false };
        let run = move || decisions.run(&inbox);
        std::thread::Builder::new().name("decision".into()).spawn(run)?;
        Ok(Self { messages })
    }

    /// Installs a plan. Returns once its weights are published. False if that panicked: then the
    /// old weights stay.
    #[must_use]
    pub(crate) fn install(&self, plan: Plan) -> bool {
        let (done, published) = channel();
        let installation = Installation { plan: Box::new(plan), done };
        self.messages.send(Message::Install(installation)).is_ok() && published.recv().is_ok()
    }
}

/// State of the decision thread.
struct Decisions {
    plan: Plan,
    board: Arc<Board>,
    changes: Arc<ChangeNotifier>,
    /// Counters of strategies. All fleets share these counters, and also `changes`.
    strategies: Arc<StrategyTable>,
    agenda: Agenda,
    installations: VecDeque<Installation>,
    /// True if requests may still hold replaced snapshots.
    keeps: bool,
}

impl Decisions {
    /// Runs until all senders are dropped.
    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let now = Instant::now();
            let due = self.plan.next(now);
            match self.agenda.step(!self.installations.is_empty(), due, now) {
                AgendaStep::Install => self.install(),
                AgendaStep::Decide => self.decide(),
                AgendaStep::Wait(until) => {
                    if !self.wait(inbox, until) {
                        return;
                    }
                    continue;
                }
            }
            // A message that arrived meanwhile may change the next step.
            inbox.try_iter().for_each(|message| self.take(message));
            self.keeps = self.board.release();
        }
    }

    /// Waits for a message, at most until `until`. False if all senders are dropped.
    fn wait(&mut self, inbox: &Receiver<Message>, until: Option<Instant>) -> bool {
        let until = until.map(|until| until.saturating_duration_since(Instant::now()));
        let wait = [until, self.keeps.then_some(RELEASE)].into_iter().flatten().min();
        let message = match wait {
            Some(wait) => inbox.recv_timeout(wait),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match message {
            Ok(message) => {
                self.take(message);
                inbox.try_iter().for_each(|message| self.take(message));
            }
            Err(RecvTimeoutError::Timeout) if self.keeps => self.keeps = self.board.release(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Changed => self.agenda.changed(Instant::now()),
            Message::Install(installation) => self.installations.push_back(installation),
        }
    }

    fn install(&mut self) {
        let Some(Installation { mut plan, done }) = self.installations.pop_front() else { return };
        let (board, now) = (&self.board, Instant::now());
        let installed = catch(|| {
            let (snapshot, failures) = plan.install(now, || now.elapsed() < SLICE);
            report(&mut plan, &self.strategies, failures);
            board.publish(snapshot);
        });
        match installed {
            Ok(()) => {
                self.plan = *plan;
                // The reload that waited may have been dropped.
                let _ = done.send(());
            }
            Err(panic) => panic.log("a decision panicked, the last weights stay"),
        }
        // Pending changes are decided next, by the plan that is then in use.
        self.agenda.decided(Instant::now());
        self.agenda.changed(Instant::now());
    }

    fn decide(&mut self) {
        let Self { plan, board, changes, strategies, .. } = self;
        let now = Instant::now();
        let decided = catch(|| {
            let changed = changes.take();
            let in_time = || now.elapsed() < SLICE;
            let decision = plan.decide(changed.iter().map(|model| &**model), now, in_time);
            report(plan, strategies, decision.failures);
            if let Some(snapshot) = decision.snapshot {
                board.publish(snapshot);
            }
        });
        match decided {
            Ok(()) => self.agenda.decided(Instant::now()),
            Err(panic) => {
                panic.log("a decision panicked, the last weights stay");
                // The changes that it took are lost, so all models are decided again.
                self.plan.decide_all();
                self.agenda.panicked(Instant::now());
            }
        }
    }
}

/// Counts good answers and faults of strategies, and logs the faults.
fn report(plan: &mut Plan, strategies: &StrategyTable, failures: Vec<Failed>) {
    count(plan, strategies);
    for Failed { strategy, role, call, fault, rests_for } in failures {
        let strategy = plan.name(strategy, role);
        strategies.of(strategy).faults.add(fault.cause(), 1);
        let is_candidate = role == Role::Candidate;
        match call {
            FailedCall::Assign(model) | FailedCall::AssignRequest(model) => {
                tracing::warn!(strategy, is_candidate, model, %fault, "the last good weights stay");
            }
            FailedCall::Outcome => {
                tracing::warn!(strategy, is_candidate, %fault, "the strategy failed on the outcomes of attempts");
            }
        }
        if let Some(cause) = rests_for {
            let (cause, seconds) = (cause.as_str(), Breaker::REST.as_secs());
            tracing::error!(strategy, is_candidate, cause, seconds, %fault, "the strategy is not asked for a time");
        }
    }
}

/// Counts the good answers of strategies since the last call.
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
    use contract::{Description, Fault, RawWeights, Situation, Strategy};
    use fleet::{Fleet, Generation, Snapshot, StrategyInfo};
    use routing::Seat;

    /// Simulates a bug in the host: panics in its second call, and returns other weights
    /// afterwards.
    struct Moody(Description, u32);

    impl Moody {
        fn new() -> Self {
            Self(Description::named("moody"), 0)
        }
    }

    impl Strategy for Moody {
        fn description(&self) -> &Description {
            &self.0
        }

        fn assign(&mut self, _: Situation<'_>) -> Result<RawWeights, Fault> {
            self.1 += 1;
            match self.1 {
                1 => Ok(RawWeights { local: vec![1.0, 0.0], remote: Vec::new() }),
                2 => panic!("moody"),
                _ => Ok(RawWeights { local: vec![0.0, 1.0], remote: Vec::new() }),
            }
        }
    }

    /// A generation with these settings and two deployments, for which a [`Moody`] strategy
    /// decides.
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
        let moody = StrategyInfo { name: "moody".to_owned(), ..StrategyInfo::default() };
        let fleet = Fleet::build(&config, previous);
        Generation {
            config,
            fleet,
            strategies: vec![moody],
            books: None,
            loaded_at: SystemTime::now(),
        }
    }

    /// A plan whose strategy was asked once, in the trial, and panics at the next question.
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
        // The decision panics, and is then repeated without another change.
        let fleet = &board.snapshot().generation.fleet;
        fleet.models[0].deployments[0].announce_change();
        let start = Instant::now();
        while weights() != [0.0, 1.0] {
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", weights());
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(decider);
    }
}
