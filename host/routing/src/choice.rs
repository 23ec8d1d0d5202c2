//! Chooses the weights for one request: the published ones, or those of a strategy that decides
//! each request. That is the strategy in use, or a candidate on trial beside it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use contract::{Facts, Fault, Needs, Role};
use fleet::{AttemptQueue, CandidateInfo, RequestSignals, Scope, Snapshot, StrategyInfo, Trial};

use super::facts::{self, Asked};
use super::weigh;

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
}

/// The weights for a request, and its part in learning and trials.
#[derive(Debug)]
pub struct Choice<'r> {
    /// One weight per deployment of the model.
    pub weights: Cow<'r, [f64]>,
    /// Takes the request's attempts for a strategy that learns.
    pub attempt_queue: Option<Arc<AttemptQueue>>,
    /// The request's part in a trial.
    pub trial: Option<TrialPart>,
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
    scope: Scope,
}

impl<'r> Inquiry<'r, '_> {
    fn strategy(self) -> Option<&'r StrategyInfo> {
        let Self { snapshot: Snapshot { generation, .. }, model, .. } = self;
        generation.strategies.get(generation.fleet.models[model].config.strategy)
    }

    /// The choice without asking a strategy: the published weights.
    fn published(self) -> Choice<'r> {
        let attempt_queue = self.strategy().and_then(|strategy| strategy.attempt_queue.clone());
        let weights = Cow::Borrowed(&*self.snapshot.routes[self.model].weights);
        Choice { weights, attempt_queue, trial: None, shadow: None, signals: self.signals() }
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
        (!self.strategy().is_some_and(asks)).then(|| self.published())
    }
}

/// Chooses the weights for a request. `lot` returns a random number from 0 to 1, which decides if a
/// canary gets the request.
pub async fn choose<'r>(
    inquiry: Inquiry<'r, '_>,
    lot: impl FnOnce() -> f64,
    clock: impl Fn() -> Instant,
) -> Choice<'r> {
    let Inquiry { model, stream, scope, .. } = inquiry;
    let mut choice = inquiry.published();
    let Some(strategy) = inquiry.strategy() else { return choice };
    let candidate = strategy.candidate.as_deref().filter(|candidate| candidate.trial.is_on());
    let facts = known(inquiry, strategy, candidate, choice.signals.as_deref());
    let part = |candidate: &CandidateInfo, role| {
        Some(TrialPart { trial: Arc::clone(&candidate.trial), role })
    };
    if let Some(candidate) = candidate
        && candidate.trial.falls_to_candidate(lot())
        && let Some(weights) = by_candidate(candidate, inquiry, &facts, &clock).await
    {
        choice.weights = Cow::Owned(weights);
        choice.trial = part(candidate, Role::Candidate);
        return choice;
    }
    let began = candidate.map(|_| clock());
    let answer = ask(strategy, inquiry, &facts).await;
    let answered = matches!(answer, Some(Ok(_)));
    if let Some(Ok(weights)) = answer {
        choice.weights = Cow::Owned(weights);
    }
    if let Some((candidate, began)) = candidate.zip(began) {
        choice.trial = part(candidate, Role::Live);
        if answered {
            candidate.trial.took(Role::Live, clock().saturating_duration_since(began));
        }
        // A canary is judged by the requests that it decides, not by comparison.
        if !candidate.trial.is_canary() && candidate.strategy.on_path.is_some() {
            let (candidate, in_use) = (candidate.clone(), choice.weights.to_vec());
            let shadow = Shadow { candidate, facts, in_use, model, stream, scope };
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
        let Self { model, stream, facts, scope, .. } = &self;
        let asked = weigh(strategy, snapshot, *model, *stream, facts, *scope);
        let answer = count(strategy, asked.await);
        if let Some(answer) = answer
            && let Some(weights) = judged(answer, trial, began, &clock)
        {
            trial.compare(&self.in_use, &weights);
        }
    }
}

/// The facts that the strategy or its candidate needs.
fn known(
    inquiry: Inquiry<'_, '_>,
    strategy: &StrategyInfo,
    candidate: Option<&CandidateInfo>,
    signals: Option<&RequestSignals>,
) -> Facts {
    let asked = [Some(strategy), candidate.map(|candidate| &candidate.strategy)];
    let needs = asked.into_iter().flatten().filter_map(|s| Some(s.on_path.as_ref()?.needs()));
    let Some(needs) = needs.reduce(Needs::or) else { return Facts::default() };
    let config = &inquiry.snapshot.generation.config.request;
    match signals {
        Some(signals) => facts::beside(inquiry.asked, config, needs, signals),
        None => facts::of(inquiry.asked, config, needs),
    }
}

/// Asks `strategy` about one request, and counts the call. None if the published weights decide.
async fn ask(
    strategy: &StrategyInfo,
    Inquiry { snapshot, model, stream, scope, .. }: Inquiry<'_, '_>,
    facts: &Facts,
) -> Option<Result<Vec<f64>, Fault>> {
    count(strategy, weigh(strategy, snapshot, model, stream, facts, scope).await)
}

/// Counts a call by its result.
fn count(
    strategy: &StrategyInfo,
    answer: Option<Result<Vec<f64>, Fault>>,
) -> Option<Result<Vec<f64>, Fault>> {
    match &answer {
        Some(Ok(_)) => strategy.meters.ok.inc(),
        Some(Err(fault)) => strategy.meters.faults.add(fault.cause(), 1),
        None => {}
    }
    answer
}

/// The candidate's weights for a request that it decides. None without a good answer.
async fn by_candidate(
    candidate: &CandidateInfo,
    inquiry: Inquiry<'_, '_>,
    facts: &Facts,
    clock: &impl Fn() -> Instant,
) -> Option<Vec<f64>> {
    let CandidateInfo { strategy, trial } = candidate;
    let began = clock();
    match ask(strategy, inquiry, facts).await {
        None => inquiry.snapshot.routes[inquiry.model].candidate.clone(),
        Some(answer) => judged(answer, trial, began, clock),
    }
}

/// Counts a candidate's answer in its trial. Returns the weights if it is good.
fn judged(
    answer: Result<Vec<f64>, Fault>,
    trial: &Trial,
    began: Instant,
    clock: &impl Fn() -> Instant,
) -> Option<Vec<f64>> {
    match answer {
        Ok(weights) => {
            trial.took(Role::Candidate, clock().saturating_duration_since(began));
            Some(weights)
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
