//! Less traffic to deployments that have more to do. See README.md.

use std::time::Duration;

use gateway_strategy::parameters::Fraction;
{{request}}
use gateway_strategy::{
    Deployment, Needs, Place, Request, RequestStrategy, Strategy, Verdict, Weights,
};
{{end}}
{{plain}}
use gateway_strategy::{Deployment, Place, Strategy, Weights};
{{end}}
use schemars::JsonSchema;
use serde::Deserialize;

{{request}}
gateway_strategy::export!(LeastBusy, request);
{{end}}
{{plain}}
gateway_strategy::export!(LeastBusy);
{{end}}

/// `routing_parameter`. The gateway checks it against the schema of this type before `configure`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The weight of a remote deployment, relative to an equally busy local one.
    remote: Fraction,
{{request}}
    /// Prompts of at least this many tokens stay on local deployments.
    long_prompt: u32,
{{end}}
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            remote: Fraction::percent(100),
{{request}}
            long_prompt: 4000,
{{end}}
        }
    }
}

pub struct LeastBusy {
    parameters: Parameters,
}

impl Strategy for LeastBusy {
    const SUMMARY: &'static str = "Less traffic to deployments that have more to do";
    // The load changes, so the gateway asks again each second.
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));
{{request}}
    const NEEDS: Needs = Needs {
        prompt_tokens: true,
        ..Needs::NOTHING
    };
{{end}}

    type Parameters = Parameters;

    /// `places[deployment.place()]` has the name, the capacity and the price of a deployment.
    /// Return an `Err` for parameters that the schema cannot rule out.
    fn configure(parameters: Parameters, _places: Vec<Place>) -> Result<Self, String> {
        Ok(Self { parameters })
    }

    /// Only proportions count.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let factor = match local {
            [] => 1.0,
            _ => self.parameters.remote.get(),
        };
        let share = |one: &Deployment| 1.0 / (1.0 + f64::from(one.in_flight));
        Weights {
            local: local.iter().map(share).collect(),
            remote: remote.iter().map(|one| factor * share(one)).collect(),
        }
    }
}
{{request}}

impl RequestStrategy for LeastBusy {
    fn assign_request(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        let weights = self.assign(local, remote);
        if request.prompt_tokens.unwrap_or(0) < self.parameters.long_prompt {
            return weights.into();
        }
        weights.sides(1.0).into()
    }
}
{{end}}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_strategy::testing::{self, Fleet};

    #[test]
    fn an_idle_deployment_gets_more_than_a_busy_one() {
        let fleet = Fleet::new().local("a").in_flight(3).local("b");
        let mut strategy: LeastBusy = fleet.configure("{}");
        assert_eq!(fleet.ask(&mut strategy), [0.2, 0.8]);
    }

    #[test]
    fn every_answer_is_good() {
{{request}}
        testing::check_requests::<LeastBusy>("{}");
{{end}}
{{plain}}
        testing::check::<LeastBusy>("{}");
{{end}}
    }
}
