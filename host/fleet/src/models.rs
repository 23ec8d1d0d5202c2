//! The models and their deployments, built from a configuration and the live state before it.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use config::{
    Config, DeploymentConfig, EngineMetrics, Model, Origin, ProbeTarget, QuotaUnit, Redactor,
    StrategyConfig,
};
use contract::Place;

use super::costs::Alternatives;
use super::names::{self, Letters};
use super::place::place_of;
use super::siblings::{Member, Siblings};
use super::standing::Standing;
use super::{
    Budget, ChangeNotifier, Deployment, DeploymentSignals, EngineSignals, Health, HedgeBudget,
    ModelMeters, ModelSignals, PrefixIndex, ProbeRequests, Quotas, Reports, Slots, StrategyTable,
    Tariff, Wall, jitter, now,
};

/// A model with its deployments.
#[derive(Debug)]
pub struct FleetModel {
    /// Its configuration.
    pub config: Model,
    /// In the order of the configuration.
    pub deployments: Vec<Arc<Deployment>>,
    /// Counters of its requests. Kept over reloads.
    pub meters: Arc<ModelMeters>,
    /// True if the deployments differ in what they can do. A request may then fit only some of
    /// them.
    pub is_varied: bool,
    /// What quotas of its deployments count. None: none has a quota.
    pub quotas: Option<QuotaUnit>,
    /// True if a deployment has a price for images.
    pub charges_images: bool,
    /// True if a provider is known to bill answers that are cancelled.
    pub bills_cancelled: bool,
    /// What its deployments share of signals. Kept over reloads.
    pub(super) signals: Arc<ModelSignals>,
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
    /// The budget of second attempts. Kept over reloads.
    pub hedges: Arc<HedgeBudget>,
    /// Models whose deployments changed.
    pub changes: Arc<ChangeNotifier>,
    /// Places to probe at once.
    pub probe_requests: Arc<ProbeRequests>,
    /// Counters of strategies by name. Kept over reloads.
    pub strategies: Arc<StrategyTable>,
    /// The index of prompt prefixes. Kept over reloads.
    pub prefixes: Arc<PrefixIndex>,
    redactor: Arc<Redactor>,
    /// Held while an ejection is decided. Kept over reloads.
    deciding: Arc<Mutex<()>>,
    /// Returns -1 to 1.
    jitter: fn() -> f64,
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
        Self::with_jitter(config, previous, jitter)
    }

    /// Like [`build`](Self::build). `jitter` must return -1 to 1.
    #[must_use]
    pub fn with_jitter(config: &Config, previous: Option<&Fleet>, jitter: fn() -> f64) -> Self {
        let now = now();
        let mut fleet = Self {
            models: Vec::new(),
            redactor: Arc::new(Redactor::new(&config.models)),
            budget: previous
                .map_or_else(|| Arc::new(Budget::new(now)), |fleet| Arc::clone(&fleet.budget)),
            hedges: previous.map_or_else(Arc::default, |fleet| Arc::clone(&fleet.hedges)),
            changes: previous.map_or_else(Arc::default, |fleet| Arc::clone(&fleet.changes)),
            probe_requests: previous
                .map_or_else(Arc::default, |fleet| Arc::clone(&fleet.probe_requests)),
            strategies: previous.map_or_else(Arc::default, |fleet| Arc::clone(&fleet.strategies)),
            prefixes: previous.map_or_else(Arc::default, |fleet| Arc::clone(&fleet.prefixes)),
            deciding: previous.map_or_else(Arc::default, |fleet| Arc::clone(&fleet.deciding)),
            jitter,
            by_name: foldhash::HashMap::default(),
            by_strategy: Vec::new(),
            letters: config.models.iter().map(|model| Letters::of(&model.id)).collect(),
        };
        let mut healths = Healths::of(config, previous, &fleet.probe_requests);
        let mut engines = Engines::of(previous);
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
            let model = fleet.model(config, model, old, (&mut healths, &mut engines), first);
            fleet.models.push(model);
        }
        fleet
    }

    fn model(
        &self,
        config: &Config,
        model: &Model,
        old: Option<&FleetModel>,
        (healths, engines): (&mut Healths, &mut Engines),
        first: &mut u32,
    ) -> FleetModel {
        let same = |config: &DeploymentConfig| predecessor(old?, config);
        let standing = || Arc::new(Standing::with_jitter(self.jitter));
        let member = |config: &DeploymentConfig| Member {
            standing: same(config).map_or_else(standing, |old| Arc::clone(&old.standing)),
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
        let signals = old.map_or_else(Arc::default, |old| Arc::clone(&old.signals));
        let id: Arc<str> = model.id.as_str().into();
        let strategy = config.strategies.get(model.strategy);
        let is_affine = strategy.is_some_and(StrategyConfig::is_affine);
        let alternatives = Alternatives::of_model(&model.deployments);
        let mut deployment = |(config, (standing, suspicions, health)): (
            &DeploymentConfig,
            (Arc<Standing>, _, _),
        )| {
            let max = config.concurrency.max;
            let slots = || Arc::new(Slots::with_jitter(config.side, max, self.jitter));
            let recorded = || {
                let (model, index) = (Arc::clone(&signals), Arc::clone(&self.prefixes));
                Arc::new(DeploymentSignals::new(config.side, model, index))
            };
            Arc::new(Deployment {
                model: Arc::clone(&id),
                id: std::mem::replace(first, *first + 1),
                place: place_of(model, config, is_affine),
                load: same(config).map_or_else(Arc::default, |old| Arc::clone(&old.load)),
                health,
                engine: engines.engine(config),
                slots: same(config).map_or_else(slots, |old| Arc::clone(&old.slots)),
                quotas: Quotas::of(
                    &config.quotas,
                    same(config).and_then(|old| old.quotas.as_ref()),
                    Wall::Machine,
                ),
                redactor: Arc::clone(&self.redactor),
                meters: same(config).map_or_else(Arc::default, |old| Arc::clone(&old.meters)),
                signals: same(config).map_or_else(recorded, |old| Arc::clone(&old.signals)),
                tariff: Tariff::of(&config.pricing),
                alternatives: alternatives.of(config.side),
                prices: Tariff::of(&config.pricing).prices(),
                refuses_usage: AtomicBool::default(),
                reports: Reports::default(),
                standing,
                suspicions,
                siblings: Arc::clone(&siblings),
                config: config.clone(),
            })
        };
        let deployments: Vec<_> =
            model.deployments.iter().zip(states).map(&mut deployment).collect();
        let new = || Arc::new(ModelMeters::of(&model.id));
        let meters = old.map_or_else(new, |old| Arc::clone(&old.meters));
        let is_varied = is_varied(&model.deployments);
        let quotas = quotas(&model.deployments);
        let charges = |deployment: &Arc<Deployment>| !deployment.tariff.image.is_zero();
        FleetModel {
            charges_images: deployments.iter().any(charges),
            bills_cancelled: model.deployments.iter().any(|one| one.cancel.is_some()),
            config: model.clone(),
            deployments,
            meters,
            is_varied,
            quotas,
            signals,
            siblings,
        }
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

/// The load of every engine. Deployments with the same origin and the same sources share one.
struct Engines(HashMap<(Origin, Option<EngineMetrics>), Arc<EngineSignals>>);

impl Engines {
    fn of(previous: Option<&Fleet>) -> Self {
        let all = previous.into_iter().flat_map(Fleet::deployments);
        Self(all.map(|old| (Self::key(&old.config), Arc::clone(&old.engine))).collect())
    }

    fn engine(&mut self, config: &DeploymentConfig) -> Arc<EngineSignals> {
        Arc::clone(self.0.entry(Self::key(config)).or_default())
    }

    fn key(config: &DeploymentConfig) -> (Origin, Option<EngineMetrics>) {
        (config.endpoint.origin.clone(), config.metrics.clone())
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

/// The deployment of `old` with the same endpoint and upstream model. Its name may have changed.
fn predecessor<'f>(old: &'f FleetModel, config: &DeploymentConfig) -> Option<&'f Arc<Deployment>> {
    let is_same = |old: &DeploymentConfig| {
        old.endpoint == config.endpoint && old.provider_model_id == config.provider_model_id
    };
    old.deployments.iter().find(|old| is_same(&old.config))
}

/// Tokens if a quota of them counts tokens, else requests if one counts those.
fn quotas(deployments: &[DeploymentConfig]) -> Option<QuotaUnit> {
    let units = deployments.iter().flat_map(|config| &config.quotas).map(|quota| quota.unit);
    units.max_by_key(|unit| *unit == QuotaUnit::Tokens)
}

/// True if the deployments differ in what they can do.
fn is_varied(deployments: &[DeploymentConfig]) -> bool {
    deployments.windows(2).any(|pair| pair[0].capability != pair[1].capability)
}
