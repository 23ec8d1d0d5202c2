//! Deployments and the models they serve: configuration joined with live state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use config::{Config, DeploymentConfig, Model, Origin, ProbeTarget, Redactor, StrategyConfig};
use contract::{Candidate, Place, Side};

use super::load::clock;
use super::names::{self, Letters};
use super::place::place_of;
use super::siblings::{Member, Siblings};
use super::standing::{Change, Standing};
use super::suspicions::Suspicions;
use super::{
    Budget, ChangeNotifier, Condition, DeploymentMeters, Health, Load, ModelMeters, Permit,
    ProbeRequests, Ramp, Reports, Slot, Slots, State, StrategyTable,
};

/// The reason that is shown of a stalled deployment.
const STALLED: &str =
    "gives no first byte in time while others are answered: one request at a time tries it";

/// One place a model runs: its configuration and its live state.
#[derive(Debug)]
pub struct Deployment {
    /// Id of the model it serves.
    pub model: Arc<str>,
    /// Its configuration. A reload builds a new `Deployment`.
    pub config: DeploymentConfig,
    /// Index of `place` in [`Fleet::places`] of its model's strategy.
    pub id: u32,
    /// The fixed facts that a strategy is told once.
    pub place: Place,
    /// Attempts in flight, and averages of the recent ones. Kept over reloads.
    pub load: Arc<Load>,
    /// The result of its probes, shared by all deployments with the same origin and probe. None if
    /// it is not probed.
    pub health: Option<Arc<Health>>,
    /// Limits its concurrent attempts. Kept over reloads.
    pub slots: Arc<Slots>,
    /// Removes the addresses and keys of all deployments from a text.
    pub redactor: Arc<Redactor>,
    /// Counters of its attempts. Kept over reloads.
    pub meters: Arc<DeploymentMeters>,
    /// Its failures as the log tells them.
    pub reports: Reports,
    pub(super) standing: Arc<Standing>,
    pub(super) suspicions: Arc<Suspicions>,
    pub(super) siblings: Arc<Siblings>,
}

impl Deployment {
    /// The live numbers that a strategy is told at `now`. `condition` is that of its [`State`].
    #[must_use]
    pub fn candidate(&self, condition: Condition, now: Instant) -> Candidate<'_> {
        self.load.candidate(self.id, &self.place, self.slots.waiting(), condition, clock(now))
    }

    /// Its state, from probes and requests together. A failing probe takes precedence.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        let health = self.health.as_ref().map(|health| (health.is_up(), health.observation()));
        let suspected = self.suspicions.state(now);
        let standing = || self.standing.state(now, &self.siblings.slow_start);
        let mut state = suspected.unwrap_or_else(standing);
        let stalled = self.slots.report().stalled;
        match health {
            Some((false, seen)) => State {
                condition: Condition::Unhealthy,
                reason: seen.reason,
                since: seen.since,
                factor: 1.0,
            },
            seen => {
                if let (Condition::Healthy, Some(since)) = (state.condition, stalled) {
                    let (condition, reason) = (Condition::Stalled, Some(STALLED.into()));
                    return State { condition, reason, since, factor: 1.0 };
                }
                // Both sources must agree for the state to hold, so the later one began it.
                let since = seen.map_or_else(|| self.load.created(), |(_, seen)| seen.since);
                state.since = state.since.max(since);
                state
            }
        }
    }

    /// The next time at which its state changes without an event.
    #[must_use]
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let standing = self.standing.next_change(now, &self.siblings.slow_start);
        [standing, self.suspicions.next_change(now)].into_iter().flatten().min()
    }

    /// True if a request would be admitted now. Cheap, and claims no trial.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        self.standing.is_open(now) && self.suspicions.is_open(now)
    }

    /// Admits a request that has a slot. None if the deployment is ejected, cooling or suspected.
    /// After the time of that, exactly one request at a time is admitted.
    #[must_use]
    pub fn admit(self: &Arc<Self>, slot: Slot, now: Instant) -> Option<Permit> {
        if !self.suspicions.admit(now) {
            return None;
        }
        self.standing.admit(now).map(|turn| Permit::new(self, turn, slot, now))
    }

    /// Like [`admit`](Self::admit), for panic mode: ignores an ejection and suspicions, still honours
    /// cooling.
    #[must_use]
    pub fn admit_in_panic(self: &Arc<Self>, slot: Slot, now: Instant) -> Option<Permit> {
        let turn = self.standing.admit_in_panic(now)?;
        self.suspicions.admit_in_panic(now);
        Some(Permit::new(self, turn, slot, now))
    }

    /// Records that it refused an attempt. A remote deployment that names a `wait` has an allowance
    /// of requests per time, and is left alone for that long. A local one is full: its wait is a
    /// guess of its own, and its places are free again sooner. The attempt was number `level` at it,
    /// at `sent`.
    /// Returns the time to leave it alone.
    pub(super) fn refused(
        &self,
        wait: Option<Duration>,
        (level, sent): (u32, Instant),
        now: Instant,
    ) -> Option<Duration> {
        let is_remote = self.config.side == Side::Remote;
        if is_remote && wait.is_some_and(|wait| !wait.is_zero()) {
            self.slots.spend(now);
            return wait;
        }
        if is_remote && self.slots.taken() <= 1 {
            // Nothing else was out, so that it is the allowance that is used up.
            self.slots.suspect_spent(now);
        }
        self.slots.refuse(level, sent, now);
        None
    }

    /// Records that an attempt, sent at `sent`, got no first byte in time. Returns false if it
    /// answered nobody since then, so that this is a failure.
    pub(super) fn stalled(&self, sent: Instant, now: Instant) -> bool {
        let stalled = self.slots.stall(sent, now);
        if stalled {
            let (model, deployment) = (&*self.model, &*self.config.name);
            tracing::debug!(model, deployment, "no first byte in time while others are answered");
            self.announce_change();
        }
        stalled
    }

    /// Whether a request may wait for a place at it: it is up, and neither ejected nor suspected.
    #[must_use]
    pub fn is_worth_waiting(&self, now: Instant) -> bool {
        let is_up = self.health.as_ref().is_none_or(|health| health.is_up());
        is_up && self.standing.is_worth_waiting(now) && self.suspicions.is_open(now)
    }

    /// When its pause is over, if it asked for one.
    #[must_use]
    pub fn cools_until(&self, now: Instant) -> Option<Instant> {
        self.standing.cools_until(now)
    }

    /// Records a successful probe sent at `sent`. `came_up` is true if the deployment was down
    /// before. Returns true if the state changed.
    pub fn probed(&self, sent: Instant, came_up: bool, now: Instant) -> bool {
        let ramp = self.siblings.ramp(now);
        let suspected = came_up && self.suspicions.came_up(now);
        let changed = self.standing.probed(sent, came_up, now, ramp) || suspected;
        if came_up {
            self.come_back(ramp, now);
        }
        changed
    }

    /// Records a failed probe sent at `sent`.
    pub fn probe_failed(&self, sent: Instant) {
        self.standing.probe_failed(sent, Instant::now());
    }

    /// Logs a change and has it published. Requests that wait for a deployment leave it when it
    /// goes out of use.
    pub(super) fn tell(&self, change: Change, now: Instant) {
        let (model, name) = (&*self.model, &*self.config.name);
        if matches!(
            change,
            Change::Ejected { .. } | Change::Cooling { .. } | Change::Suspected { .. }
        ) {
            self.slots.disperse();
        }
        match change {
            Change::None | Change::Due(_) => return,
            Change::Ejected { reason, lasts } => {
                self.load.record_ejection();
                tracing::warn!(model, deployment = name, reason, ?lasts, "ejected");
                // If this probe fails, a later success may end the ejection early.
                if let Some(health) = &self.health {
                    health.ask();
                }
            }
            Change::Cooling { reason } => {
                tracing::info!(model, deployment = name, reason, "cooling");
            }
            // Said already when it went out for the first time.
            Change::Suspected { again: true, .. } => {}
            Change::Suspected { reason, .. } => {
                tracing::warn!(model, deployment = name, reason, "out of use for a time");
            }
            Change::Restored => {
                self.load.forget();
                self.come_back(self.siblings.ramp(now), now);
                tracing::info!(model, deployment = name, "restored");
            }
        }
        self.announce_change();
    }

    /// Begins slow start of its places, if it comes back with one.
    fn come_back(&self, ramp: Option<Ramp>, now: Instant) {
        let settings = &self.siblings.slow_start;
        let lasts = settings.duration.filter(|_| ramp.is_some());
        self.slots.come_back(lasts.map(|lasts| (settings.from, lasts)), now);
    }

    /// Time until it may be used again. None if it may be used now.
    fn wait(&self, now: Instant) -> Option<Duration> {
        self.standing.wait(now).max(self.suspicions.wait(now))
    }

    /// Tells the decision layer that the state of this deployment changed.
    pub fn announce_change(&self) {
        self.siblings.changes.add(&self.model);
    }
}

/// A model with its deployments.
#[derive(Debug)]
pub struct FleetModel {
    /// Its configuration.
    pub config: Model,
    /// In the order of the configuration.
    pub deployments: Vec<Arc<Deployment>>,
    /// Counters of its requests. Kept over reloads.
    pub meters: Arc<ModelMeters>,
    /// The deployments differ in what they can do, so that a request may fit some of them only.
    pub is_varied: bool,
    siblings: Arc<Siblings>,
}

impl FleetModel {
    /// Counts a request. Slow start depends on the rate of requests.
    pub fn note(&self, now: Instant) {
        self.siblings.rate.note(now);
    }

    /// The shortest time until one of its deployments that are ejected or cooling may be used
    /// again.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.deployments.iter().filter_map(|deployment| deployment.wait(now)).min()
    }
}

/// All models, found by id or alias.
#[derive(Debug)]
pub struct Fleet {
    /// In the order of `models.yaml`.
    pub models: Vec<FleetModel>,
    /// The retry budget of all models. Kept over reloads.
    pub budget: Arc<Budget>,
    /// Models whose deployments changed.
    pub changes: Arc<ChangeNotifier>,
    /// Places to probe at once.
    pub probe_requests: Arc<ProbeRequests>,
    /// Counters of strategies by name. Kept over reloads.
    pub strategies: Arc<StrategyTable>,
    redactor: Arc<Redactor>,
    /// Held while an ejection is decided. Kept over reloads.
    deciding: Arc<Mutex<()>>,
    by_name: foldhash::HashMap<String, usize>,
    /// For each strategy, the positions of its models.
    by_strategy: Vec<Vec<usize>>,
    /// Letter counts of each model's id, to find similar ids.
    letters: Vec<Letters>,
}

impl Fleet {
    /// Joins a configuration with the live state of `previous`. A deployment with the same model,
    /// endpoint and upstream model keeps its load, slots, standing and counters, so that a reload
    /// forgets nothing.
    #[must_use]
    pub fn build(config: &Config, previous: Option<&Fleet>) -> Self {
        let now = Instant::now();
        let mut fleet = Self {
            models: Vec::new(),
            redactor: Arc::new(Redactor::new(&config.models)),
            budget: previous
                .map_or_else(|| Arc::new(Budget::new(now)), |fleet| Arc::clone(&fleet.budget)),
            changes: previous.map_or_else(Arc::default, |fleet| Arc::clone(&fleet.changes)),
            probe_requests: previous
                .map_or_else(Arc::default, |fleet| Arc::clone(&fleet.probe_requests)),
            strategies: previous.map_or_else(Arc::default, |fleet| Arc::clone(&fleet.strategies)),
            deciding: previous.map_or_else(Arc::default, |fleet| Arc::clone(&fleet.deciding)),
            by_name: foldhash::HashMap::default(),
            by_strategy: Vec::new(),
            letters: config.models.iter().map(|model| Letters::of(&model.id)).collect(),
        };
        let mut healths = Healths::of(config, previous, &fleet.probe_requests);
        // Ids count the deployments of all models of one strategy.
        let mut ids: HashMap<usize, u32> = HashMap::new();
        for (index, model) in config.models.iter().enumerate() {
            let first = ids.entry(model.strategy).or_default();
            fleet.by_name.insert(model.id.clone(), index);
            if fleet.by_strategy.len() <= model.strategy {
                fleet.by_strategy.resize_with(model.strategy + 1, Vec::new);
            }
            fleet.by_strategy[model.strategy].push(index);
            fleet.by_name.extend(model.aliases.iter().map(|alias| (alias.clone(), index)));
            let old = previous.and_then(|fleet| Some(&fleet.models[fleet.index_of(&model.id)?]));
            let model = fleet.model(config, model, old, &mut healths, first);
            fleet.models.push(model);
        }
        fleet
    }

    fn model(
        &self,
        config: &Config,
        model: &Model,
        old: Option<&FleetModel>,
        healths: &mut Healths,
        first: &mut u32,
    ) -> FleetModel {
        // The previous deployment with the same endpoint and upstream model: its name may have
        // changed.
        let same = |config: &DeploymentConfig| {
            let place = |config: &DeploymentConfig| {
                (config.endpoint.clone(), config.provider_model_id.clone())
            };
            old?.deployments.iter().find(|old| place(&old.config) == place(config))
        };
        let member = |config: &DeploymentConfig| Member {
            standing: same(config).map_or_else(Arc::default, |old| Arc::clone(&old.standing)),
            suspicions: same(config).map_or_else(Arc::default, |old| Arc::clone(&old.suspicions)),
            health: healths.health(config),
        };
        let members: Vec<Member> = model.deployments.iter().map(member).collect();
        let state =
            |m: &Member| (Arc::clone(&m.standing), Arc::clone(&m.suspicions), m.health.clone());
        let states: Vec<_> = members.iter().map(state).collect();
        let rate = old.map(|old| Arc::clone(&old.siblings.rate));
        let (changes, deciding) = (Arc::clone(&self.changes), Arc::clone(&self.deciding));
        let siblings = Arc::new(Siblings::new(config, changes, rate, deciding, members));
        let id: Arc<str> = model.id.as_str().into();
        let strategy = config.strategies.get(model.strategy);
        let is_affine = strategy.is_some_and(StrategyConfig::is_affine);
        let mut deployment = |(config, (standing, suspicions, health)): (
            &DeploymentConfig,
            (Arc<Standing>, _, _),
        )| {
            let slots = || Arc::new(Slots::new(config.side, config.concurrency.max));
            Arc::new(Deployment {
                model: Arc::clone(&id),
                id: std::mem::replace(first, *first + 1),
                place: place_of(model, config, is_affine),
                load: same(config).map_or_else(Arc::default, |old| Arc::clone(&old.load)),
                health,
                slots: same(config).map_or_else(slots, |old| Arc::clone(&old.slots)),
                redactor: Arc::clone(&self.redactor),
                meters: same(config).map_or_else(Arc::default, |old| Arc::clone(&old.meters)),
                reports: Reports::default(),
                standing,
                suspicions,
                siblings: Arc::clone(&siblings),
                config: config.clone(),
            })
        };
        let deployments = model.deployments.iter().zip(states).map(&mut deployment).collect();
        let new = || Arc::new(ModelMeters::of(&model.id));
        let meters = old.map_or_else(new, |old| Arc::clone(&old.meters));
        let capability = |at: usize| model.deployments[at].capability;
        let is_varied = (1..model.deployments.len()).any(|at| capability(at) != capability(0));
        FleetModel { config: model.clone(), deployments, meters, is_varied, siblings }
    }

    /// The index of the model with this id or alias.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The `count` model ids most similar to `name`, the most similar first.
    pub fn nearest(&self, name: &str, count: usize) -> impl Iterator<Item = &str> {
        let id = |at: usize| &*self.models[at].config.id;
        names::nearest(name, count, &self.letters, id).into_iter().map(id)
    }

    /// The places of all models of the strategy at this index. The strategy is told of them once.
    #[must_use]
    pub fn places(&self, strategy: usize) -> Vec<Place> {
        let models = self.models_of(strategy).iter().map(|model| &self.models[*model]);
        models.flat_map(|model| &model.deployments).map(|d| d.place.clone()).collect()
    }

    /// Positions of the models that the strategy at this index decides for.
    #[must_use]
    pub fn models_of(&self, strategy: usize) -> &[usize] {
        self.by_strategy.get(strategy).map_or(&[], Vec::as_slice)
    }

    /// Every deployment of every model.
    pub fn deployments(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.models.iter().flat_map(|model| &model.deployments)
    }

    /// Puts this fleet in use. Suspected deployments are tried again, since the files may have a new
    /// key or model. Slots are resized to the new configuration.
    pub fn loaded(&self) {
        for deployment in self.deployments() {
            if deployment.suspicions.loaded() {
                deployment.announce_change();
            }
            deployment.slots.resize(deployment.config.concurrency.max);
        }
    }
}

/// The health of every probed place. Deployments with the same origin and probe share one.
struct Healths {
    probing: bool,
    requests: Arc<ProbeRequests>,
    known: HashMap<(Origin, ProbeTarget), Arc<Health>>,
}

impl Healths {
    fn of(config: &Config, previous: Option<&Fleet>, requests: &Arc<ProbeRequests>) -> Self {
        let known = previous.into_iter().flat_map(Fleet::deployments).filter_map(|old| {
            let place = (old.config.endpoint.origin.clone(), old.config.probe.clone()?);
            Some((place, Arc::clone(old.health.as_ref()?)))
        });
        let requests = Arc::clone(requests);
        Self { probing: config.probing.interval.is_some(), requests, known: known.collect() }
    }

    fn health(&mut self, config: &DeploymentConfig) -> Option<Arc<Health>> {
        let probe = config.probe.clone().filter(|_| self.probing)?;
        let place = (config.endpoint.origin.clone(), probe);
        let new = || Arc::new(Health::of(Arc::clone(&self.requests)));
        Some(Arc::clone(self.known.entry(place).or_insert_with(new)))
    }
}
