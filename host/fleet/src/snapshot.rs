//! The snapshot that the decision layer publishes. A request reads it once, at its start.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use config::Config;
use contract::{CandidateState, PathStrategy, RestCause, Signal, SignalSet};
use ledger::Books;

use super::{AttemptQueue, Eligible, Fleet, FleetModel, StrategyMeters, Trial};

/// The reason that is shown of a stalled deployment.
const STALLED: &str =
    "gives no first byte in time while others are answered: one request at a time tries it";

/// One loaded configuration and the fleet built from it. Requests in flight keep theirs.
#[derive(Debug)]
pub struct Generation {
    /// The configuration as it was loaded.
    pub config: Config,
    /// The fleet built from `config`.
    pub fleet: Fleet,
    /// The strategies, in the order of `config`. Empty without a `routing.yaml`.
    pub strategies: Vec<StrategyInfo>,
    /// The budgets. None: there are none.
    pub books: Option<Arc<Books>>,
    /// When it was loaded.
    pub loaded_at: SystemTime,
}

impl Generation {
    /// The signals that the strategy of each model and its candidate are told, in the order of the
    /// fleet.
    #[must_use]
    pub fn wanted(&self) -> Vec<SignalSet> {
        let of = |model: &FleetModel| {
            let strategy = self.strategies.get(model.config.strategy);
            let candidate = strategy.and_then(|strategy| strategy.candidate.as_ref());
            let both = strategy.into_iter().chain(candidate.map(|candidate| &candidate.strategy));
            let asked = both.fold(SignalSet::default(), |all, one| all.or(one.signals));
            // The report of a shadow sets the expected costs beside each other.
            let is_shadow = candidate.is_some_and(|candidate| !candidate.trial.is_canary());
            let cost = is_shadow.then_some(Signal::RequestCost);
            asked.or(cost.into_iter().collect())
        };
        self.fleet.models.iter().map(of).collect()
    }
}

/// A strategy in use: its description, and its hooks on the request path.
#[derive(Debug, Clone, Default)]
pub struct StrategyInfo {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// Digest of its component.
    pub sha256: String,
    /// Its parameters, secrets redacted.
    pub parameters: serde_json::Value,
    /// The signals that it is told.
    pub signals: SignalSet,
    /// Asked for weights for each request. If None, the published weights decide.
    pub on_path: Option<Arc<dyn PathStrategy>>,
    /// Counters of its calls.
    pub meters: Arc<StrategyMeters>,
    /// Takes ended attempts. None if the strategy does not learn from them.
    pub attempt_queue: Option<Arc<AttemptQueue>>,
    /// The strategy on trial beside it.
    pub candidate: Option<Box<CandidateInfo>>,
}

/// A strategy that is tried beside the one in use.
#[derive(Debug, Clone)]
pub struct CandidateInfo {
    /// Its own description and hooks.
    pub strategy: StrategyInfo,
    /// The counters of its trial.
    pub trial: Arc<Trial>,
}

/// The weights of every model at one moment. Immutable: a change publishes a new snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// The generation that it was computed for.
    pub generation: Arc<Generation>,
    /// One for each model, in the order of the fleet. Snapshots share the routes that did not
    /// change.
    pub routes: Vec<Arc<Route>>,
    /// How each strategy is doing in calls off the request path.
    pub strategy_states: Vec<StrategyState>,
}

/// How a strategy is doing in calls off the request path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StrategyState {
    /// Its last fault since it was loaded.
    pub last_error: Option<String>,
    /// Why it is not asked for a time. None while it is asked.
    pub rests_for: Option<RestCause>,
}

/// How one model's traffic is shared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Route {
    /// The deployments that may be used.
    pub eligible: Eligible,
    /// One weight per deployment, in the order of the model. They sum to 1. A 0 means standby or
    /// not eligible.
    pub weights: Vec<f64>,
    /// The candidate's weights in the same form. None without a candidate, or before its first good
    /// answer.
    pub candidate: Option<Vec<f64>>,
    /// One state per deployment, in the order of the model.
    pub states: Vec<State>,
}

/// How a deployment is doing, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Decides whether it is eligible.
    pub condition: Condition,
    /// Factor on its weight, up to 1. Below 1 only in slow start.
    pub factor: f64,
    /// For people to read. None if it is healthy.
    pub reason: Option<String>,
    /// When this state began.
    pub since: SystemTime,
}

impl State {
    /// Whether the deployment may be given traffic.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.condition.is_eligible()
    }

    /// The same, or stalled `since` then if there is no other objection.
    #[must_use]
    pub fn or_stalled(self, since: Option<SystemTime>) -> Self {
        match since.filter(|_| self.condition == Condition::Healthy) {
            Some(since) => {
                let (condition, reason) = (Condition::Stalled, Some(STALLED.into()));
                Self { condition, reason, since, factor: 1.0 }
            }
            None => self,
        }
    }
}

/// How a deployment is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// There is no objection to the deployment.
    Healthy,
    /// Its probes fail.
    Unhealthy,
    /// Its requests failed, so it is out for a time.
    Ejected,
    /// The deployment is remote, and asked for a pause: 429 or 503 with `Retry-After`.
    Cooling,
    /// A quota of the deployment is used up.
    Quota,
    /// The time of its ejection is over. One request at a time is admitted as a trial.
    HalfOpen,
    /// The deployment does not accept the gateway's credential.
    Credential,
    /// The deployment lacks the model.
    Misconfigured,
    /// The deployment refused several different requests in a row.
    Refused,
    /// The deployment came back, and its weight and its limit are rising.
    SlowStart,
    /// New requests get no first byte in time, while others are answered. One at a time is admitted
    /// as a trial.
    Stalled,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 11] = [
        Self::Healthy,
        Self::Unhealthy,
        Self::Ejected,
        Self::Cooling,
        Self::Quota,
        Self::HalfOpen,
        Self::Credential,
        Self::Misconfigured,
        Self::Refused,
        Self::SlowStart,
        Self::Stalled,
    ];

    /// Whether a deployment in this condition may be given traffic.
    #[must_use]
    pub fn is_eligible(self) -> bool {
        matches!(self, Self::Healthy | Self::SlowStart | Self::HalfOpen | Self::Stalled)
    }

    /// Whether nothing overrides it, panic mode neither.
    #[must_use]
    pub fn is_forbidden(self) -> bool {
        matches!(self, Self::Cooling | Self::Quota)
    }

    /// The condition in the words of the contract. In panic mode strategies are asked about
    /// deployments that are out of use too; these are as good as on trial.
    #[must_use]
    pub fn of_candidate(self) -> CandidateState {
        match self {
            Self::Healthy => CandidateState::Healthy,
            Self::SlowStart => CandidateState::SlowStart,
            Self::Stalled => CandidateState::Stalled,
            Self::HalfOpen
            | Self::Unhealthy
            | Self::Ejected
            | Self::Cooling
            | Self::Quota
            | Self::Credential
            | Self::Misconfigured
            | Self::Refused => CandidateState::HalfOpen,
        }
    }

    /// Its name in `/routing` and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Cooling => "cooling",
            Self::Quota => "quota",
            Self::HalfOpen => "half_open",
            Self::Credential => "credential",
            Self::Misconfigured => "misconfigured",
            Self::Refused => "refused",
            Self::SlowStart => "slow_start",
            Self::Stalled => "stalled",
        }
    }
}

impl Snapshot {
    /// The model with this id or alias, and its route.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(&FleetModel, &Route)> {
        let index = self.generation.fleet.index_of(name)?;
        Some((&self.generation.fleet.models[index], &self.routes[index]))
    }
}

/// How the last attempt to load a configuration went.
#[derive(Debug, Clone, PartialEq)]
pub struct ReloadStatus {
    /// Why the files on disk are not in use. None if they are.
    pub last_error: Option<String>,
}

/// Holds the current snapshot. The control side writes it, and every request reads it.
#[derive(Debug)]
pub struct Board {
    snapshot: ArcSwap<Snapshot>,
    /// Replaced snapshots that requests may still use. They are kept here so that no request drops
    /// the last reference: dropping a large fleet would block a serving core for too long.
    replaced: Mutex<Vec<Arc<Snapshot>>>,
    reload: ArcSwap<ReloadStatus>,
}

impl Board {
    /// Starts with this snapshot and without a reload error.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            replaced: Mutex::default(),
            reload: ArcSwap::from_pointee(ReloadStatus { last_error: None }),
        }
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Borrows the current snapshot for a short look. Cheaper than a new reference.
    pub(super) fn peek(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Replaces the current snapshot. The caller must call [`release`](Self::release) from time to
    /// time to free the replaced ones.
    pub fn publish(&self, snapshot: Snapshot) {
        let replaced = self.snapshot.swap(Arc::new(snapshot));
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).push(replaced);
    }

    /// Drops the replaced snapshots that no request uses any more. Returns true if some are still
    /// in use. Takes time in proportion to the fleet, so it must not run on a serving core.
    pub fn release(&self) -> bool {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody can take one from the board any more, so a count of 1 stays 1.
        replaced.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        !replaced.is_empty()
    }

    /// How the last reload went.
    #[must_use]
    pub fn reload(&self) -> Arc<ReloadStatus> {
        self.reload.load_full()
    }

    /// Records how the last reload went.
    pub fn set_reload(&self, status: ReloadStatus) {
        self.reload.store(Arc::new(status));
    }
}
