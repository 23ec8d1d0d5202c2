//! The weights of one request, where its model's strategy wants to see it.

use std::time::Instant;

use crate::fleet::Snapshot;
use crate::strategy::{Facts, Needs, PathStrategy, Question};
use crate::telemetry::Metrics;

/// What the strategy of a model, an index of the snapshot's, wants to be told of a request for it. None: it
/// does not ask to see requests.
#[must_use]
pub fn needs(snapshot: &Snapshot, model: usize) -> Option<Needs> {
    Some(on_path(snapshot, model)?.1.needs())
}

/// The weights for one request to a model, an index of the snapshot's: one for each of its deployments, as
/// [`Route::weights`](crate::fleet::Route::weights). None: the published ones decide, because its strategy does not
/// ask to see requests, or has no good answer, which is counted.
pub async fn weigh(
    snapshot: &Snapshot,
    model: usize,
    stream: bool,
    facts: &Facts,
    metrics: &Metrics,
) -> Option<Vec<f64>> {
    let (name, strategy) = on_path(snapshot, model)?;
    let (route, model) = (&snapshot.routes[model], &snapshot.generation.fleet.models[model]);
    let eligible = route.eligible.still(model, Instant::now());
    if !eligible.is_assigned() {
        return None;
    }
    let (local, remote) = eligible.candidates(model, &route.states);
    let id = &*model.config.id;
    let question = Question { model: id, stream, facts, local: &local, remote: &remote };
    match strategy.weigh(question).await {
        Ok(answer) => {
            metrics.strategy_calls(name, "ok", 1);
            let assigned = eligible.spread(&answer, model.deployments.len());
            Some(eligible.share(model, &route.states, &assigned))
        }
        Err(fault) => {
            metrics.strategy_calls(name, fault.cause(), 1);
            tracing::debug!(strategy = name, model = id, %fault, "the published weights decide");
            None
        }
    }
}

fn on_path(snapshot: &Snapshot, model: usize) -> Option<(&str, &dyn PathStrategy)> {
    let index = snapshot.generation.fleet.models[model].config.strategy;
    let strategy = snapshot.generation.strategies.get(index)?;
    Some((&strategy.name, strategy.on_path.as_deref()?))
}
