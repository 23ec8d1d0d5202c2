//! The strategy `least-load`: sends each request to the deployment with the least load for its
//! capacity.

use std::time::Duration;

use gateway_strategy::parameters::Fraction;
use gateway_strategy::{
    Deployment, Order, Place, Request, RequestStrategy, Strategy, Verdict, Weights,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Deployments whose loads differ by at most this share a request by capacity. 0: only the least
    /// loaded one gets it.
    pub slack: Fraction,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { slack: Fraction::percent(0) }
    }
}

/// The strategy.
#[derive(Debug)]
pub struct LeastLoad {
    slack: f64,
    capacities: Vec<u32>,
    order: Order,
}

gateway_strategy::export!(LeastLoad, request; schema = "parameters.json");

impl Strategy for LeastLoad {
    const SUMMARY: &'static str =
        "Each request to the deployment with the least load for its capacity";
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let capacities = places.iter().map(|place| place.capacity).collect();
        Ok(Self { slack: parameters.slack.get(), capacities, order: Order::default() })
    }

    /// Shares by free places. These weights stand for a second: if the least loaded deployment got
    /// everything, it would be overrun.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        Weights::each(local, remote, |one| one.room(self.capacities[one.place()]))
    }
}

impl RequestStrategy for LeastLoad {
    fn assign_request(
        &mut self,
        _request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        // Counts this request too, so that of two idle deployments the larger one wins.
        let load = |one: &Deployment| {
            let capacity = self.capacities[one.place()];
            one.load(capacity) + 1.0 / f64::from(capacity)
        };
        let least = local.iter().chain(remote).map(load).fold(f64::INFINITY, f64::min);
        let cost = |one: &Deployment| load(one).max(least + self.slack);
        let weights = self.order.steep(Weights::each(local, remote, cost));
        weights.share_by(local, remote, |one| f64::from(self.capacities[one.place()])).into()
    }
}

#[cfg(test)]
mod tests {
    use gateway_strategy::Request;
    use gateway_strategy::testing::{self, Fleet};

    use super::LeastLoad;

    fn for_request(fleet: &Fleet, parameters: &str) -> Vec<f64> {
        fleet.ask_for::<LeastLoad>(&mut fleet.configure(parameters), &Request::default())
    }

    #[test]
    fn a_request_goes_to_the_least_load() {
        let fleet =
            Fleet::new().local("a").capacity(4).in_flight(2).remote("b").capacity(8).in_flight(3);
        assert_eq!(for_request(&fleet, "{}"), [0.0, 1.0]);
        let fleet = Fleet::new()
            .local("a")
            .capacity(4)
            .in_flight(2)
            .remote("b")
            .capacity(8)
            .in_flight(3)
            .queued(4);
        assert_eq!(for_request(&fleet, "{}"), [1.0, 0.0], "what waits counts");
    }

    #[test]
    fn equals_share_and_the_largest_idle_one_wins() {
        assert_eq!(for_request(&Fleet::new().local("a").local("b"), "{}"), [0.5, 0.5]);
        let fleet = Fleet::new().local("a").capacity(1).local("b").capacity(64);
        assert_eq!(for_request(&fleet, "{}"), [0.0, 1.0]);
    }

    #[test]
    fn within_the_slack_capacity_decides() {
        let fleet =
            Fleet::new().local("a").capacity(10).in_flight(1).local("b").capacity(30).in_flight(0);
        assert_eq!(for_request(&fleet, "{\"slack\": 0.3}"), [0.25, 0.75]);
        assert_eq!(for_request(&fleet, "{\"slack\": 0.1}"), [0.0, 1.0]);
    }

    #[test]
    fn off_the_path_shares_are_by_room() {
        let fleet =
            Fleet::new().local("a").capacity(10).in_flight(5).remote("b").capacity(20).in_flight(5);
        assert_eq!(fleet.ask(&mut fleet.configure::<LeastLoad>("{}")), [0.25, 0.75]);
        let full =
            Fleet::new().local("a").capacity(1).in_flight(9).remote("b").capacity(1).in_flight(1);
        assert_eq!(full.ask(&mut full.configure::<LeastLoad>("{}")), [0.5, 0.5]);
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in ["{}", r#"{"slack": 0.2}"#, r#"{"slack": 1}"#] {
            testing::check_requests::<LeastLoad>(parameters);
        }
    }
}
