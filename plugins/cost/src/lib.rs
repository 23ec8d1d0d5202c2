//! The strategy `cost`: the cheapest deployment that answers soon enough.

use std::time::Duration;

use gateway_strategy::pacing::Stretch;
use gateway_strategy::parameters::{Fraction, Positive};
use gateway_strategy::{
    Deployment, Needs, Order, Place, Request, RequestStrategy, Side, Strategy, Verdict, Weights,
    squash,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The first byte should come within this many milliseconds.
    pub first_byte_ms: Positive,
    /// Tokens of a prompt whose length is not known.
    pub prompt_tokens: u32,
    /// Tokens of the answer to a request that sets no limit.
    pub output_tokens: u32,
    /// The name of a budget in routing.yaml that is to last: while its money goes faster than time,
    /// first_byte_ms is multiplied. Default: none.
    pub budget: Option<String>,
    /// The share of the budget, spent ahead of time, that doubles it.
    pub ahead: Fraction,
}

impl Default for Parameters {
    fn default() -> Self {
        let first_byte_ms = Positive::thousandths(2_000_000);
        let ahead = Fraction::percent(2);
        Self { first_byte_ms, prompt_tokens: 1_000, output_tokens: 300, budget: None, ahead }
    }
}

/// The strategy.
#[derive(Debug)]
pub struct Cost {
    parameters: Parameters,
    stretch: Stretch,
    places: Vec<Place>,
    order: Order,
}

gateway_strategy::export!(Cost, request; schema = "parameters.json");

impl Strategy for Cost {
    const SUMMARY: &'static str = "The cheapest deployment that answers soon enough";
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));
    const NEEDS: Needs = Needs { prompt_tokens: true, ..Needs::NOTHING };

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let Parameters { budget, ahead, .. } = &parameters;
        let stretch = Stretch::by(budget.as_deref(), *ahead, Self::NEEDS)?;
        Ok(Self { parameters, stretch, places, order: Order::default() })
    }

    /// Decides as for a request of unknown length.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let Parameters { prompt_tokens, output_tokens, .. } = self.parameters;
        self.cheapest([prompt_tokens, output_tokens], local, remote)
    }
}

impl RequestStrategy for Cost {
    fn assign_request(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        let prompt = request.prompt_tokens.unwrap_or(self.parameters.prompt_tokens);
        let output = request.max_output_tokens.unwrap_or(self.parameters.output_tokens);
        self.cheapest([prompt, output], local, remote).into()
    }
}

impl Cost {
    /// First the quick ones by cost, then the others by latency. Equals share by free places.
    fn cheapest(
        &mut self,
        tokens: [u32; 2],
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Weights {
        let stretch = self.stretch.factor(local.len() + remote.len());
        let soon = self.parameters.first_byte_ms.get() * stretch;
        let cost = |one: &Deployment| {
            let place = &self.places[one.place()];
            let first_byte = first_byte(one);
            match first_byte <= soon {
                true => squash(dollars(place, tokens)),
                false => 2.0 + squash(first_byte),
            }
        };
        let weights = self.order.steep(Weights::each(local, remote, cost));
        weights.share_by(local, remote, |one| one.room(self.places[one.place()].capacity))
    }
}

/// Milliseconds to the first byte. Unknown counts as 0 until requests wait, then as infinite.
fn first_byte(one: &Deployment) -> f64 {
    let unknown = if one.load(one.limit) > 1.0 { f64::INFINITY } else { 0.0 };
    one.first_byte().unwrap_or(unknown)
}

/// The cost of a request with these tokens of prompt and answer. A local deployment without a price
/// is paid for already. A remote one without a price may cost anything, so it counts as infinite.
fn dollars(place: &Place, tokens: [u32; 2]) -> f64 {
    let [prompt, output] = tokens.map(f64::from);
    match (place.price, place.side) {
        (Some(price), _) => price.prompt * prompt + price.completion * output,
        (None, Side::Local) => 0.0,
        (None, Side::Remote) => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use gateway_strategy::Request;
    use gateway_strategy::testing::{self, Fleet};

    use super::Cost;

    fn shares(fleet: &Fleet, parameters: &str, request: &Request) -> Vec<f64> {
        fleet.ask_for::<Cost>(&mut fleet.configure(parameters), request)
    }

    fn tokens(prompt: u32, output: u32) -> Request {
        let (prompt_tokens, max_output_tokens) = (Some(prompt), Some(output));
        Request { prompt_tokens, max_output_tokens, ..Request::default() }
    }

    #[test]
    fn the_cheapest_quick_deployment_gets_the_request() {
        let fleet = |ms| {
            Fleet::new()
                .local("gpu")
                .latency(ms)
                .remote("dear")
                .price(1e-5, 1e-5)
                .remote("cheap")
                .price(1e-6, 1e-6)
        };
        assert_eq!(shares(&fleet(1_999.0), "{}", &tokens(10, 10)), [1.0, 0.0, 0.0]);
        assert_eq!(shares(&fleet(2_001.0), "{}", &tokens(10, 10)), [0.0, 0.0, 1.0]);
        assert_eq!(
            shares(&fleet(2_001.0), r#"{"first_byte_ms": 3000}"#, &tokens(10, 10)),
            [1.0, 0.0, 0.0]
        );
    }

    #[test]
    fn more_is_soon_enough_while_money_goes_faster_than_time() {
        let fleet = Fleet::new().local("gpu").latency(3_000.0).remote("api").price(1e-5, 1e-5);
        let mut cost: Cost = fleet.configure(r#"{"budget": "b"}"#);
        for (pace, local) in [(1.0, 0.0), (1.02, 1.0), (0.5, 0.0)] {
            testing::set_signals(&[0.5, pace]);
            assert_eq!(fleet.ask_for(&mut cost, &tokens(10, 10))[0], local, "{pace}");
        }
        testing::set_signals(&[]);
    }

    #[test]
    fn the_cheapest_deployment_depends_on_the_request() {
        let fleet =
            Fleet::new().remote("reads").price(1e-6, 1e-5).remote("writes").price(3e-6, 3e-6);
        assert_eq!(shares(&fleet, "{}", &tokens(10_000, 10)), [1.0, 0.0]);
        assert_eq!(shares(&fleet, "{}", &tokens(10, 1_000)), [0.0, 1.0]);
        assert_eq!(shares(&fleet, r#"{"output_tokens": 1}"#, &Request::default()), [1.0, 0.0]);
        assert_eq!(shares(&fleet, r#"{"prompt_tokens": 1}"#, &Request::default()), [0.0, 1.0]);
    }

    #[test]
    fn if_none_is_soon_enough_the_quickest_wins() {
        let fleet =
            Fleet::new().local("a").latency(9_000.0).remote("b").latency(5_000.0).price(1.0, 1.0);
        assert_eq!(shares(&fleet, "{}", &tokens(1, 1)), [0.0, 1.0]);
        let queue =
            Fleet::new().local("a").capacity(1).in_flight(1).queued(1).remote("b").price(1.0, 1.0);
        assert_eq!(shares(&queue, "{}", &tokens(1, 1)), [0.0, 1.0], "unknown, and waited for");
    }

    #[test]
    fn an_unknown_price_is_the_last_resort() {
        let fleet = Fleet::new().remote("unknown").remote("known").price(1.0, 1.0);
        assert_eq!(shares(&fleet, "{}", &tokens(100, 100)), [0.0, 1.0]);
    }

    #[test]
    fn equal_costs_share_by_free_places() {
        let fleet = Fleet::new().local("a").in_flight(6).local("b").in_flight(2).remote("c");
        assert_eq!(shares(&fleet, "{}", &tokens(100, 100)), [0.25, 0.75, 0.0]);
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in ["{}", r#"{"first_byte_ms": 1, "output_tokens": 0}"#] {
            testing::check_requests::<Cost>(parameters);
        }
    }
}
