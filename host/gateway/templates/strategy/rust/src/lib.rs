//! Less traffic to deployments that have more to do. See README.md.

use std::time::Duration;

use gateway_strategy::parameters::Fraction;
{{request}}
use gateway_strategy::{
    Deployment, Needs, Place, Request, RequestStrategy, Signal, Signals, Strategy, Verdict, Weights,
};
{{end}}
{{plain}}
use gateway_strategy::{Deployment, Place, Signal, Signals, Strategy, Weights};
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
    /// Prompts of at least this many tokens stay on local deployments that have room.
    long_prompt: u32,
    /// Milliseconds that a long prompt waits for room at a local deployment.
    #[schemars(range(min = 1, max = 60_000))]
    patience: u32,
{{end}}
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            remote: Fraction::percent(100),
{{request}}
            long_prompt: 4000,
            patience: 1000,
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
    // `gateway strategy inspect FILE --signals` lists all.
    const SIGNALS: &'static [Signal] = &[
        Signal::required("engine.running"),
        Signal::required("engine.waiting"),
    ];
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
        let signals = Signals::read(Self::SIGNALS.len());
        let share = |row: usize, one: &Deployment| 1.0 / (1.0 + load(one, &signals, row));
        let remote = (local.len()..).zip(remote);
        Weights {
            local: (0..).zip(local).map(|(row, one)| share(row, one)).collect(),
            remote: remote.map(|(row, one)| factor * share(row, one)).collect(),
        }
    }
}

/// The requests that a deployment has to do. The engine counts those of others, too. Where it does
/// not tell, its signals are NaN.
fn load(deployment: &Deployment, signals: &Signals, row: usize) -> f64 {
    let told = signals.of(row, 0) + signals.of(row, 1);
    if told.is_nan() { f64::from(deployment.in_flight) } else { told }
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
        let is_long = request.prompt_tokens.unwrap_or(0) >= self.parameters.long_prompt;
        if local.is_empty() || !is_long {
            return weights.into();
        }
        match local.iter().any(|one| one.in_flight < one.limit) {
            true => weights.sides(1.0).into(),
            // Asked again when there is room, or when the time is over.
            false if request.held == 0 => Verdict::Hold(self.parameters.patience),
            false => weights.into(),
        }
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
    fn what_an_engine_tells_counts() {
        let fleet = Fleet::new().local("a").local("b");
        let mut strategy: LeastBusy = fleet.configure("{}");
        testing::set_signals(&[2.0, 1.0, f64::NAN, f64::NAN]);
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
