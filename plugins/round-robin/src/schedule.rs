//! A smooth weighted turn as a function of the number of a request.
//!
//! The k-th turn of a deployment of weight w is due at (k + p) / w. With p = 1/2 for all, the turns in
//! the order of these times are the apportionment of Webster and Sainte-Laguë. Here p is spread from 0
//! to 1 over the deployments, so that the turns of equal ones do not follow each other. After any
//! number of requests each deployment has had its share, give or take two. nginx's smooth weighted
//! round robin is as smooth, but each step depends on the one before.

/// Largest rank. Deployments after it share it.
const LAST: u8 = u8::MAX;
/// Steps of the search for a time. Each halves the number of turns that are still to be counted.
const STEPS: u32 = 16;

/// The rank of each deployment for the request with this number: 0 is tried first. Those of weight 0
/// come last.
pub(crate) fn order(weights: &[f64], number: f64) -> Vec<u8> {
    let sum: f64 = weights.iter().sum();
    let shares: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
    let phases = phases(&shares);
    let turns = before(&shares, &phases, number);
    let mut taken: f64 = turns.iter().sum();
    let due = |at: usize, turns: f64| (turns + phases[at]) / shares[at];
    let those_that_take_turns = (0..shares.len()).filter(|at| shares[*at] > 0.0);
    let mut next: Vec<_> =
        those_that_take_turns.map(|at| (due(at, turns[at]), turns[at], at)).collect();
    // The few turns that are left before this request.
    for _ in 0..next.len() {
        let soonest = next.iter_mut().min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((time, turns, at)) = soonest.filter(|_| taken < number) else { break };
        *turns += 1.0;
        *time = due(*at, *turns);
        taken += 1.0;
    }
    next.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut ranks = vec![LAST; weights.len()];
    for ((_, _, at), rank) in next.into_iter().zip(0..LAST) {
        ranks[at] = rank;
    }
    ranks
}

/// When the first turn of each deployment is due, as a part of the time between two of its turns:
/// spread evenly from 0 to 1 over those that take turns.
fn phases(shares: &[f64]) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
    let step = 1.0 / shares.iter().filter(|share| **share > 0.0).count() as f64;
    let mut next = -0.5 * step;
    let phase = |share: &f64| {
        next += if *share > 0.0 { step } else { 0.0 };
        next
    };
    shares.iter().map(phase).collect()
}

/// Turns that each deployment has surely had before the request with this number, nearly all of
/// them.
fn before(shares: &[f64], phases: &[f64], number: f64) -> Vec<f64> {
    let turns = |time: f64| {
        let each = shares.iter().zip(phases);
        each.map(move |(share, phase)| (share * time - phase + 1.0).floor().max(0.0))
    };
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
    let most = shares.len() as f64;
    let (mut low, mut high) = ((number - most).max(0.0), number + most);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        match turns(middle).sum::<f64>() <= number {
            true => low = middle,
            false => high = middle,
        }
    }
    // A turn that is due now has not been had.
    let had = |((share, phase), turns): ((&f64, &f64), f64)| match turns > 0.0
        && (turns - 1.0 + phase) / share >= low
    {
        true => turns - 1.0,
        false => turns,
    };
    let all: Vec<f64> = shares.iter().zip(phases).zip(turns(low)).map(had).collect();
    if all.iter().sum::<f64>() <= number { all } else { vec![0.0; shares.len()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(weights: &[f64], number: f64) -> usize {
        order(weights, number).iter().position(|rank| *rank == 0).expect("one is first")
    }

    #[test]
    fn each_has_its_share_after_any_number_of_requests() {
        for weights in [&[1.0][..], &[1.0, 1.0], &[5.0, 1.0, 1.0], &[0.7, 0.2, 0.1], &[3.0; 40]] {
            let sum: f64 = weights.iter().sum();
            let mut had = vec![0.0; weights.len()];
            for number in 0..2_000 {
                had[first(weights, f64::from(number))] += 1.0;
                let done = f64::from(number + 1);
                for (had, weight) in had.iter().zip(weights) {
                    let share = done * weight / sum;
                    assert!((had - share).abs() <= 2.0, "{weights:?} {number}: {had} {share}");
                }
            }
        }
    }

    #[test]
    fn large_numbers_go_on_like_small_ones() {
        let weights = [3.0, 2.0, 1.0];
        let begin = 6_000_000_000.0;
        for number in 0..60 {
            let number = f64::from(number);
            assert_eq!(first(&weights, begin + number), first(&weights, number), "{number}");
        }
    }

    #[test]
    fn everyone_has_a_rank_and_a_standby_the_last() {
        let mut ranks = order(&[1.0, 2.0, 0.0, 1.0], 9.0);
        assert_eq!(ranks.remove(2), LAST);
        ranks.sort_unstable();
        assert_eq!(ranks, [0, 1, 2]);
        let many = order(&vec![1.0; 600], 1e9);
        assert_eq!(many.iter().filter(|rank| **rank == LAST).count(), 600 - 255);
    }
}
