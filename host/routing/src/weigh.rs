//! Asks a model's strategy for the weights of one request.

use std::borrow::Cow;
use std::time::Instant;

use contract::{Facts, Fault, Question};
use fleet::{Scope, Snapshot, StrategyInfo};

/// Asks `strategy` about one request to `model`, an index in the snapshot. Returns one weight per
/// deployment, like [`Route::weights`](fleet::Route::weights). The caller counts the answer. None
/// if the published weights decide, because the strategy does not decide each request or no
/// deployment is left to ask about.
pub async fn weigh(
    strategy: &StrategyInfo,
    snapshot: &Snapshot,
    model: usize,
    stream: bool,
    facts: &Facts,
    scope: Scope,
) -> Option<Result<Vec<f64>, Fault>> {
    let path = strategy.on_path.as_ref()?;
    let (route, model) = (&snapshot.routes[model], &snapshot.generation.fleet.models[model]);
    let now = Instant::now();
    let eligible = route.eligible.still(|i| model.deployments[i].is_open(now));
    // Forbidden deployments are hidden from the strategy, in panic mode too.
    let eligible = match scope.is_all() {
        true => eligible,
        false => {
            let is_allowed = |i: usize| scope.forbids(&model.deployments[i].config).is_none();
            Cow::Owned(eligible.within(is_allowed))
        }
    };
    if !eligible.is_assigned() {
        return None;
    }
    let (local, remote) = eligible.candidates(model, &route.states, now);
    let id = &*model.config.id;
    let question = Question { model: id, stream, facts, local: &local, remote: &remote };
    let answer = path.weigh(question).await;
    Some(answer.map(|answer| eligible.share_answer(model, &route.states, &answer)))
}
