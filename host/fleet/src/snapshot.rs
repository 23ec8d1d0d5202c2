//! What the decision layer publishes and a request reads, once, at its start.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use config::Config;
use contract::PathStrategy;

use super::{Eligible, Fleet, FleetModel, Lessons, StrategyMeters, Trial};

/// One loaded configuration and the fleet built from it. Requests in flight keep theirs.
#[derive(Debug)]
pub struct Generation {
    /// As loaded.
    pub config: Config,
    /// Its deployments.
    pub fleet: Fleet,
    /// The strategies, in the order of those of `config`. None without a `routing.yaml`.
    pub strategies: Vec<StrategyInfo>,
    /// When it was loaded.
    pub loaded_at: SystemTime,
}

/// A strategy in use: what is said of it, and its side on the request path.
#[derive(Debug, Clone)]
pub struct StrategyInfo {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// Digest of its component.
    pub sha256: String,
    /// Its parameters, secrets redacted.
    pub parameters: serde_json::Value,
    /// Who is asked for each request. None: the published weights decide.
    pub on_path: Option<Arc<dyn PathStrategy>>,
    /// What its calls are counted on.
    pub meters: Arc<StrategyMeters>,
    /// Where attempts are noted for it, if it wants to know of them.
    pub lessons: Option<Arc<Lessons>>,
    /// Who is tried beside it.
    pub candidate: Option<Box<CandidateInfo>>,
}

/// A strategy that is tried beside the one in use.
#[derive(Debug, Clone)]
pub struct CandidateInfo {
    /// Itself.
    pub strategy: StrategyInfo,
    /// How it fares.
    pub trial: Arc<Trial>,
}

/// The weights of every model at one moment. Immutable: a change is a new one.
#[derive(Debug)]
pub struct Snapshot {
    /// What it was computed for.
    pub generation: Arc<Generation>,
    /// One for each model, in the order of the fleet. Snapshots share the routes that did not change.
    pub routes: Vec<Arc<Route>>,
    /// The last fault of each strategy since it was loaded, off the request path.
    pub strategy_errors: Vec<Option<String>>,
}

/// How one model's traffic is shared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Route {
    /// Which deployments may be used.
    pub eligible: Eligible,
    /// One for each deployment, in the order of the model; they sum to 1. 0 is standby, or not
    /// eligible.
    pub weights: Vec<f64>,
    /// The same as the candidate has them; None: there is none, or it has given no good answer.
    pub candidate: Option<Vec<f64>>,
    /// One for each deployment.
    pub states: Vec<State>,
}

/// How a deployment is doing, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// In one word.
    pub condition: Condition,
    /// The part of its weight that it gets: below 1 only in slow start.
    pub factor: f64,
    /// For people.
    pub reason: Option<String>,
    /// When it began.
    pub since: SystemTime,
}

impl State {
    /// Whether the deployment may be given traffic.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.condition.is_eligible()
    }
}

/// How a deployment is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is known against it.
    Healthy,
    /// Its probes fail.
    Unhealthy,
    /// Its requests failed; out for a time.
    Ejected,
    /// It asked to be left alone for a time.
    Cooling,
    /// Its ejection is over, and one request is let through to see.
    HalfOpen,
    /// It does not accept the gateway's credential.
    Credential,
    /// It came back, and its weight is rising.
    SlowStart,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Healthy,
        Self::Unhealthy,
        Self::Ejected,
        Self::Cooling,
        Self::HalfOpen,
        Self::Credential,
        Self::SlowStart,
    ];

    /// Whether a deployment in this condition may be given traffic.
    #[must_use]
    pub fn is_eligible(self) -> bool {
        matches!(self, Self::Healthy | Self::SlowStart | Self::HalfOpen)
    }

    /// As `/routing` and metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Cooling => "cooling",
            Self::HalfOpen => "half_open",
            Self::Credential => "credential",
            Self::SlowStart => "slow_start",
        }
    }
}

impl Snapshot {
    /// The model a client means by `name`, and how its traffic is shared.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(&FleetModel, &Route)> {
        let index = self.generation.fleet.index_of(name)?;
        Some((&self.generation.fleet.models[index], &self.routes[index]))
    }
}

/// How the last attempt to load a configuration went.
#[derive(Debug, Clone, PartialEq)]
pub struct ReloadStatus {
    /// Why the files as they are now are not in use. None: they are.
    pub last_error: Option<String>,
}

/// Where the current snapshot hangs: written by the control side, read by every request.
#[derive(Debug)]
pub struct Board {
    snapshot: ArcSwap<Snapshot>,
    /// Replaced snapshots that requests may still have. Held here, so that no request is the last to drop one: to
    /// drop a large fleet takes longer than a serving core may be held.
    replaced: Mutex<Vec<Arc<Snapshot>>>,
    reload: ArcSwap<ReloadStatus>,
}

impl Board {
    /// Hangs up the first snapshot.
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

    /// The same, for whoever only looks at it.
    pub(super) fn peek(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Replaces it. The caller drops the replaced ones from time to time: see [`release`](Self::release).
    pub fn publish(&self, snapshot: Snapshot) {
        let replaced = self.snapshot.swap(Arc::new(snapshot));
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).push(replaced);
    }

    /// Drops the replaced snapshots that no request has any more. True: requests still have some. Takes time in
    /// proportion to the fleet: not for a serving core.
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

    /// Says how the last reload went.
    pub fn set_reload(&self, status: ReloadStatus) {
        self.reload.store(Arc::new(status));
    }
}
