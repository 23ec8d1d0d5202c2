//! The second attempt: when it is made, and where.

use std::cmp::Ordering;

use crate::profile::View;

/// Checkpoints as shares of the objective: the first, the step, and the last.
const FIRST: f64 = 0.25;
const STEP: f64 = 0.025;
const LAST: f64 = 0.90;
/// The least probability of a first byte in time for which a second attempt may wait.
const TARGET: f64 = 0.99;
/// Milliseconds from the decision to make a second attempt until it is sent.
const OVERHEAD: f64 = 5.0;
/// Good answers without which a deployment is not known well enough.
const SAMPLES: usize = 5;
/// What numbers may be off by rounding.
const EPSILON: f64 = 1e-9;

/// A deployment that may get the second attempt.
#[derive(Debug, Clone, Copy)]
pub struct Backup<'a> {
    /// What the caller knows it by.
    pub row: usize,
    /// Expected dollars of the request there.
    pub cost: f64,
    /// Its times to first byte.
    pub view: &'a View,
    /// Its name. The first in the alphabet wins if all else is equal.
    pub name: &'a str,
}

/// A second attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Second {
    /// Milliseconds after the first attempt began.
    pub after: f64,
    /// [`Backup::row`].
    pub row: usize,
}

/// The times at which a second attempt may be made, in milliseconds after the first.
pub fn checkpoints(objective: f64) -> impl Iterator<Item = f64> {
    let step = objective * STEP;
    let first = ((objective * FIRST - EPSILON) / step).ceil() * step;
    let last = objective * LAST + EPSILON;
    let next = move |at: &f64| Some(at + step);
    let all = std::iter::successors(Some(first), next).take_while(move |at| *at <= last);
    all.filter(|at| *at > 0.0)
}

/// The second attempt of a request whose first is at a deployment with these times: at the last
/// checkpoint at which it still succeeds. Of those that then do, the cheapest one.
#[must_use]
pub fn second(objective: f64, first: &View, backups: &[Backup<'_>]) -> Option<Second> {
    if first.good() < SAMPLES || !(objective.is_finite() && objective > 0.0) {
        return None;
    }
    let known = || backups.iter().filter(|backup| backup.view.good() >= SAMPLES);
    let all: Vec<f64> = checkpoints(objective).collect();
    all.into_iter().rev().find_map(|after| {
        let chances = Chances::new(first, objective, after);
        let succeeding = known().filter_map(|backup| {
            let chance = chances.with(backup.view);
            (chance >= TARGET - EPSILON).then_some((backup, chance))
        });
        let (backup, _) = succeeding.min_by(|a, b| order(*a, *b))?;
        Some(Second { after, row: backup.row })
    })
}

/// The cheaper one, then the likelier one, the quicker one, and the first in the alphabet.
fn order((a, chance): (&Backup<'_>, f64), (b, other): (&Backup<'_>, f64)) -> Ordering {
    let by_cost = a.cost.total_cmp(&b.cost).then(other.total_cmp(&chance));
    let mean = |backup: &Backup<'_>| backup.view.mean().unwrap_or(f64::INFINITY);
    by_cost.then(mean(a).total_cmp(&mean(b))).then_with(|| a.name.cmp(b.name))
}

/// The chances of a request that has waited so long for its first byte.
struct Chances {
    /// Of a first byte of the first attempt in time.
    first: f64,
    /// Of none.
    late: f64,
    /// Milliseconds that the second attempt has.
    left: f64,
}

impl Chances {
    fn new(first: &View, objective: f64, waited: f64) -> Self {
        let left = objective - waited - OVERHEAD;
        let [by_now, in_time] = [waited, objective].map(|time| first.share_within(time));
        let waits = 1.0 - by_now;
        // No answer has ever taken so long, so nothing is known of the rest of the wait.
        if waits <= EPSILON {
            return Self { first: 0.0, late: 1.0, left };
        }
        let first = (in_time - by_now).max(0.0) / waits;
        Self { first, late: (1.0 - in_time).max(0.0) / waits, left }
    }

    /// Of a first byte in time with a second attempt now.
    fn with(&self, second: &View) -> f64 {
        let in_time = if self.left > 0.0 { second.share_within(self.left) } else { 0.0 };
        (self.first + self.late * in_time).clamp(0.0, 1.0)
    }
}
