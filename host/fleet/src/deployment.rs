//! Deployments and the models they serve: configuration joined with live state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use config::{Config, DeploymentConfig, Model, Origin, ProbeTarget, Redactor};
use contract::{Candidate, Place, Price};

use super::load::clock;
use super::names::{self, Letters};
use super::siblings::{Member, Siblings};
use super::standing::{Change, Standing};
use super::{
    Budget, ChangeNotifier, Condition, DeploymentMeters, Health, Load, ModelMeters, Permit,
    ProbeRequests, Slot, Slots, State, StrategyTable,
};

/// One place a model runs: how it is configured and how it is doing.
#[derive(Debug)]
pub struct Deployment {
    /// The model it serves.
    pub model: Arc<str>,
    /// As configured.
    pub config: DeploymentConfig,
    /// Position of `place` among those of its model's strategy.
    pub id: u32,
    /// What a strategy is told of it once.
    pub place: Place,
    /// Requests on it and how the recent ones went.
    pub load: Arc<Load>,
    /// What its probes say; shared with every deployment that asks the same question. None: not
    /// probed.
    pub health: Option<Arc<Health>>,
    /// Places for attempts.
    pub slots: Arc<Slots>,
    /// Knows what must not be told of any deployment.
    pub redactor: Arc<Redactor>,
    /// What its attempts are counted on.
    pub meters: Arc<DeploymentMeters>,
    pub(super) standing: Arc<Standing>,
    pub(super) siblings: Arc<Siblings>,
}

impl Deployment {
    /// What a strategy is told of it at `now`; `condition` is that of its [`State`].
    #[must_use]
    pub fn candidate(&self, condition: Condition, now: Instant) -> Candidate<'_> {
        self.load.candidate(self.id, &self.place, self.slots.waiting(), condition, clock(now))
    }

    /// How it is doing: what probes and requests say of it together.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        let health = self.health.as_ref().map(|health| (health.is_up(), health.observation()));
        let mut state = self.standing.state(now, &self.siblings.slow_start);
        match health {
            Some((false, seen)) => State {
                condition: Condition::Unhealthy,
                reason: seen.reason,
                since: seen.since,
                factor: 1.0,
            },
            seen => {
                let since = seen.map_or_else(|| self.load.created(), |(_, seen)| seen.since);
                state.since = state.since.max(since);
                state
            }
        }
    }

    /// When time alone changes its state next.
    #[must_use]
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        self.standing.next_change(now, &self.siblings.slow_start)
    }

    /// Whether requests would be admitted now. Cheap, and takes nothing.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        self.standing.is_open(now)
    }

    /// Lets a request through that has a place, unless the deployment is ejected, cooling or without
    /// credential by now. Of one whose ejection is over exactly one request at a time is let through.
    #[must_use]
    pub fn admit(self: &Arc<Self>, slot: Slot, now: Instant) -> Option<Permit> {
        self.standing.admit(now).map(|turn| Permit::new(self, turn, slot, now))
    }

    /// The same where there is nothing better: only what asks to be left alone is.
    #[must_use]
    pub fn admit_in_panic(self: &Arc<Self>, slot: Slot, now: Instant) -> Option<Permit> {
        self.standing.admit_in_panic(now).map(|turn| Permit::new(self, turn, slot, now))
    }

    /// Whether it asks to be left alone.
    #[must_use]
    pub fn is_cooling(&self, now: Instant) -> bool {
        self.standing.is_cooling(now)
    }

    /// A probe sent at `sent` succeeded; `came_up`: the deployment had been down. Says whether that
    /// changed anything.
    pub fn probed(&self, sent: Instant, came_up: bool, now: Instant) -> bool {
        self.standing.probed(sent, came_up, now, self.siblings.ramp(now))
    }

    /// A probe sent at `sent` failed.
    pub fn probe_failed(&self, sent: Instant) {
        self.standing.probe_failed(sent, Instant::now());
    }

    /// Logs a change, once, and has it published.
    pub(super) fn tell(&self, change: Change) {
        let (model, name) = (&*self.model, &*self.config.name);
        if matches!(
            change,
            Change::Ejected { .. } | Change::Cooling { .. } | Change::Credential { .. }
        ) {
            self.slots.disperse();
        }
        match change {
            Change::None | Change::Due(_) => return,
            Change::Ejected { reason, lasts } => {
                self.load.record_ejection();
                tracing::warn!(model, deployment = name, reason, ?lasts, "ejected");
                if let Some(health) = &self.health {
                    health.ask();
                }
            }
            Change::Cooling { reason } => {
                tracing::info!(model, deployment = name, reason, "cooling");
            }
            Change::Credential { reason } => tracing::error!(
                model,
                deployment = name,
                reason,
                "out of use until the files are loaded again, or a probe succeeds"
            ),
            Change::Restored => {
                self.load.forget();
                tracing::info!(model, deployment = name, "restored");
            }
        }
        self.announce_change();
    }

    /// Tells the decision layer that the state of this deployment changed.
    pub fn announce_change(&self) {
        self.siblings.changes.add(&self.model);
    }
}

/// A model and its deployments.
#[derive(Debug)]
pub struct FleetModel {
    /// As configured.
    pub config: Model,
    /// In the order of the configuration.
    pub deployments: Vec<Arc<Deployment>>,
    /// What its requests are counted on.
    pub meters: Arc<ModelMeters>,
    siblings: Arc<Siblings>,
}

impl FleetModel {
    /// Counts a request for it.
    pub fn note(&self, now: Instant) {
        self.siblings.rate.note(now);
    }

    /// The shortest time after which one of its deployments, out for a time now, may be used again.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.deployments.iter().filter_map(|deployment| deployment.standing.wait(now)).min()
    }
}

/// All models, and the names clients know them by.
#[derive(Debug)]
pub struct Fleet {
    /// In the order of `models.yaml`.
    pub models: Vec<FleetModel>,
    /// Extra attempts that may be made.
    pub budget: Arc<Budget>,
    /// Models whose deployments changed.
    pub changes: Arc<ChangeNotifier>,
    /// Places that are to be probed now.
    pub probe_requests: Arc<ProbeRequests>,
    /// Counters of strategies.
    pub strategies: Arc<StrategyTable>,
    redactor: Arc<Redactor>,
    deciding: Arc<Mutex<()>>,
    by_name: foldhash::HashMap<String, usize>,
    /// Positions of the models of each strategy.
    by_strategy: Vec<Vec<usize>>,
    /// Of the id of each model.
    letters: Vec<Letters>,
}

impl Fleet {
    /// Joins a configuration with the live state of `previous`: a deployment that is still
    /// configured keeps its load, health and standing, so that a reload forgets nothing.
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
        // Each strategy counts the deployments of its own models.
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
        let same = |config: &DeploymentConfig| {
            let place = |config: &DeploymentConfig| {
                (config.endpoint.clone(), config.provider_model_id.clone())
            };
            old?.deployments.iter().find(|old| place(&old.config) == place(config))
        };
        let member = |config: &DeploymentConfig| Member {
            standing: same(config).map_or_else(Arc::default, |old| Arc::clone(&old.standing)),
            health: healths.health(config),
        };
        let members: Vec<Member> = model.deployments.iter().map(member).collect();
        let states: Vec<_> =
            members.iter().map(|m| (Arc::clone(&m.standing), m.health.clone())).collect();
        let rate = old.map(|old| Arc::clone(&old.siblings.rate));
        let (changes, deciding) = (Arc::clone(&self.changes), Arc::clone(&self.deciding));
        let siblings = Arc::new(Siblings::new(config, changes, rate, deciding, members));
        let id: Arc<str> = model.id.as_str().into();
        let mut deployment =
            |(config, (standing, health)): (&DeploymentConfig, (Arc<Standing>, _))| {
                let slots = || Arc::new(Slots::new(config.concurrency.max));
                Arc::new(Deployment {
                    model: Arc::clone(&id),
                    id: std::mem::replace(first, *first + 1),
                    place: place_of(model, config),
                    load: same(config).map_or_else(Arc::default, |old| Arc::clone(&old.load)),
                    health,
                    slots: same(config).map_or_else(slots, |old| Arc::clone(&old.slots)),
                    redactor: Arc::clone(&self.redactor),
                    meters: same(config).map_or_else(Arc::default, |old| Arc::clone(&old.meters)),
                    standing,
                    siblings: Arc::clone(&siblings),
                    config: config.clone(),
                })
            };
        let deployments = model.deployments.iter().zip(states).map(&mut deployment).collect();
        let new = || Arc::new(ModelMeters::of(&model.id));
        let meters = old.map_or_else(new, |old| Arc::clone(&old.meters));
        FleetModel { config: model.clone(), deployments, meters, siblings }
    }

    /// The index of the model a client means by `name`: an id or an alias.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The ids of the `count` models whose ids are most like `name`, the nearest first.
    pub fn nearest(&self, name: &str, count: usize) -> impl Iterator<Item = &str> {
        let id = |at: usize| &*self.models[at].config.id;
        names::nearest(name, count, &self.letters, id).into_iter().map(id)
    }

    /// What the strategy of this index is told once: the places of the models that it decides for.
    #[must_use]
    pub fn places(&self, strategy: usize) -> Vec<Place> {
        let models = self.models_of(strategy).iter().map(|model| &self.models[*model]);
        models.flat_map(|model| &model.deployments).map(|d| d.place.clone()).collect()
    }

    /// Positions of the models that the strategy of this index decides for.
    #[must_use]
    pub fn models_of(&self, strategy: usize) -> &[usize] {
        self.by_strategy.get(strategy).map_or(&[], Vec::as_slice)
    }

    /// Every deployment of every model.
    pub fn deployments(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.models.iter().flat_map(|model| &model.deployments)
    }

    /// Says that this fleet is put in use. Its credentials may be others than before: those out for
    /// theirs are tried again. So may be the number of places.
    pub fn loaded(&self, now: Instant) {
        for deployment in self.deployments() {
            deployment.standing.loaded(now);
            deployment.slots.resize(deployment.config.concurrency.max);
        }
    }
}

/// What a strategy is told of a deployment once.
fn place_of(model: &Model, config: &DeploymentConfig) -> Place {
    let price = config.pricing.prompt.parse().ok().zip(config.pricing.completion.parse().ok());
    Place {
        name: config.name.clone(),
        model: model.id.clone(),
        side: config.side,
        weight: config.weight,
        capacity: config.concurrency.max,
        price: price.map(|(prompt, completion)| Price { prompt, completion }),
        context_length: model.card.context_length,
    }
}

/// The state of every probed place, of which several deployments may be part.
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
