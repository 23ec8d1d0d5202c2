//! The choice: weights that minimise the expected time to first byte within a budget of dollars.
//!
//! The linear program has two constraints, so an optimum is one deployment, or two that share the
//! traffic so that the budget is met exactly.

use std::cmp::Ordering;

/// Dollars, and weights, that differ by less than this are equal.
pub const EPSILON: f64 = 1e-9;
/// The most deployments whose pairs are all compared. With more, the pair is found by descent, which
/// takes a time in proportion to their number.
const PAIRS_OF: usize = 64;
/// Milliseconds between the cheapest and the dearest deployment, if their latencies are equal.
const TIE: f64 = 1e-3;
/// The most rounds of the descent. Each one strictly improves the pair; a few are usual.
const ROUNDS: usize = 64;

/// A deployment that may get the request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Expected dollars of the request there. Finite.
    pub cost: f64,
    /// Expected milliseconds to the first byte. Finite.
    pub latency: f64,
}

/// One deployment, or two: an index into the points, and its weight. The weights sum to 1. The second
/// weight is 0 if there is only one.
pub type Mix = [(usize, f64); 2];

/// The budget of a request: this share `alpha` of the way from the least to the greatest cost.
#[must_use]
pub fn budget(points: &[Point], alpha: f64) -> f64 {
    let [least, most] = range(points);
    least + alpha * (most - least)
}

/// The least and the greatest cost.
fn range(points: &[Point]) -> [f64; 2] {
    let costs = || points.iter().map(|point| point.cost);
    [costs().fold(f64::INFINITY, f64::min), costs().fold(f64::NEG_INFINITY, f64::max)]
}

/// The weights. None if no point is within the budget.
///
/// Among equal latencies cheaper ones win. If all is equal, the last point wins.
#[must_use]
pub fn solve(points: &[Point], budget: f64) -> Option<Mix> {
    let objective = untied(points);
    let singles = (0..points.len()).filter(|at| points[*at].cost <= budget + EPSILON);
    let mut best = None;
    for at in singles {
        consider(&mut best, Choice::new(&objective, [(at, 1.0), (at, 0.0)]));
    }
    if points.len() <= PAIRS_OF {
        for left in 0..points.len() {
            for right in left + 1..points.len() {
                if let Some(choice) = pair(&objective, [left, right], budget) {
                    consider(&mut best, choice);
                }
            }
        }
    } else if let Some(choice) = best.and_then(|best| descend(&objective, best.mix[0].0, budget)) {
        consider(&mut best, choice);
    }
    best.map(|best| normalised(best.mix))
}

/// The points, with latencies by which the cheaper one of two equals wins.
fn untied(points: &[Point]) -> Vec<Point> {
    let [least, most] = range(points);
    let span = most - least;
    let latency = |point: &Point| match span <= EPSILON {
        true => point.latency,
        false => point.latency + TIE * ((point.cost - least) / span),
    };
    points.iter().map(|point| Point { latency: latency(point), ..*point }).collect()
}

/// Weights, with what they amount to.
#[derive(Clone, Copy)]
struct Choice {
    mix: Mix,
    latency: f64,
    cost: f64,
}

impl Choice {
    fn new(points: &[Point], mix: Mix) -> Self {
        let [(a, weight), (b, rest)] = mix;
        let sum = |of: fn(&Point) -> f64| of(&points[a]) * weight + of(&points[b]) * rest;
        Self { mix, latency: sum(|point| point.latency), cost: sum(|point| point.cost) }
    }

    /// Deployments of a weight that counts.
    fn support(&self) -> usize {
        self.mix.iter().filter(|(_, weight)| *weight > EPSILON).count()
    }

    /// The order in which choices win: latency, cost, number of deployments, and at last the one whose
    /// weights are on later deployments.
    fn order(&self, other: &Self) -> Ordering {
        let by_value = self.latency.total_cmp(&other.latency);
        let by_value = by_value.then(self.cost.total_cmp(&other.cost));
        by_value
            .then(self.support().cmp(&other.support()))
            .then_with(|| self.places().partial_cmp(&other.places()).unwrap_or(Ordering::Equal))
    }

    /// The deployments of a weight as (how early it is in the list, weight), the earliest first.
    fn places(&self) -> [(isize, f64); 2] {
        let mut places = self.mix.map(|(at, weight)| {
            let weight = (weight * 1e12).round();
            let early = if weight > 0.0 { -at.cast_signed() } else { isize::MIN };
            (early, weight)
        });
        if places[0].0 < places[1].0 {
            places.swap(0, 1);
        }
        places
    }
}

fn consider(best: &mut Option<Choice>, choice: Choice) {
    if best.is_none_or(|best| choice.order(&best).is_lt()) {
        *best = Some(choice);
    }
}

/// The mix of two that costs exactly the budget. None if there is none, or their costs are equal.
fn pair(points: &[Point], [left, right]: [usize; 2], budget: f64) -> Option<Choice> {
    let [from, to] = [points[left].cost, points[right].cost];
    let span = from - to;
    if span.abs() <= EPSILON {
        return None;
    }
    let weight = (budget - to) / span;
    let rest = 1.0 - weight;
    if weight < -EPSILON || rest < -EPSILON {
        return None;
    }
    let choice =
        Choice::new(points, [(left, weight.clamp(0.0, 1.0)), (right, rest.clamp(0.0, 1.0))]);
    (choice.cost <= budget + EPSILON).then_some(choice)
}

/// The best pair, from a point within the budget. For one of the two after the other, the best partner
/// is sought. If neither can be bettered, no point is below the line through both, so no pair is
/// better.
fn descend(points: &[Point], from: usize, budget: f64) -> Option<Choice> {
    let partner = |fixed: usize, is_dear: bool| {
        let others = (0..points.len()).filter(|at| (points[*at].cost > budget) == is_dear);
        let choices = others.filter_map(|at| pair(points, [fixed.min(at), fixed.max(at)], budget));
        choices.min_by(Choice::order)
    };
    let other = |choice: &Choice, fixed: usize| {
        choice.mix.map(|(at, _)| at).into_iter().find(|at| *at != fixed)
    };
    let (mut fixed, mut best) = (from, partner(from, true)?);
    let mut is_dear = true;
    for _ in 0..ROUNDS {
        fixed = other(&best, fixed)?;
        is_dear = !is_dear;
        match partner(fixed, is_dear) {
            Some(better) if better.order(&best).is_lt() => best = better,
            _ => break,
        }
    }
    Some(best)
}

/// Without weights that do not count, and summing to 1.
fn normalised(mix: Mix) -> Mix {
    let mix = mix.map(|(at, weight)| (at, if weight > EPSILON { weight } else { 0.0 }));
    let sum = mix[0].1 + mix[1].1;
    mix.map(|(at, weight)| (at, weight / sum))
}
