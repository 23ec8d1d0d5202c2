//! What to expect by the answers of the two strategies of a trial: the share of each deployment,
//! the time to first byte, and the cost of a request.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use contract::Signal;

use crate::{FleetModel, RequestSignals};

use super::tally::Moments;

/// The part of the weight that must be on deployments with a known number. Less would give a mean
/// of other deployments than those that are weighted.
const KNOWN: f64 = 0.99;

/// What to expect by answers to the same questions: means over these questions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrialOutlook {
    /// The mean weight of each deployment, 0 to 1, by model and name.
    pub shares: BTreeMap<String, Vec<(String, f64)>>,
    /// The time to first byte, by the averages of the deployments at the time of each question.
    /// None if there is no question with a known time for both answers.
    pub first_byte: Option<Duration>,
    /// The cost of a request in dollars, by the signal `request.cost`. None likewise.
    pub cost: Option<f64>,
}

/// Sums over the questions. Each pair is of the strategy in use and of the candidate.
#[derive(Debug, Default)]
pub(super) struct Outlooks {
    models: BTreeMap<String, Shares>,
    /// In milliseconds.
    first_byte: [Moments; 2],
    /// In dollars.
    cost: [Moments; 2],
}

/// The sums of the weights of one model's deployments.
#[derive(Debug, Default)]
struct Shares {
    questions: f64,
    sums: Vec<(String, [f64; 2])>,
}

impl Shares {
    /// Begins anew if the deployments are others: a reload has changed them.
    fn add(&mut self, model: &FleetModel, answers: [&[f64]; 2]) {
        let names = || model.deployments.iter().map(|deployment| &deployment.config.name);
        if !names().eq(self.sums.iter().map(|(name, _)| name)) {
            let sums = names().map(|name| (name.clone(), [0.0; 2])).collect();
            *self = Self { questions: 0.0, sums };
        }
        self.questions += 1.0;
        for (by, weights) in answers.into_iter().enumerate() {
            for ((_, sums), weight) in self.sums.iter_mut().zip(weights) {
                sums[by] += weight;
            }
        }
    }
}

impl Outlooks {
    /// Adds the answers to one question about `model`. Each has one weight per deployment, which
    /// sum to 1. `request` is None off the request path.
    pub(super) fn add(
        &mut self,
        model: &FleetModel,
        answers: [&[f64]; 2],
        request: Option<&RequestSignals>,
        now: Instant,
    ) {
        if answers.iter().any(|weights| weights.len() != model.deployments.len()) {
            // One of them holds or refuses the request.
            return;
        }
        if !self.models.contains_key(&model.config.id) {
            self.models.insert(model.config.id.clone(), Shares::default());
        }
        if let Some(shares) = self.models.get_mut(&model.config.id) {
            shares.add(model, answers);
        }
        let all = &model.deployments;
        let latency = |at: usize| all[at].load.latency().unwrap_or(f64::NAN);
        add_pair(&mut self.first_byte, answers.map(|weights| mean(weights, latency)));
        let cost = |at: usize| all[at].signal(Signal::RequestCost, request, now);
        add_pair(&mut self.cost, answers.map(|weights| mean(weights, cost)));
    }

    /// The means: of the strategy in use, and of the candidate.
    pub(super) fn read(&self) -> [TrialOutlook; 2] {
        [0, 1].map(|by| TrialOutlook {
            shares: self
                .models
                .iter()
                .map(|(model, shares)| {
                    let of = |(name, sums): &(String, [f64; 2])| {
                        (name.clone(), sums[by] / shares.questions)
                    };
                    (model.clone(), shares.sums.iter().map(of).collect())
                })
                .collect(),
            first_byte: self.first_byte[by]
                .mean()
                .and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok()),
            cost: self.cost[by].mean(),
        })
    }
}

/// Adds both numbers if both are known: else the means would be of different questions.
fn add_pair(moments: &mut [Moments; 2], numbers: [Option<f64>; 2]) {
    if let [Some(in_use), Some(candidate)] = numbers {
        moments[0].add(in_use);
        moments[1].add(candidate);
    }
}

/// The mean of a number of the deployments by their weights. None if it is not known of nearly all.
fn mean(weights: &[f64], number: impl Fn(usize) -> f64) -> Option<f64> {
    let (mut known, mut sum) = (0.0, 0.0);
    for (at, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        let number = number(at);
        if number.is_finite() {
            known += weight;
            sum += weight * number;
        }
    }
    (known >= KNOWN).then(|| sum / known)
}

#[cfg(test)]
mod tests {
    use config::Config;
    use samples::{deployment, model};

    use crate::Fleet;

    use super::*;

    /// Deployments of 1 and 2 dollars a request. The first has answered after 100 ms.
    fn fleet(config: &mut Config) -> Fleet {
        let deployments = [(1, "1"), (2, "2")].map(|(port, request)| {
            let mut deployment = deployment(port);
            deployment.pricing.request = request.to_owned();
            deployment
        });
        config.models = vec![model(deployments.to_vec())];
        let fleet = Fleet::build(config, None);
        let hundred = Duration::from_millis(100);
        fleet.models[0].deployments[0].load.record_first_byte(hundred, Duration::ZERO);
        fleet
    }

    #[test]
    fn answers_are_set_beside_each_other() {
        let mut config = Config::default();
        let fleet = fleet(&mut config);
        let (model, now) = (&fleet.models[0], Instant::now());
        let mut outlooks = Outlooks::default();
        let request = RequestSignals::default();
        outlooks.add(model, [&[1.0, 0.0], &[0.0, 1.0]], Some(&request), now);
        outlooks.add(model, [&[1.0, 0.0], &[1.0, 0.0]], Some(&request), now);
        outlooks.add(model, [&[1.0, 0.0], &[]], Some(&request), now);
        let [in_use, candidate] = outlooks.read();
        let shares = |outlook: &TrialOutlook| {
            let [(_, shares)] = &outlook.shares.iter().collect::<Vec<_>>()[..] else { panic!() };
            shares.iter().map(|(_, share)| *share).collect::<Vec<_>>()
        };
        assert_eq!((shares(&in_use), shares(&candidate)), (vec![1.0, 0.0], vec![0.5, 0.5]));
        assert_eq!((in_use.cost, candidate.cost), (Some(1.0), Some(1.5)));
        // The second has never answered: only one question can be compared.
        let first_byte = Some(Duration::from_millis(100));
        assert_eq!((in_use.first_byte, candidate.first_byte), (first_byte, first_byte));
        // A reload that changes the deployments begins anew.
        config.models[0].deployments.swap(0, 1);
        let fleet = Fleet::build(&config, Some(&fleet));
        outlooks.add(&fleet.models[0], [&[0.0, 1.0], &[1.0, 0.0]], Some(&request), now);
        assert_eq!(shares(&outlooks.read()[1]), [1.0, 0.0]);
    }

    #[test]
    fn a_mean_is_of_what_has_weight_and_is_known() {
        let numbers = [10.0, 30.0, f64::NAN];
        let of = |weights: &[f64]| mean(weights, |at| numbers[at]);
        assert_eq!(of(&[0.5, 0.5, 0.0]), Some(20.0));
        assert_eq!(of(&[0.5, 0.4, 0.1]), None);
        assert_eq!(of(&[0.0, 0.995, 0.005]), Some(30.0));
    }

    #[test]
    fn pairs_are_added_whole_or_not_at_all() {
        let mut moments = <[Moments; 2]>::default();
        add_pair(&mut moments, [Some(1.0), None]);
        add_pair(&mut moments, [Some(2.0), Some(3.0)]);
        assert_eq!(moments.map(|moments| moments.mean()), [Some(2.0), Some(3.0)]);
    }
}
