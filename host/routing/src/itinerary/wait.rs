//! Where a request waits: in the queue of one deployment, or in a line for a place at any of those
//! that are full.

use std::time::{Duration, Instant};

use contract::WhenFull;

use super::{Deployments, Itinerary, Step};

/// A deployment that is full.
#[derive(Debug, Clone, Copy)]
pub(super) struct FullAt {
    pub(super) at: usize,
    /// True if it is worth waiting for before a standby is tried.
    pub(super) soon: bool,
}

impl Itinerary<'_> {
    /// The deployments whose pause is over before `until`. Leaves out those whose pause the request
    /// has waited for already.
    pub(super) fn cooling(
        &self,
        deployments: &impl Deployments,
        until: Instant,
        now: Instant,
    ) -> Vec<FullAt> {
        let is_back = |at: &usize| {
            let patience = now + deployments.patience(*at);
            !self.cooled.contains(at)
                && !self.order.is_never_tried(*at)
                && self.may_try(deployments, *at)
                && deployments
                    .cools_until(*at, now)
                    .is_some_and(|cools| cools <= until.min(patience))
        };
        let all = (0..self.order.len()).filter(is_back);
        all.map(|at| FullAt { at, soon: false }).collect()
    }

    /// The step for a deployment whose configured places are taken. `patience` is how long the
    /// request waits for it, if the strategy said so.
    pub(super) fn queue(
        &mut self,
        patience: Option<Duration>,
        deployments: &impl Deployments,
        now: Instant,
    ) -> Step {
        let at = self.at;
        self.wanted.clear();
        if !self.panic && !deployments.is_up(at) {
            return Step::PassOver(at);
        }
        self.wanted.push(at);
        let patience = patience.unwrap_or_else(|| deployments.patience(at));
        Step::Wait { until: self.end().min(now + patience) }
    }

    /// Notes that a deployment is full. Returns a step if the request waits for it before it takes
    /// the next one. It does so once.
    pub(super) fn pass(
        &mut self,
        full: FullAt,
        when_full: WhenFull,
        deployments: &impl Deployments,
        now: Instant,
    ) -> Option<Step> {
        self.busy = true;
        if let WhenFull::Wait(time) = when_full {
            self.when_full = WhenFull::Next;
            self.awaited = Some(full);
            return Some(self.queue(Some(time), deployments, now));
        }
        self.full.push(full);
        None
    }

    /// The step for a request that waits for a place at the full deployments of `which`. All of its
    /// waiting together takes no longer than one patience.
    pub(super) fn line(
        &mut self,
        which: impl Fn(&FullAt) -> bool,
        deployments: &impl Deployments,
        now: Instant,
    ) -> Step {
        self.wanted.clear();
        self.wanted.extend(self.full.iter().filter(|full| which(full)).map(|full| full.at));
        let patience = self.wanted.iter().map(|at| deployments.patience(*at)).max();
        let patience = *self.patience.get_or_insert(now + patience.unwrap_or_default());
        Step::Wait { until: self.end().min(patience) }
    }
}
