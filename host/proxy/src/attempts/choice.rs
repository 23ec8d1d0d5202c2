//! By which weights a request is drawn: the published ones, or those of a strategy that wants to see it;
//! of the strategy in use, or of one that is being tried beside it.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use contract::{Facts, Fault, Needs};
use fleet::{CandidateInfo, Snapshot, StrategyInfo, Trial};
use routing::facts::{self, Asked};
use routing::weigh;

use super::journal::Journal;
use super::request::Request;

/// The weights for a request, one for each deployment of its model.
pub(super) async fn choose<'r>(request: &'r Request, journal: &mut Journal) -> Cow<'r, [f64]> {
    let snapshot = &request.snapshot;
    let (model, route) = (request.model, &snapshot.routes[request.model]);
    let index = snapshot.generation.fleet.models[model].config.strategy;
    let Some(strategy) = snapshot.generation.strategies.get(index) else {
        return Cow::Borrowed(&route.weights);
    };
    journal.lessons = strategy.lessons.clone();
    let candidate = strategy.candidate.as_deref().filter(|candidate| candidate.trial.is_on());
    let facts = known(request, strategy, candidate);
    if let Some(candidate) = candidate
        && candidate.trial.falls_to_candidate(rand::random())
        && let Some(weights) = by_candidate(candidate, request, &facts).await
    {
        journal.trial = Some((Arc::clone(&candidate.trial), true));
        return Cow::Owned(weights);
    }
    let began = candidate.map(|_| Instant::now());
    let answer = ask(strategy, snapshot, model, request.scan.stream, &facts).await;
    let weights = match answer {
        Some(Ok(weights)) => Cow::Owned(weights),
        Some(Err(_)) | None => Cow::Borrowed(&*route.weights),
    };
    if let Some(candidate) = candidate {
        journal.trial = Some((Arc::clone(&candidate.trial), false));
        if let (Some(began), Cow::Owned(_)) = (began, &weights) {
            candidate.trial.took(false, began.elapsed());
        }
        compare(candidate, request, facts, &weights);
    }
    weights
}

/// What is known of a request, as far as somebody wants to know it.
fn known(request: &Request, strategy: &StrategyInfo, candidate: Option<&CandidateInfo>) -> Facts {
    let asked = [Some(strategy), candidate.map(|candidate| &candidate.strategy)];
    let needs = asked.into_iter().flatten().filter_map(|s| Some(s.on_path.as_ref()?.needs()));
    let Some(needs) = needs.reduce(Needs::or) else { return Facts::default() };
    let generation = &request.snapshot.generation;
    let model = &generation.fleet.models[request.model].config.id;
    let Request { headers, body, scan, .. } = request;
    facts::of(Asked { model, headers, body, scan }, &generation.config.request, needs)
}

/// Asks `strategy` about one request, and counts how it answers. None: it is not asked.
async fn ask(
    strategy: &StrategyInfo,
    snapshot: &Snapshot,
    model: usize,
    stream: bool,
    facts: &Facts,
) -> Option<Result<Vec<f64>, Fault>> {
    let answer = weigh(strategy, snapshot, model, stream, facts).await?;
    match &answer {
        Ok(_) => strategy.meters.ok.inc(),
        Err(fault) => strategy.meters.faults.add(fault.cause(), 1),
    }
    Some(answer)
}

/// What the candidate says of a request that falls to it. None: it has no good answer.
async fn by_candidate(
    candidate: &CandidateInfo,
    request: &Request,
    facts: &Facts,
) -> Option<Vec<f64>> {
    let CandidateInfo { strategy, trial } = candidate;
    let began = Instant::now();
    let (snapshot, stream) = (&request.snapshot, request.scan.stream);
    match ask(strategy, snapshot, request.model, stream, facts).await {
        None => snapshot.routes[request.model].candidate.clone(),
        Some(answer) => judged(answer, trial, began),
    }
}

fn judged(answer: Result<Vec<f64>, Fault>, trial: &Trial, began: Instant) -> Option<Vec<f64>> {
    match answer {
        Ok(weights) => {
            trial.took(true, began.elapsed());
            Some(weights)
        }
        // That it is off for its faults, or slow, is no fault more.
        Err(Fault::Off | Fault::Busy) => None,
        Err(fault) => {
            trial.fault(&fault.to_string());
            None
        }
    }
}

/// Asks a candidate that is a shadow, and wants to see requests, what it would have said, and compares that with
/// `weights`. The request does not wait for it.
fn compare(candidate: &CandidateInfo, request: &Request, facts: Facts, weights: &[f64]) {
    if candidate.trial.is_canary() || candidate.strategy.on_path.is_none() {
        return;
    }
    let candidate = candidate.clone();
    let (snapshot, in_use) = (Rc::clone(&request.snapshot), weights.to_vec());
    let (model, stream) = (request.model, request.scan.stream);
    tokio::task::spawn_local(async move {
        let CandidateInfo { strategy, trial } = &candidate;
        let began = Instant::now();
        let answer = ask(strategy, &snapshot, model, stream, &facts).await;
        if let Some(weights) = answer.and_then(|answer| judged(answer, trial, began)) {
            trial.compare(&in_use, &weights);
        }
    });
}
