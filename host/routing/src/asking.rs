//! Asks a model's strategy about one request.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use contract::{
    Candidate, Column, Description, Facts, Fault, Hedge, Place, Question, RequestPlan, Side,
    Signal, Situation, Tiers, Verdict,
};
use fleet::{Eligible, FleetModel, RequestSignals, Route, Scope, Snapshot, StrategyInfo};
use ledger::{Books, Payer};

use crate::{HedgePlan, RequestWeights};

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

/// The deployments of a model, as strategies are told of them about one request.
#[derive(Debug)]
pub(crate) struct View<'r, 'q> {
    model: &'r FleetModel,
    route: &'r Route,
    eligible: Cow<'r, Eligible>,
    local: Vec<Candidate<'r>>,
    remote: Vec<Candidate<'r>>,
    /// What signals depend on.
    request: Option<Arc<RequestSignals>>,
    /// The number of the request for its model, once it was asked for: a shadow is told the same.
    number: OnceCell<f64>,
    books: Option<&'r Books>,
    /// The tenant, as far as it counts for money.
    payer: Option<&'q str>,
    now: Instant,
}

/// The numbers of a view that a shadow is told later: those that the strategy in use was told.
#[derive(Debug)]
pub(crate) struct Seen {
    eligible: Eligible,
    pub(crate) local: Vec<Candidate<'static>>,
    pub(crate) remote: Vec<Candidate<'static>>,
    signals: Vec<f64>,
}

impl<'r, 'q> View<'r, 'q> {
    /// The deployments of `model`, an index in the snapshot, that a request of this scope may go to.
    /// What is forbidden is hidden from strategies, in panic mode too. None if there is none to ask
    /// about.
    pub(crate) fn of(
        snapshot: &'r Snapshot,
        model: usize,
        scope: Scope,
        (request, payer): (Option<Arc<RequestSignals>>, Option<&'q str>),
    ) -> Option<Self> {
        let generation = &snapshot.generation;
        let (route, model) = (&*snapshot.routes[model], &generation.fleet.models[model]);
        let now = Instant::now();
        let mut eligible = route.eligible.still(|i| model.deployments[i].is_open(now));
        if !scope.is_all() {
            let is_allowed = |i: usize| scope.forbids_now(&model.deployments[i], || now).is_none();
            eligible = Cow::Owned(eligible.within(is_allowed));
        }
        if !eligible.is_assigned() {
            return None;
        }
        let (local, remote) = eligible.candidates(model, &route.states, now);
        let (number, books) = (OnceCell::new(), generation.books.as_deref());
        Some(Self { model, route, eligible, local, remote, request, number, books, payer, now })
    }

    fn signals(&self, strategy: &Description) -> Vec<f64> {
        let (columns, request) = (&strategy.signals, self.request.as_deref());
        let global = |column: &Column| self.global(column);
        self.eligible.signals(self.model, columns, request, global, self.now)
    }

    /// The value of a signal that is not of a deployment.
    fn global(&self, column: &Column) -> f64 {
        let Some(budget) = &column.budget else {
            return *self.number.get_or_init(|| self.model.global(Signal::ModelSequence));
        };
        let value = |books: &Books| books.signal(column.signal, budget, Payer::Tenant(self.payer));
        self.books.map_or(f64::NAN, value)
    }

    /// What a shadow with this description is told later.
    pub(crate) fn seen_by(&self, shadow: &Description) -> Seen {
        let keep = |side: &[Candidate<'r>]| {
            side.iter().map(|candidate| candidate.beside(nowhere())).collect()
        };
        Seen {
            eligible: self.eligible.clone().into_owned(),
            local: keep(&self.local),
            remote: keep(&self.remote),
            signals: self.signals(shadow),
        }
    }

    /// Asks `strategy` about one request, which was held so many times. The caller counts the
    /// answer. None if it does not decide each request.
    pub(crate) async fn ask(
        &self,
        strategy: &'r StrategyInfo,
        (stream, held): (bool, u32),
        facts: &Facts,
    ) -> Option<Result<Said<'r>, Fault>> {
        let path = strategy.on_path.as_ref()?;
        let signals = self.signals(path.description());
        let situation = Situation { local: &self.local, remote: &self.remote, signals: &signals };
        let model = &*self.model.config.id;
        let verdict = path.decide(Question { model, stream, facts, situation, held }).await;
        Some(verdict.map(|verdict| self.said(verdict, path.description())))
    }

    /// A verdict in positions of the model and in words.
    fn said<'d>(&self, verdict: Verdict, strategy: &'d Description) -> Said<'d> {
        let why = |reason: Option<u16>| {
            reason.and_then(|at| strategy.reasons.get(usize::from(at))).map(String::as_str)
        };
        match verdict {
            Verdict::Route(plan) => {
                let reason = why(plan.reason);
                let weights = placed(plan, &self.eligible, self.model, self.route);
                Said::Route { weights, reason }
            }
            Verdict::Hold(time) => Said::Hold(time),
            Verdict::Refuse(denial) => {
                Said::Refuse { retry_after: denial.retry_after, reason: why(denial.reason) }
            }
        }
    }
}

impl Seen {
    /// Asks a shadow about the request to `model`, an index in the snapshot of the request. None if
    /// it does not decide each request.
    pub(crate) async fn ask(
        &self,
        shadow: &StrategyInfo,
        snapshot: &Snapshot,
        model: usize,
        stream: bool,
        facts: &Facts,
    ) -> Option<Result<Vec<f64>, Fault>> {
        let path = shadow.on_path.as_ref()?;
        let (route, model) = (&*snapshot.routes[model], &snapshot.generation.fleet.models[model]);
        let placed_at = |candidates: &[Candidate<'static>], positions: &[usize]| {
            let pairs = candidates.iter().zip(positions);
            pairs
                .map(|(candidate, at)| candidate.beside(&model.deployments[*at].place))
                .collect::<Vec<_>>()
        };
        let local = placed_at(&self.local, &self.eligible.local);
        let remote = placed_at(&self.remote, &self.eligible.remote);
        let situation = Situation { local: &local, remote: &remote, signals: &self.signals };
        let id = &*model.config.id;
        let verdict = path.decide(Question { model: id, stream, facts, situation, held: 0 }).await;
        Some(verdict.map(|verdict| match verdict {
            Verdict::Route(plan) => placed(plan, &self.eligible, model, route).weights.into_owned(),
            Verdict::Hold(_) | Verdict::Refuse(_) => Vec::new(),
        }))
    }
}

/// Fixed facts of no deployment, which stand beside numbers that are kept.
fn nowhere() -> &'static Place {
    static NOWHERE: LazyLock<Place> = LazyLock::new(|| Place::new("", "", Side::Local));
    &NOWHERE
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
    let hedge = plan.hedge.map(|hedge| {
        let Hedge { after, weights, max_cost } = hedge;
        let weights = eligible.spread(&weights, model.deployments.len());
        Box::new(HedgePlan { after, weights, max_cost })
    });
    RequestWeights { weights: weights.into(), tiers, when_full: plan.when_full, hedge }
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
