//! The strategy `round-robin`: deployments in turn, by their configured weights.
//!
//! The turn is one over all cores and instances: the gateway numbers the requests of a model, and the
//! number alone decides. So the strategy keeps no state, and no request waits for another.

mod schedule;

use gateway_strategy::{
    Deployment, NoParameters, Place, Plan, Request, RequestStrategy, Signal, Signals, Strategy,
    Tiers, Verdict, Weights,
};

use schedule::order;

/// The strategy.
#[derive(Debug)]
pub struct RoundRobin {
    /// The configured weight of each place.
    weights: Vec<f64>,
}

gateway_strategy::export!(RoundRobin, request; schema = "parameters.json");

impl Strategy for RoundRobin {
    const SUMMARY: &'static str = "Deployments in turn, by their configured weights";
    const SIGNALS: &'static [Signal] = &[Signal::required("model.sequence")];

    type Parameters = NoParameters;

    fn configure(_: NoParameters, places: Vec<Place>) -> Result<Self, String> {
        Ok(Self { weights: places.iter().map(|place| place.weight).collect() })
    }

    /// The shares that the turns come to.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        Weights::each(local, remote, |one| self.weights[one.place()]).or_even()
    }
}

impl RequestStrategy for RoundRobin {
    /// All weights stay, so that a standby stays one. The order among the others is explicit.
    fn assign_request(
        &mut self,
        _request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        let weights = self.assign(local, remote);
        let number = Signals::read(0).global(local.len() + remote.len(), 0);
        let all: Vec<f64> = weights.iter().collect();
        let ranks = order(&all, if number.is_finite() { number } else { 0.0 });
        let (locals, remotes) = ranks.split_at(local.len());
        let tiers = Some(Tiers { local: locals.to_vec(), remote: remotes.to_vec() });
        Plan { tiers, ..weights.into() }.into()
    }
}

#[cfg(test)]
mod tests {
    use gateway_strategy::testing::{self, Fleet};

    use super::*;

    /// The names of the first choices of so many requests.
    fn turns(fleet: &Fleet, requests: u32) -> String {
        let mut strategy: RoundRobin = fleet.configure("{}");
        let first = |number: u32| {
            testing::set_signals(&[f64::from(number)]);
            let verdict = fleet.verdict_for(&mut strategy, &Request::default());
            let Verdict::Route(Plan { tiers: Some(Tiers { local, remote }), .. }) = verdict else {
                panic!("{verdict:?}")
            };
            let at = local.iter().chain(&remote).position(|rank| *rank == 0).expect("a first");
            let all = fleet.local.iter().chain(&fleet.remote);
            let of = all.map(|one| &*fleet.places[one.place()].name).nth(at);
            of.expect("a name").to_owned()
        };
        (0..requests).map(first).collect()
    }

    #[test]
    fn equals_take_turns() {
        let fleet = Fleet::new().local("a").local("b").remote("c");
        assert_eq!(turns(&fleet, 7), "abcabca");
    }

    #[test]
    fn weights_count_and_no_turns_bunch_up() {
        let fleet =
            Fleet::new().local("a").weight(5.0).local("b").weight(1.0).remote("c").weight(1.0);
        let turns = turns(&fleet, 70);
        for (name, count) in [('a', 50), ('b', 10), ('c', 10)] {
            assert_eq!(turns.matches(name).count(), count, "{turns}");
        }
        assert!(!turns.contains("bb") && !turns.contains("aaaaa"), "{turns}");
    }

    #[test]
    fn a_standby_stays_one_until_nothing_else_is_there() {
        let fleet = Fleet::new().local("a").weight(1.0).remote("s").weight(0.0);
        assert_eq!(turns(&fleet, 4), "aaaa");
        let alone = Fleet::new().remote("s").weight(0.0).remote("t").weight(0.0);
        assert_eq!(turns(&alone, 4), "stst");
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        testing::check_requests::<RoundRobin>("{}");
    }
}
