//! Asks a model's strategy about one request.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use contract::{Facts, Fault, Question, RequestPlan, Situation, Tiers, Verdict};
use fleet::{Eligible, FleetModel, Route, Scope, Snapshot, StrategyInfo};

use crate::RequestWeights;

/// What a strategy says of one request, with the deployments as positions in their model.
#[derive(Debug, Clone, PartialEq)]
pub enum Said<'r> {
    /// It is sent.
    Route {
        /// How it is shared.
        weights: RequestWeights<'r>,
        /// Why, in the strategy's words.
        reason: Option<&'r str>,
    },
    /// It waits for so long, or until there is room.
    Hold(Duration),
    /// It is answered with 429.
    Refuse {
        /// When the client may ask again.
        retry_after: Duration,
        /// Why, in the strategy's words.
        reason: Option<&'r str>,
    },
}

impl Said<'_> {
    /// The weights by which the request is shared. Empty if it is not sent.
    pub(crate) fn weights(&self) -> &[f64] {
        match self {
            Self::Route { weights, .. } => &weights.weights,
            Self::Hold(_) | Self::Refuse { .. } => &[],
        }
    }
}

/// Asks `strategy` about one request to `model`, an index in the snapshot, that was held so many
/// times. The caller counts the answer. None if the published weights decide, because the strategy
/// does not decide each request or no deployment is left to ask about.
pub(crate) async fn ask<'r>(
    strategy: &'r StrategyInfo,
    snapshot: &'r Snapshot,
    model: usize,
    (stream, held): (bool, u32),
    facts: &Facts,
    scope: Scope,
) -> Option<Result<Said<'r>, Fault>> {
    let path = strategy.on_path.as_ref()?;
    let (route, model) = (&*snapshot.routes[model], &snapshot.generation.fleet.models[model]);
    let now = Instant::now();
    let eligible = allowed(route, model, scope, now);
    if !eligible.is_assigned() {
        return None;
    }
    let description = path.description();
    let (local, remote) = eligible.candidates(model, &route.states, now);
    let signals = eligible.signals(model, &description.signals, now);
    let situation = Situation { local: &local, remote: &remote, signals: &signals };
    let question = Question { model: &model.config.id, stream, facts, situation, held };
    let verdict = match path.decide(question).await {
        Ok(verdict) => verdict,
        Err(fault) => return Some(Err(fault)),
    };
    let why = |reason: Option<u16>| {
        reason.and_then(|at| description.reasons.get(usize::from(at))).map(String::as_str)
    };
    Some(Ok(match verdict {
        Verdict::Route(plan) => {
            let reason = why(plan.reason);
            Said::Route { weights: placed(plan, &eligible, model, route), reason }
        }
        Verdict::Hold(time) => Said::Hold(time),
        Verdict::Refuse(denial) => {
            Said::Refuse { retry_after: denial.retry_after, reason: why(denial.reason) }
        }
    }))
}

/// The deployments that a strategy is asked about. What is forbidden is hidden from it, in panic
/// mode too.
fn allowed<'r>(
    route: &'r Route,
    model: &FleetModel,
    scope: Scope,
    now: Instant,
) -> Cow<'r, Eligible> {
    let eligible = route.eligible.still(|i| model.deployments[i].is_open(now));
    if scope.is_all() {
        return eligible;
    }
    let is_allowed = |i: usize| scope.forbids(&model.deployments[i].config).is_none();
    Cow::Owned(eligible.within(is_allowed))
}

/// A strategy's plan for the eligible deployments, as one for all deployments of the model.
fn placed(
    plan: RequestPlan,
    eligible: &Eligible,
    model: &FleetModel,
    route: &Route,
) -> RequestWeights<'static> {
    let weights = eligible.share_answer(model, &route.states, &plan.weights);
    let tiers = plan.tiers.map(|tiers| spread(&tiers, eligible, model.deployments.len()));
    RequestWeights { weights: weights.into(), tiers, when_full: plan.when_full }
}

/// One tier for each deployment. Those that the strategy was not asked about are in the first.
fn spread(tiers: &Tiers, eligible: &Eligible, deployments: usize) -> Vec<u8> {
    let mut all = vec![0; deployments];
    let local = eligible.local.iter().zip(tiers.local());
    for (at, tier) in local.chain(eligible.remote.iter().zip(tiers.remote())) {
        all[*at] = *tier;
    }
    all
}
