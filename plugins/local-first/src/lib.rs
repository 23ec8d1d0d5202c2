//! The strategy `local-first`: all traffic to local deployments, remote ones on standby.

use gateway_strategy::parameters::Fraction;
use gateway_strategy::{Deployment, Place, Strategy, Weights};
use schemars::JsonSchema;
use serde::Deserialize;

/// `routing_parameter` of this strategy. It accepts the parameter of `fixed`, so that a switch between
/// the two strategies is an edit of one word.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// No effect. It is the parameter of fixed, and may stay while local-first is in use.
    #[expect(dead_code, reason = "it has no effect")]
    #[serde(default, rename = "local_fraction")]
    #[schemars(with = "Fraction")]
    ignored: Option<Fraction>,
}

/// The strategy.
#[derive(Debug)]
pub struct LocalFirst {
    /// The configured weight of each place.
    weights: Vec<f64>,
}

gateway_strategy::export!(LocalFirst; schema = "parameters.json");

impl Strategy for LocalFirst {
    const SUMMARY: &'static str = "All traffic to local deployments, remote ones on standby";

    type Parameters = Parameters;

    fn configure(_: Parameters, places: Vec<Place>) -> Result<Self, String> {
        Ok(Self { weights: places.iter().map(|place| place.weight).collect() })
    }

    /// Local deployments share everything by their configured weights, which are equal by default.
    /// Remote ones get 0, which is standby. Without a local deployment, the remote ones share.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        Weights::each(local, remote, |one| self.weights[one.place()]).sides(1.0)
    }
}

#[cfg(test)]
mod tests {
    use gateway_strategy::testing::{self, Fleet};

    use super::LocalFirst;

    fn shares(fleet: &Fleet) -> Vec<f64> {
        fleet.ask(&mut fleet.configure::<LocalFirst>("{}"))
    }

    #[test]
    fn local_deployments_share_and_remote_ones_stand_by() {
        assert_eq!(shares(&Fleet::new().local("a").remote("b")), [1.0, 0.0]);
        assert_eq!(shares(&Fleet::new().local("a").local("b")), [0.5, 0.5]);
        let busy = Fleet::new().local("a").in_flight(900).local("b").remote("c").remote("d");
        assert_eq!(shares(&busy), [0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn without_a_local_deployment_remote_ones_share() {
        assert_eq!(shares(&Fleet::new().remote("a")), [1.0]);
        assert_eq!(shares(&Fleet::new().remote("a").remote("b")), [0.5, 0.5]);
    }

    #[test]
    fn parameters_are_refused_with_the_reason() {
        let refusal = |text| testing::configured::<LocalFirst>(text, Vec::new()).map(drop).err();
        assert_eq!(refusal(r#"{"local_fraction": 0.6}"#), None);
        let says = "unknown field `fraction`, expected `local_fraction`";
        assert_eq!(refusal(r#"{"fraction": 0.6}"#).as_deref(), Some(says));
    }

    #[test]
    fn answers_are_good_whatever_is_asked() {
        for parameters in ["{}", r#"{"local_fraction": 0.6}"#] {
            testing::check::<LocalFirst>(parameters);
        }
    }
}
