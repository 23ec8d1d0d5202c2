//! Which deployment gets a request: the optimum of what is known, or one that must be measured.

use crate::lp::{self, Mix, Point};

/// Milliseconds to the first byte that an unmeasured deployment counts as.
const UNKNOWN: f64 = 1e9;
/// Weights up to this one are left out of an exploration.
const NEGLIGIBLE: f64 = 1e-12;

/// A deployment that may get the request.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// What the caller knows it by.
    pub row: usize,
    /// Its name. The first in the alphabet wins if costs are equal.
    pub name: &'a str,
    /// Expected dollars of the request there. Finite.
    pub cost: f64,
    /// Expected milliseconds to the first byte, if anything is known.
    pub latency: Option<f64>,
    /// True if nothing was measured lately.
    pub is_unmeasured: bool,
}

/// How a request is shared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Indices of candidates, and their weights.
    pub mix: Mix,
    /// The index of the candidate that is to be measured.
    pub explored: Option<usize>,
    /// The expected cost is at most this many dollars.
    pub budget: f64,
}

/// Decides among these candidates. None if there is none.
///
/// An unmeasured candidate gets the request if the budget allows, else the share of such requests that
/// it allows: nothing else would ever measure it.
#[must_use]
pub fn decide(candidates: &[Candidate<'_>], alpha: f64, explores: bool) -> Option<Decision> {
    let point = |one: &Candidate<'_>| {
        let latency = one.latency.unwrap_or(UNKNOWN);
        Point { cost: one.cost, latency }
    };
    let points: Vec<Point> = candidates.iter().map(point).collect();
    let cheapest = cheapest(candidates, |_| true)?;
    let budget = lp::budget(&points, alpha);
    let target = cheapest_unmeasured(candidates).filter(|_| explores);
    if let Some(target) = target {
        let share = share(points[target].cost, points[cheapest].cost, budget);
        if share > 0.0 {
            let mix = exploration(target, cheapest, share);
            return Some(Decision { mix, explored: Some(target), budget });
        }
    }
    let mix = lp::solve(&points, budget).unwrap_or([(cheapest, 1.0), (cheapest, 0.0)]);
    Some(Decision { mix, explored: None, budget })
}

/// The cheapest candidate that nothing is known of.
fn cheapest_unmeasured(candidates: &[Candidate<'_>]) -> Option<usize> {
    cheapest(candidates, |one| one.is_unmeasured)
}

fn cheapest(candidates: &[Candidate<'_>], is: impl Fn(&Candidate<'_>) -> bool) -> Option<usize> {
    let those = candidates.iter().enumerate().filter(|(_, one)| is(one));
    let by_cost = |a: &Candidate<'_>, b: &Candidate<'_>| {
        a.cost.total_cmp(&b.cost).then_with(|| a.name.cmp(b.name))
    };
    those.min_by(|(_, a), (_, b)| by_cost(a, b)).map(|(at, _)| at)
}

/// The share of requests that may go to a deployment of this cost, if the others go to the cheapest.
fn share(cost: f64, least: f64, budget: f64) -> f64 {
    match cost <= budget {
        true => 1.0,
        false if cost > least => ((budget - least) / (cost - least)).clamp(0.0, 1.0),
        false => 0.0,
    }
}

fn exploration(target: usize, cheapest: usize, share: f64) -> Mix {
    let rest = 1.0 - share;
    match target == cheapest || rest <= NEGLIGIBLE {
        true => [(target, 1.0), (target, 0.0)],
        false => [(cheapest, rest), (target, if share > NEGLIGIBLE { share } else { 0.0 })],
    }
}
