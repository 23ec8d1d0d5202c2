//! The strategy `latency`: draws two deployments at random, and takes the one whose first byte is
//! expected sooner.

use std::time::Duration;

use gateway_strategy::{
    Deployment, Hedge, Order, Place, Plan, Request, RequestStrategy, Strategy, Verdict, Weights,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Requests at a time that try a deployment of unknown latency. With more, it counts as the
    /// slowest until its first answer.
    #[schemars(range(min = 1))]
    pub trial_requests: u32,
    /// Milliseconds without a first byte after which another deployment is tried beside the first. None:
    /// never.
    #[schemars(range(min = 1, max = 60_000))]
    pub hedge_after_ms: Option<u32>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { trial_requests: 4, hedge_after_ms: None }
    }
}

/// The strategy.
#[derive(Debug)]
pub struct Latency {
    trial_requests: f64,
    hedge_after: Option<u32>,
    order: Order,
}

gateway_strategy::export!(Latency, request; schema = "parameters.json");

impl Strategy for Latency {
    const SUMMARY: &'static str = "The better of two by the expected time to first byte";
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));

    type Parameters = Parameters;

    fn configure(parameters: Parameters, _places: Vec<Place>) -> Result<Self, String> {
        let Parameters { trial_requests, hedge_after_ms: hedge_after } = parameters;
        if trial_requests == 0 {
            return Err("`trial_requests`: 0 is too few, at least 1 must be tried".to_owned());
        }
        if hedge_after.is_some_and(|after| !(1..=60_000).contains(&after)) {
            return Err("`hedge_after_ms`: from 1 to 60000".to_owned());
        }
        Ok(Self { trial_requests: trial_requests.into(), hedge_after, order: Order::default() })
    }

    /// Decides as for a request. A deployment gets at most twice its even share, so the best one is
    /// not overrun before the next call.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let known = || local.iter().chain(remote).filter_map(Deployment::latency);
        let quickest = known().reduce(f64::min).unwrap_or(1.0);
        let slowest = known().reduce(f64::max).unwrap_or(1.0);
        let cost = |one: &Deployment| {
            let unknown = match one.requests() < self.trial_requests {
                true => quickest,
                false => slowest,
            };
            one.first_byte_of(one.latency().unwrap_or(unknown))
        };
        // Without this bound, two full deployments would be drawn while a third one is idle.
        let has_place = |one: &&Deployment| one.requests() < f64::from(one.limit);
        let soonest = local.iter().chain(remote).filter(has_place).map(cost).reduce(f64::min);
        let soonest = soonest.unwrap_or(f64::INFINITY);
        let bounded = |one: &Deployment| match cost(one) {
            late if late > soonest && !has_place(&one) => f64::INFINITY,
            soon => soon,
        };
        self.order.best_of_two(Weights::each(local, remote, bounded))
    }
}

impl RequestStrategy for Latency {
    fn assign_request(
        &mut self,
        _request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        let weights = self.assign(local, remote);
        let hedge = |after| Hedge { after, weights: weights.clone(), max_cost: None };
        let hedge = self.hedge_after.map(hedge);
        Plan { hedge, ..weights.into() }.into()
    }
}

#[cfg(test)]
mod tests {
    use gateway_strategy::testing::{self, Fleet};

    use super::*;

    fn shares(fleet: &Fleet) -> Vec<f64> {
        fleet.ask::<Latency>(&mut fleet.configure("{}"))
    }

    #[test]
    fn the_quickest_wins_each_of_its_pairs() {
        let fleet = Fleet::new()
            .local("a")
            .latency(90.0)
            .local("b")
            .latency(30.0)
            .remote("c")
            .latency(60.0);
        assert_eq!(shares(&fleet), [0.0, 0.66667, 0.33333]);
        let alike = Fleet::new()
            .local("a")
            .latency(30.0)
            .local("b")
            .latency(30.0)
            .remote("c")
            .latency(60.0);
        assert_eq!(shares(&alike), [0.5, 0.5, 0.0]);
        assert_eq!(shares(&Fleet::new().remote("a").latency(5.0)), [1.0]);
    }

    #[test]
    fn what_is_in_flight_makes_it_slower() {
        let fleet = |capacity| {
            let fleet = Fleet::new().local("a").capacity(capacity).latency(30.0).in_flight(3);
            fleet.remote("b").latency(100.0)
        };
        assert_eq!(shares(&fleet(32)), [1.0, 0.0], "it has room");
        assert_eq!(shares(&fleet(1)), [0.0, 1.0], "it is full");
        let fleet = Fleet::new().local("a").latency(0.0).in_flight(3).local("b").latency(0.0);
        assert_eq!(shares(&fleet), [0.0, 1.0]);
    }

    #[test]
    fn nothing_waits_while_another_has_a_place() {
        let fleet = |a, b| {
            let fleet = Fleet::new().local("a").capacity(4).latency(30.0).in_flight(a);
            fleet.local("b").capacity(2).latency(40.0).in_flight(b).remote("c").latency(300.0)
        };
        assert_eq!(shares(&fleet(4, 2)), [0.66667, 0.33333, 0.0], "a turn is sooner than c");
        let slow = |a, b| {
            let mut fleet = fleet(a, b);
            fleet.local[0].duration = 9e3;
            fleet.local[1].duration = 9e3;
            fleet
        };
        assert_eq!(shares(&slow(4, 2)), [0.0, 0.0, 1.0]);
        assert_eq!(shares(&slow(4, 1)), [0.0, 1.0, 0.0], "two are left to draw from");
        assert_eq!(shares(&slow(3, 1)), [0.66667, 0.33333, 0.0]);
    }

    #[test]
    fn an_unknown_deployment_is_tried_but_not_flooded() {
        let fleet = |requests| {
            Fleet::new()
                .local("new")
                .in_flight(requests)
                .local("old")
                .latency(10.0)
                .in_flight(3)
                .local("slow")
                .latency(99.0)
        };
        assert_eq!(shares(&fleet(0)), [0.66667, 0.33333, 0.0]);
        assert_eq!(shares(&fleet(4)), [0.0, 0.66667, 0.33333]);
        assert_eq!(shares(&Fleet::new().local("a").local("b").remote("c")), [0.33333; 3]);
    }

    #[test]
    fn a_second_attempt_goes_to_the_next_best() {
        let fleet = Fleet::new().local("a").latency(90.0).remote("b").latency(30.0);
        for (parameters, after) in [("{}", None), (r#"{"hedge_after_ms": 500}"#, Some(500))] {
            let mut latency = fleet.configure::<Latency>(parameters);
            let verdict = fleet.verdict_for(&mut latency, &Request::default());
            let Verdict::Route(plan) = verdict else { panic!("{verdict:?}") };
            assert_eq!(plan.hedge.as_ref().map(|hedge| hedge.after), after);
            let weights = plan.hedge.map_or(plan.weights, |hedge| hedge.weights);
            assert!(weights.iter().all(|weight| weight > 0.0), "{weights:?}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for (parameters, says) in [
            (
                r#"{"trial_requests": 0}"#,
                "`trial_requests`: 0 is too few, at least 1 must be tried",
            ),
            (r#"{"hedge_after_ms": 0}"#, "`hedge_after_ms`: from 1 to 60000"),
            (r#"{"hedge_after_ms": 60001}"#, "`hedge_after_ms`: from 1 to 60000"),
        ] {
            let refused = testing::configured::<Latency>(parameters, Vec::new()).err();
            assert_eq!(refused.as_deref(), Some(says));
        }
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in ["{}", r#"{"trial_requests": 1, "hedge_after_ms": 60000}"#] {
            testing::check_requests::<Latency>(parameters);
        }
    }
}
