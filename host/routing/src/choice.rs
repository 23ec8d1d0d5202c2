//! Chooses what happens with one request: the published weights decide, or a strategy that decides
//! each request. That is the strategy in use, or a candidate on trial beside it.

use std::sync::Arc;
use std::time::Instant;

use contract::{Facts, Fault, Needs, Role};
use fleet::{AttemptQueue, CandidateInfo, RequestSignals, Scope, Snapshot, StrategyInfo, Trial};

use super::asking::{Said, Seen, View};
use super::facts::{self, Asked};
use super::{RequestWeights, demand};

/// How often a strategy may hold a request. Then the published weights decide.
pub const MOST_HOLDS: u32 = 3;

/// A request whose model is known.
#[derive(Debug, Clone, Copy)]
pub struct Inquiry<'r, 'q> {
    /// The snapshot that the request took.
    pub snapshot: &'r Snapshot,
    /// Index of the model in the snapshot.
    pub model: usize,
    /// True if the client asked for a stream.
    pub stream: bool,
    /// The deployments that the request may go to.
    pub scope: Scope,
    /// The parts of the request that facts are found in.
    pub asked: Asked<'q>,
    /// How often a strategy has held the request.
    pub held: u32,
    /// Its tenant, as far as that counts for money.
    pub payer: Option<&'q str>,
}

/// What happens with a request, and its part in learning and trials.
#[derive(Debug)]
pub struct Choice<'r> {
    /// What happens with it.
    pub said: Said<'r>,
    /// Takes the request's attempts for a strategy that learns.
    pub attempt_queue: Option<Arc<AttemptQueue>>,
    /// The request's part in a trial.
    pub trial: Option<TrialPart>,
    /// The session of the request, if a strategy needs it.
    pub session: Option<u64>,
    /// The hash of its tenant, if it was found.
    pub tenant: Option<u64>,
    /// A comparison to make later. The request does not wait for it.
    pub shadow: Option<Box<Shadow>>,
    /// What signals depend on. None if no strategy of the model asks for such signals.
    pub signals: Option<Arc<RequestSignals>>,
}

/// The part of one request in a trial.
#[derive(Debug)]
pub struct TrialPart {
    /// The trial that counts the request.
    pub trial: Arc<Trial>,
    /// The strategy that decided the request.
    pub role: Role,
}

/// A question to a shadow candidate, whose answer is only compared with the one in use.
#[derive(Debug)]
pub struct Shadow {
    candidate: CandidateInfo,
    facts: Facts,
    in_use: Vec<f64>,
    model: usize,
    stream: bool,
    /// Exactly what the strategy in use was told.
    seen: Seen,
    /// What signals depend on.
    signals: Option<Arc<RequestSignals>>,
}

impl<'r> Inquiry<'r, '_> {
    fn strategy(self) -> Option<&'r StrategyInfo> {
        let Self { snapshot: Snapshot { generation, .. }, model, .. } = self;
        generation.strategies.get(generation.fleet.models[model].config.strategy)
    }

    /// The choice without asking a strategy: the published weights.
    fn published(self) -> Choice<'r> {
        let attempt_queue = self.strategy().and_then(|strategy| strategy.attempt_queue.clone());
        let weights = RequestWeights::from(&*self.snapshot.routes[self.model].weights);
        let said = Said::Route { weights, reason: None };
        let (trial, session, tenant, shadow) = Default::default();
        let signals = self.signals();
        Choice { said, attempt_queue, trial, session, tenant, shadow, signals }
    }

    /// What signals that a strategy of the model asks for depend on.
    fn signals(self) -> Option<Arc<RequestSignals>> {
        let model = &self.snapshot.generation.fleet.models[self.model];
        model.wants_requests().then(|| Arc::new(facts::signals(self.asked)))
    }

    /// The choice, if no strategy has to be asked. None if the caller must await [`choose`].
    #[must_use]
    pub fn at_once(self) -> Option<Choice<'r>> {
        let asks =
            |strategy: &StrategyInfo| strategy.on_path.is_some() || strategy.candidate.is_some();
        let is_asked = self.held < MOST_HOLDS && self.strategy().is_some_and(asks);
        (!is_asked).then(|| self.published())
    }
}

/// Chooses what happens with a request. `lot` returns a random number from 0 to 1, which decides if a
/// canary gets the request.
pub async fn choose<'r>(
    inquiry: Inquiry<'r, '_>,
    lot: impl FnOnce() -> f64,
    clock: impl Fn() -> Instant,
) -> Choice<'r> {
    let Inquiry { snapshot, model, stream, scope, .. } = inquiry;
    let mut choice = inquiry.published();
    let Some(strategy) = inquiry.strategy().filter(|_| inquiry.held < MOST_HOLDS) else {
        return choice;
    };
    let candidate = strategy.candidate.as_deref().filter(|candidate| candidate.trial.is_on());
    let signals = choice.signals.clone();
    let facts = known(inquiry, strategy, candidate, signals.as_deref());
    choice.session = facts.session;
    choice.tenant = facts.tenant.as_ref().map(|tenant| tenant.hash);
    let view = View::of(snapshot, model, scope, (signals, inquiry.payer));
    let part = |candidate: &CandidateInfo, role| {
        Some(TrialPart { trial: Arc::clone(&candidate.trial), role })
    };
    if let Some(candidate) = candidate
        && candidate.trial.is_canary()
        && candidate.trial.falls_to_candidate(lot_of(inquiry).unwrap_or_else(lot))
        && let Some(said) = by_candidate(candidate, view.as_ref(), inquiry, &facts, &clock).await
    {
        choice.said = said;
        choice.trial = part(candidate, Role::Candidate);
        return choice;
    }
    let began = candidate.map(|_| clock());
    let answer = ask(strategy, view.as_ref(), inquiry, &facts).await;
    let answered = matches!(answer, Some(Ok(_)));
    if let Some(Ok(said)) = answer {
        choice.said = said;
    }
    if let Some((candidate, began)) = candidate.zip(began) {
        choice.trial = part(candidate, Role::Live);
        if answered {
            candidate.trial.took(Role::Live, clock().saturating_duration_since(began));
        }
        // A canary is judged by the requests that it decides, not by comparison.
        if !candidate.trial.is_canary()
            && let Some((path, view)) = candidate.strategy.on_path.as_ref().zip(view)
        {
            let seen = view.seen_by(path.description());
            let (candidate, in_use) = (candidate.clone(), choice.said.weights().to_vec());
            let signals = choice.signals.clone();
            let shadow = Shadow { candidate, facts, in_use, model, stream, seen, signals };
            choice.shadow = Some(Box::new(shadow));
        }
    }
    choice
}

impl Shadow {
    /// Asks the candidate, and compares its answer with the one in use. `snapshot` must be that of
    /// the request.
    pub async fn compare(self, snapshot: &Snapshot, clock: impl Fn() -> Instant) {
        let CandidateInfo { strategy, trial } = &self.candidate;
        let began = clock();
        let Self { model, stream, facts, seen, .. } = &self;
        let asked = seen.ask(strategy, snapshot, *model, *stream, facts);
        let answer = count(strategy, asked.await);
        if let Some(answer) = answer
            && let Some(weights) = judged(answer, trial, began, &clock)
        {
            trial.compare(&self.in_use, &weights);
            let model = &snapshot.generation.fleet.models[self.model];
            let answers = [&*self.in_use, &*weights];
            trial.expect(model, answers, self.signals.as_deref(), Instant::now());
        }
    }
}

/// The lot of a request whose session has a name, from 0 to below 1: all requests of the session
/// fall to the same strategy. Requests that only begin alike may be many of one client.
fn lot_of(inquiry: Inquiry<'_, '_>) -> Option<f64> {
    let config = &inquiry.snapshot.generation.config.request;
    let session = facts::named_session(inquiry.asked, config)?;
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let lot = (session >> 11) as f64 / (1u64 << 53) as f64;
    Some(lot)
}

/// The facts that the strategy or its candidate needs.
fn known(
    inquiry: Inquiry<'_, '_>,
    strategy: &StrategyInfo,
    candidate: Option<&CandidateInfo>,
    signals: Option<&RequestSignals>,
) -> Facts {
    let asked = [Some(strategy), candidate.map(|candidate| &candidate.strategy)];
    let asked = asked.into_iter().flatten();
    let needs = asked.filter_map(|asked| Some(asked.on_path.as_ref()?.description().needs));
    let Some(needs) = needs.reduce(Needs::or) else { return Facts::default() };
    let generation = &inquiry.snapshot.generation;
    let demand = demand(
        &generation.fleet.models[inquiry.model],
        inquiry.asked.body,
        &inquiry.asked.scan.fields,
    );
    let config = &generation.config.request;
    let facts = match signals {
        Some(signals) => facts::beside(inquiry.asked, config, needs, signals),
        None => facts::of(inquiry.asked, config, needs),
    };
    Facts { holds: demand.input, tools: demand.tools, ..facts }
}

/// Asks `strategy` about one request, and counts the call. None if the published weights decide.
async fn ask<'r>(
    strategy: &'r StrategyInfo,
    view: Option<&View<'r, '_>>,
    Inquiry { stream, held, .. }: Inquiry<'r, '_>,
    facts: &Facts,
) -> Option<Result<Said<'r>, Fault>> {
    count(strategy, view?.ask(strategy, (stream, held), facts).await)
}

/// Counts a call by its result.
fn count<T>(strategy: &StrategyInfo, answer: Option<Result<T, Fault>>) -> Option<Result<T, Fault>> {
    match &answer {
        Some(Ok(_)) => strategy.meters.ok.inc(),
        Some(Err(fault)) => strategy.meters.faults.add(fault.cause(), 1),
        None => {}
    }
    answer
}

/// The candidate's answer about a request that it decides. None without a good answer.
async fn by_candidate<'r>(
    candidate: &'r CandidateInfo,
    view: Option<&View<'r, '_>>,
    inquiry: Inquiry<'r, '_>,
    facts: &Facts,
    clock: &impl Fn() -> Instant,
) -> Option<Said<'r>> {
    let CandidateInfo { strategy, trial } = candidate;
    let began = clock();
    match ask(strategy, view, inquiry, facts).await {
        None => {
            let weights = inquiry.snapshot.routes[inquiry.model].candidate.as_deref()?;
            Some(Said::Route { weights: weights.into(), reason: None })
        }
        Some(answer) => judged(answer, trial, began, clock),
    }
}

/// Counts a candidate's answer in its trial. Returns it if it is good.
fn judged<T>(
    answer: Result<T, Fault>,
    trial: &Trial,
    began: Instant,
    clock: &impl Fn() -> Instant,
) -> Option<T> {
    match answer {
        Ok(said) => {
            trial.took(Role::Candidate, clock().saturating_duration_since(began));
            Some(said)
        }
        // These follow from earlier faults, or from slowness, and are no new faults.
        Err(Fault::Off | Fault::Busy) => None,
        Err(fault) => {
            trial.fault(&fault.to_string());
            None
        }
    }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
