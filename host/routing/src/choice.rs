//! By which weights a request is drawn: the published ones, or those of a strategy that wants to see it. The strategy
//! is the one in use, or one that is tried beside it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use contract::{Facts, Fault, Needs};
use fleet::{CandidateInfo, Lessons, Snapshot, StrategyInfo, Trial};

use super::facts::{self, Asked};
use super::weigh;

/// A request that has found its model.
#[derive(Debug, Clone, Copy)]
pub struct Inquiry<'r, 'q> {
    /// What is published.
    pub snapshot: &'r Snapshot,
    /// Index of the model.
    pub model: usize,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// What the request says.
    pub asked: Asked<'q>,
}

/// The weights for a request, and what else follows from how they were found.
#[derive(Debug)]
pub struct Choice<'r> {
    /// One for each deployment of the model.
    pub weights: Cow<'r, [f64]>,
    /// Where its attempts are noted for a strategy that learns.
    pub lessons: Option<Arc<Lessons>>,
    /// The trial that it is part of.
    pub trial: Option<TrialPart>,
    /// A comparison that is still to be made, which the request does not wait for.
    pub shadow: Option<Box<Shadow>>,
}

/// The part of one request in a trial.
#[derive(Debug)]
pub struct TrialPart {
    /// The trial.
    pub trial: Arc<Trial>,
    /// The candidate decided for the request.
    pub by_candidate: bool,
}

/// A candidate that is to be asked, as a shadow, what it would have said.
#[derive(Debug)]
pub struct Shadow {
    candidate: CandidateInfo,
    facts: Facts,
    in_use: Vec<f64>,
    model: usize,
    stream: bool,
}

impl<'r> Inquiry<'r, '_> {
    fn strategy(self) -> Option<&'r StrategyInfo> {
        let Self { snapshot: Snapshot { generation, .. }, model, .. } = self;
        generation.strategies.get(generation.fleet.models[model].config.strategy)
    }

    /// The choice where nobody is asked: the published weights.
    fn published(self) -> Choice<'r> {
        let lessons = self.strategy().and_then(|strategy| strategy.lessons.clone());
        let weights = Cow::Borrowed(&*self.snapshot.routes[self.model].weights);
        Choice { weights, lessons, trial: None, shadow: None }
    }

    /// The choice, if nobody is to be asked about the request. None: [`choose`].
    #[must_use]
    pub fn at_once(self) -> Option<Choice<'r>> {
        let asks =
            |strategy: &StrategyInfo| strategy.on_path.is_some() || strategy.candidate.is_some();
        (!self.strategy().is_some_and(asks)).then(|| self.published())
    }
}

/// The weights for a request. `lot`, from 0 to 1, says whether it falls to a canary.
pub async fn choose<'r>(
    inquiry: Inquiry<'r, '_>,
    lot: impl FnOnce() -> f64,
    clock: impl Fn() -> Instant,
) -> Choice<'r> {
    let Inquiry { model, stream, .. } = inquiry;
    let mut choice = inquiry.published();
    let Some(strategy) = inquiry.strategy() else { return choice };
    let candidate = strategy.candidate.as_deref().filter(|candidate| candidate.trial.is_on());
    let facts = known(inquiry, strategy, candidate);
    let part = |candidate: &CandidateInfo, by_candidate| {
        Some(TrialPart { trial: Arc::clone(&candidate.trial), by_candidate })
    };
    if let Some(candidate) = candidate
        && candidate.trial.falls_to_candidate(lot())
        && let Some(weights) = by_candidate(candidate, inquiry, &facts, &clock).await
    {
        choice.weights = Cow::Owned(weights);
        choice.trial = part(candidate, true);
        return choice;
    }
    let began = candidate.map(|_| clock());
    let answer = ask(strategy, inquiry, &facts).await;
    let answered = matches!(answer, Some(Ok(_)));
    if let Some(Ok(weights)) = answer {
        choice.weights = Cow::Owned(weights);
    }
    if let Some((candidate, began)) = candidate.zip(began) {
        choice.trial = part(candidate, false);
        if answered {
            candidate.trial.took(false, clock().saturating_duration_since(began));
        }
        // A canary is measured by the requests that fall to it.
        if !candidate.trial.is_canary() && candidate.strategy.on_path.is_some() {
            let (candidate, in_use) = (candidate.clone(), choice.weights.to_vec());
            let shadow = Shadow { candidate, facts, in_use, model, stream };
            choice.shadow = Some(Box::new(shadow));
        }
    }
    choice
}

impl Shadow {
    /// Asks the candidate, and compares its answer with that in use. `snapshot` is the one of the request.
    pub async fn compare(self, snapshot: &Snapshot, clock: impl Fn() -> Instant) {
        let CandidateInfo { strategy, trial } = &self.candidate;
        let began = clock();
        let answer =
            count(strategy, weigh(strategy, snapshot, self.model, self.stream, &self.facts).await);
        if let Some(answer) = answer
            && let Some(weights) = judged(answer, trial, began, &clock)
        {
            trial.compare(&self.in_use, &weights);
        }
    }
}

/// What is known of a request, as far as somebody wants to know it.
fn known(
    inquiry: Inquiry<'_, '_>,
    strategy: &StrategyInfo,
    candidate: Option<&CandidateInfo>,
) -> Facts {
    let asked = [Some(strategy), candidate.map(|candidate| &candidate.strategy)];
    let needs = asked.into_iter().flatten().filter_map(|s| Some(s.on_path.as_ref()?.needs()));
    let Some(needs) = needs.reduce(Needs::or) else { return Facts::default() };
    facts::of(inquiry.asked, &inquiry.snapshot.generation.config.request, needs)
}

/// Asks `strategy` about one request. None: it is not asked.
async fn ask(
    strategy: &StrategyInfo,
    Inquiry { snapshot, model, stream, .. }: Inquiry<'_, '_>,
    facts: &Facts,
) -> Option<Result<Vec<f64>, Fault>> {
    count(strategy, weigh(strategy, snapshot, model, stream, facts).await)
}

/// Counts how it answers.
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

/// What the candidate says of a request that falls to it. None: it has no good answer.
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

/// Counts a candidate's answer for its trial; gives it if it is good.
fn judged(
    answer: Result<Vec<f64>, Fault>,
    trial: &Trial,
    began: Instant,
    clock: &impl Fn() -> Instant,
) -> Option<Vec<f64>> {
    match answer {
        Ok(weights) => {
            trial.took(true, clock().saturating_duration_since(began));
            Some(weights)
        }
        // That it is off for its faults, or slow, is no further fault.
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
