//! Holds a request until there is room for it.

use std::time::Duration;

use fleet::{Slot, Wanted, hold_for_any, now};

use super::RoutedRequest;

/// Waits until a deployment that is full has a place again, for `time` at most. Returns the place and
/// its deployment. The request waits in the line of those that it may go to, or, if none of them is
/// full, for the whole time.
pub async fn hold(asked: RoutedRequest<'_>, time: Duration) -> Option<(usize, Slot)> {
    let RoutedRequest { model, route, terms, scope, .. } = asked;
    let until = terms.end().min(now() + time);
    let is_full = |at: &usize| {
        let slots = &model.deployments[*at].slots;
        slots.taken() >= slots.limit() || slots.waiting() > 0
    };
    let may_go = |at: &usize| {
        let deployment = &model.deployments[*at];
        scope.forbids_now(deployment, now).is_none() && route.states[*at].is_eligible()
    };
    let full = (0..model.deployments.len()).filter(|at| may_go(at) && is_full(at));
    let wanted = full.map(|at| {
        let deployment = &model.deployments[at];
        Wanted { at, slots: &deployment.slots, queue: deployment.config.concurrency.queue }
    });
    let in_use = |at: usize| model.deployments[at].is_worth_waiting(now());
    hold_for_any(wanted, until, in_use).await
}
