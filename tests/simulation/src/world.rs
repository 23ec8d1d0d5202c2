//! The world of a scene: the engines, the gateway's own state, and what was seen to go wrong.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use config::{
    Capability, Concurrency, Config, DeploymentConfig, Model, ProbeTarget, Probing, Timeouts,
    TotalTime,
};
use fleet::{Deployment, Fleet, Generation, Snapshot};
use routing::{Agenda, AgendaStep, Plan};

use crate::Trace;
use crate::checks::{Allowance, Rule, Violation};
use crate::engine::Engine;
use crate::luck::jitter;
use crate::scene::{ModelScene, Scene};

/// So long after the last client all faults are over.
const LATE: Duration = Duration::from_secs(60);

/// What is counted of the attempts at one deployment.
#[derive(Debug, Default)]
pub(crate) struct Site {
    /// Attempts under way.
    pub(crate) open: Cell<u32>,
    /// When as many were under way as are configured.
    pub(crate) maxed: Cell<Option<Instant>>,
    /// When it was last seen to be out, or about to be tried again.
    pub(crate) out: Cell<Option<Instant>>,
    /// When its last attempt was seen to have failed.
    pub(crate) failing: Cell<Option<Instant>>,
    /// An answer from it began.
    pub(crate) answered: Cell<bool>,
    /// It went out before it had answered anybody.
    pub(crate) unproven: Cell<bool>,
    /// It asked to be left alone until then.
    pub(crate) cools: Cell<Option<Instant>>,
}

/// How often things happened, so that a test sees that scenes are not empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Attempts.
    pub attempts: u64,
    /// Whole answers.
    pub whole: u64,
    /// Answers that broke after their commit point, and were told.
    pub broken: u64,
    /// Requests that an engine called wrong.
    pub rejected: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Requests that had a full engine's refusal.
    pub refusals: u64,
    /// Requests whose client left.
    pub left: u64,
    /// Extra attempts that cost budget.
    pub extra: u64,
    /// Decisions.
    pub decisions: u64,
    /// Ejections.
    pub ejections: u64,
    /// Pauses that were asked for.
    pub pauses: u64,
    /// Waits in line.
    pub waits: u64,
    /// Scenes in which a full engine was measured.
    pub measured: u64,
    /// Scenes in which a request failed everywhere.
    pub poisoned: u64,
}

/// Everything in a scene that runs.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) began: Instant,
    pub(crate) engines: Vec<Rc<Engine>>,
    pub(crate) generation: Arc<Generation>,
    snapshot: RefCell<Arc<Snapshot>>,
    /// By model and deployment.
    pub(crate) sites: Vec<Vec<Rc<Site>>>,
    pub(crate) allowance: RefCell<Allowance>,
    pub(crate) counts: RefCell<Counts>,
    violation: RefCell<Option<Violation>>,
    pub(crate) violated: Notify,
    /// The next request.
    pub(crate) ids: Cell<u64>,
    /// Requests under way.
    pub(crate) under_way: Cell<u32>,
    /// The number of a request, None for all others, and what happened.
    trace: RefCell<Vec<(Option<u64>, String)>>,
    traces: Trace,
}

impl World {
    pub(crate) fn new(scene: Scene, trace: Trace) -> (Rc<Self>, Plan) {
        let began = Instant::now();
        let config = config(&scene);
        let fleet = Fleet::with_jitter(&config, None, jitter);
        let (strategies, loaded_at) = (Vec::new(), SystemTime::now());
        let generation = Arc::new(Generation { config, fleet, strategies, books: None, loaded_at });
        let (plan, snapshot) =
            Plan::tried(Arc::clone(&generation), Vec::new()).expect("no strategy can fail");
        let engines = scene.engines.iter().cloned().map(|e| Engine::new(e, began)).collect();
        let sites = |model: &ModelScene| model.deployments.iter().map(|_| Rc::default()).collect();
        let world = Self {
            began,
            engines,
            generation,
            snapshot: RefCell::new(Arc::new(snapshot)),
            sites: scene.models.iter().map(sites).collect(),
            allowance: RefCell::new(Allowance::new(scene.fallback.budget, began)),
            counts: RefCell::default(),
            violation: RefCell::default(),
            violated: Notify::new(),
            ids: Cell::new(0),
            under_way: Cell::new(0),
            traces: trace,
            trace: RefCell::default(),
            scene,
        };
        (Rc::new(world), plan)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// The engine of a deployment.
    pub(crate) fn engine_of(&self, config: &DeploymentConfig) -> &Rc<Engine> {
        &self.engines[usize::from(config.endpoint.origin.port)]
    }

    pub(crate) fn deployments(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.generation.fleet.deployments()
    }

    /// Records what must not happen. The first stops the scene.
    pub(crate) fn violated(&self, rule: Rule, request: Option<u64>, what: String) {
        self.note(request, || format!("VIOLATED {rule:?}: {what}"));
        let at = self.began.elapsed();
        self.violation.borrow_mut().get_or_insert(Violation { rule, at, request, what });
        self.violated.notify_one();
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.violation.borrow().clone()
    }

    /// Writes a line of the trace, if there is one.
    pub(crate) fn note(&self, request: Option<u64>, what: impl FnOnce() -> String) {
        if self.traces == Trace::Off {
            return;
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let who = request.map_or_else(|| "       ".to_owned(), |id| format!("r{id:<6}"));
        let line = format!("{seconds:9.3} {who} {}", what());
        match self.traces {
            Trace::Printed => eprintln!("{line}"),
            _ => self.trace.borrow_mut().push((request, line)),
        }
    }

    /// The lines of the trace: all, or those of one request and of no request.
    pub(crate) fn trace(&self, request: Option<u64>) -> Vec<String> {
        let is_of = |of: Option<u64>| request.is_none() || of.is_none() || of == request;
        self.trace
            .borrow()
            .iter()
            .filter(|(of, _)| is_of(*of))
            .map(|(_, line)| line.clone())
            .collect()
    }

    /// Decides as the gateway's decision thread does, for ever.
    pub(crate) async fn decide(self: Rc<Self>, mut plan: Plan) {
        let (mut agenda, changed) = (Agenda::default(), Arc::new(Notify::new()));
        let changes = Arc::clone(&self.generation.fleet.changes);
        let listener = Arc::clone(&changed);
        changes.listen(move || listener.notify_one());
        loop {
            let now = fleet::now();
            match agenda.step(false, plan.next(now), now) {
                AgendaStep::Install | AgendaStep::Decide => {
                    let mut ids: Vec<Arc<str>> = changes.take().into_iter().collect();
                    ids.sort_unstable();
                    let decision = plan.decide(ids.iter().map(|id| &**id), now, || true);
                    if let Some(snapshot) = decision.snapshot {
                        self.note_states(&snapshot);
                        *self.snapshot.borrow_mut() = Arc::new(snapshot);
                    }
                    agenda.decided(now);
                    self.counts.borrow_mut().decisions += 1;
                    self.judge_deployments();
                }
                AgendaStep::Wait(until) => {
                    let until = until.unwrap_or(now + Duration::from_secs(86_400));
                    tokio::select! {
                        biased;
                        () = changed.notified() => agenda.changed(fleet::now()),
                        () = tokio::time::sleep_until(until.into()) => {}
                    }
                }
            }
        }
    }

    fn note_states(&self, snapshot: &Snapshot) {
        for (model, route) in self.generation.fleet.models.iter().zip(&snapshot.routes) {
            self.note(None, || {
                let named = model.deployments.iter().zip(&route.states);
                let states = named.map(|(d, state)| {
                    let reason = state.reason.as_deref().unwrap_or_default();
                    format!("{} {} {reason}", d.config.name, state.condition.as_str())
                });
                let states: Vec<String> = states.collect();
                format!("{}: {} weights {:?}", model.config.id, states.join("; "), route.weights)
            });
        }
    }

    /// Probes an engine for ever.
    pub(crate) async fn probe(self: Rc<Self>, engine: usize, every: Duration) {
        let of = |d: &&Arc<Deployment>| usize::from(d.config.endpoint.origin.port) == engine;
        let sharers: Vec<_> = self.deployments().filter(of).cloned().collect();
        let Some(health) = sharers.first().and_then(|d| d.health.clone()) else { return };
        loop {
            // Seldom once the clients are gone: nothing new can be seen.
            let over = self.began.elapsed() > self.scene.lasts + LATE;
            tokio::time::sleep(if over { LATE } else { every }).await;
            let sent = fleet::now();
            tokio::time::sleep(Duration::from_millis(3)).await;
            let good = self.engines[engine].is_up();
            let result = if good { Ok(()) } else { Err("no answer".to_owned()) };
            let turned = health.record(result, &self.generation.config.probing);
            for deployment in &sharers {
                deployment.probe_ended(good, turned, sent, fleet::now());
            }
        }
    }
}

/// The configuration of a scene.
fn config(scene: &Scene) -> Config {
    let models = scene.models.iter().enumerate().map(|(at, model)| self::model(scene, at, model));
    Config {
        models: models.collect(),
        fallback: scene.fallback,
        ejection: scene.ejection,
        slow_start: scene.slow_start,
        probing: Probing { interval: scene.probing, ..Probing::default() },
        ..Config::default()
    }
}

fn model(scene: &Scene, at: usize, model: &ModelScene) -> Model {
    let deployments = model.deployments.iter().enumerate().map(|(nth, deployment)| {
        let engine = &scene.engines[deployment.engine];
        let port = u16::try_from(deployment.engine).unwrap_or_default();
        let (connect, first_byte) = (scene.timeouts.connect, scene.timeouts.first_byte);
        let (idle, pool_idle) = (scene.timeouts.idle, Duration::ZERO);
        DeploymentConfig {
            name: format!("d{nth}@e{port}"),
            side: engine.side,
            capability: Capability {
                context_length: engine.context,
                input: contract::Modalities::NONE,
                output: contract::Modalities::NONE,
                tools: true,
            },
            weight: deployment.weight,
            probe: scene.probing.map(|_| ProbeTarget::default()),
            metrics: None,
            concurrency: Concurrency {
                max: deployment.max,
                queue: deployment.queue,
                wait: deployment.wait,
            },
            timeouts: Timeouts { connect, first_byte, idle, pool_idle },
            ..samples::deployment(port)
        }
    });
    Model {
        id: format!("m{at}"),
        sides: model.sides,
        total: TotalTime(model.total),
        ..samples::model(deployments.collect())
    }
}
