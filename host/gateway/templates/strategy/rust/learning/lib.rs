//! Less traffic to deployments whose attempts fail. See README.md.

use std::time::Duration;

use gateway_strategy::parameters::Fraction;
use gateway_strategy::{Attempt, Deployment, Ending, Learning, Place, Strategy, Weights};
use schemars::JsonSchema;
use serde::Deserialize;

gateway_strategy::export!(LeastFailing, learning);

/// The part that one attempt has in the average.
const STEP: f64 = 0.2;
/// The lowest average. Without traffic nothing could show that a deployment works again.
const LEAST: f64 = 0.05;

/// `routing_parameter`. The gateway checks it against the schema of this type before `configure`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The weight of a remote deployment, relative to a local one that fails as often.
    remote: Fraction,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            remote: Fraction::percent(100),
        }
    }
}

pub struct LeastFailing {
    parameters: Parameters,
    /// For each place: the moving average of its attempts, 1 for a good one and 0 for a bad one.
    good: Vec<f64>,
}

impl Strategy for LeastFailing {
    const SUMMARY: &'static str = "Less traffic to deployments whose attempts fail";
    // What was learned counts once `assign` is asked again.
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));

    type Parameters = Parameters;

    /// `places[deployment.place()]` has the name, the capacity and the price of a deployment.
    /// Return an `Err` for parameters that the schema cannot rule out.
    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let good = vec![1.0; places.len()];
        Ok(Self { parameters, good })
    }

    /// Only proportions count.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let factor = match local {
            [] => 1.0,
            _ => self.parameters.remote.get(),
        };
        let good = |one: &Deployment| self.good[one.place()];
        Weights {
            local: local.iter().map(good).collect(),
            remote: remote.iter().map(|one| factor * good(one)).collect(),
        }
    }
}

impl Learning for LeastFailing {
    fn outcome(&mut self, attempts: &[Attempt]) {
        for attempt in attempts {
            let seen = match attempt.ending {
                Ending::Ok => 1.0,
                // These say nothing of the deployment.
                Ending::ClientError | Ending::Cancelled => continue,
                _ => 0.0,
            };
            if let Some(good) = self.good.get_mut(attempt.deployment as usize) {
                *good = (*good + STEP * (seen - *good)).max(LEAST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_strategy::testing::{self, Fleet};

    /// An attempt of which only the end is known.
    fn attempt(deployment: u32, ending: Ending) -> Attempt {
        Attempt {
            deployment,
            request: 0,
            session: None,
            tenant: None,
            ending,
            status: None,
            queued: 0.0,
            first_byte: f64::NAN,
            total: f64::NAN,
            probability: 1.0,
            prompt_tokens: None,
            cached_tokens: None,
            completion_tokens: None,
            reasoning_tokens: None,
            cost: f64::NAN,
        }
    }

    #[test]
    fn a_deployment_that_fails_gets_less_until_it_works_again() {
        let fleet = Fleet::new().local("a").local("b");
        let mut strategy: LeastFailing = fleet.configure("{}");
        strategy.outcome(&[attempt(0, Ending::Failed), attempt(1, Ending::Ok)]);
        assert_eq!(fleet.ask(&mut strategy), [0.44444, 0.55556]);
        strategy.outcome(&[attempt(0, Ending::Ok); 100]);
        assert_eq!(fleet.ask(&mut strategy), [0.5, 0.5]);
    }

    #[test]
    fn every_answer_is_good() {
        testing::check::<LeastFailing>("{}");
    }
}
