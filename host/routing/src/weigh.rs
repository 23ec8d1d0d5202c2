//! The weights of one request, where its model's strategy wants to see it.

use std::time::Instant;

use contract::{Facts, Fault, Question};
use fleet::{Snapshot, StrategyInfo};

/// What `strategy` says of one request to a model, an index of the snapshot's: one weight for each of its
/// deployments, as [`Route::weights`](fleet::Route::weights). The caller counts the answer. None: the published
/// weights decide, because it does not ask to see requests, or there is nothing to ask about.
pub async fn weigh(
    strategy: &StrategyInfo,
    snapshot: &Snapshot,
    model: usize,
    stream: bool,
    facts: &Facts,
) -> Option<Result<Vec<f64>, Fault>> {
    let path = strategy.on_path.as_ref()?;
    let (route, model) = (&snapshot.routes[model], &snapshot.generation.fleet.models[model]);
    let now = Instant::now();
    let eligible = route.eligible.still(|i| model.deployments[i].is_open(now));
    if !eligible.is_assigned() {
        return None;
    }
    let (local, remote) = eligible.candidates(model, &route.states, now);
    let id = &*model.config.id;
    let question = Question { model: id, stream, facts, local: &local, remote: &remote };
    let answer = path.weigh(question).await;
    Some(answer.map(|answer| eligible.share_answer(model, &route.states, &answer)))
}
