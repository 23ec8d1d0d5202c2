//! The default strategy, `fixed`: a fixed share for the local side, the rest for the remote side.

use gateway_strategy::parameters::Fraction;
use gateway_strategy::{Deployment, Place, Strategy, Weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The share of the traffic that local deployments get together; remote ones get the rest.
    pub local_fraction: Fraction,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { local_fraction: Fraction::percent(50) }
    }
}

/// The strategy.
#[derive(Debug)]
pub struct Fixed {
    local_fraction: f64,
    /// The configured weight of each place.
    weights: Vec<f64>,
}

gateway_strategy::export!(Fixed; schema = "parameters.json");

impl Strategy for Fixed {
    const SUMMARY: &'static str =
        "Local deployments share a fixed fraction of the traffic, remote ones the rest";

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let weights = places.iter().map(|place| place.weight).collect();
        Ok(Self { local_fraction: parameters.local_fraction.get(), weights })
    }

    /// The deployments of a side share by their configured weights, which are equal by default. If a
    /// side is empty, the other one gets everything.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let weight = |one: &Deployment| self.weights[one.place()];
        Weights::each(local, remote, weight).sides(self.local_fraction)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use gateway_strategy::testing::{self, Fleet};

    use super::Fixed;

    fn shares(fraction: &str, locals: usize, remotes: usize) -> Vec<f64> {
        let fleet = (0..locals).fold(Fleet::new(), |fleet, n| fleet.local(&format!("l{n}")));
        let fleet = (0..remotes).fold(fleet, |fleet, n| fleet.remote(&format!("r{n}")));
        let parameters = format!("{{\"local_fraction\": {fraction}}}");
        fleet.ask(&mut fleet.configure::<Fixed>(&parameters))
    }

    #[test]
    fn each_side_shares_its_part_evenly() {
        assert_eq!(shares("0.6", 1, 1), [0.6, 0.4]);
        assert_eq!(shares("0.6", 2, 1), [0.3, 0.3, 0.4]);
        assert_eq!(shares("0.5", 1, 2), [0.5, 0.25, 0.25]);
    }

    #[test]
    fn at_the_ends_one_side_is_standby() {
        assert_eq!(shares("1", 2, 1), [0.5, 0.5, 0.0]);
        assert_eq!(shares("0", 1, 2), [0.0, 0.5, 0.5]);
    }

    #[test]
    fn an_empty_side_leaves_everything_to_the_other() {
        for fraction in ["0", "0.3", "1"] {
            assert_eq!(shares(fraction, 2, 0), [0.5, 0.5]);
            assert_eq!(shares(fraction, 0, 2), [0.5, 0.5]);
        }
    }

    #[test]
    fn half_is_the_default() {
        let fleet = Fleet::new().local("a").remote("b").remote("c");
        assert_eq!(fleet.ask(&mut fleet.configure::<Fixed>("{}")), [0.5, 0.25, 0.25]);
    }

    #[test]
    fn wrong_parameters_are_refused_with_the_reason() {
        let refusal = |text| testing::configured::<Fixed>(text, Vec::new()).map(drop).unwrap_err();
        for (text, reason) in [
            (
                r#"{"local_fracton": 0.6}"#,
                "unknown field `local_fracton`, expected `local_fraction`",
            ),
            (r#"{"local_fraction": 1.5}"#, "`local_fraction`: 1.5 is not a number from 0 to 1"),
            (
                r#"{"local_fraction": "0.6"}"#,
                r#"`local_fraction`: invalid type: string "0.6", expected f64"#,
            ),
        ] {
            assert_eq!(refusal(text), reason, "{text}");
        }
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in ["{}", r#"{"local_fraction": 0}"#, r#"{"local_fraction": 1}"#] {
            testing::check::<Fixed>(parameters);
        }
    }
}
