//! The strategy `budget`: local while there is room, then paid. A budget's money lasts its window: the
//! faster it goes, the longer a request must have to wait before it is paid for.

#[cfg(test)]
mod tests;

use std::time::Duration;

use gateway_strategy::parameters::{Fraction, Positive};
use gateway_strategy::{
    Deployment, Needs, Place, Plan, Request, RequestStrategy, Side, Signal, Signals, Strategy,
    Verdict, Weights, WhenFull, pacing,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `routing_parameter` of the strategy `budget`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The name of the budget in routing.yaml whose money is to last. Default: none, so that the price of
    /// waiting stays as it is.
    pub budget: Option<String>,
    /// While money goes just as fast as time, a usual request is paid for if it would wait this many
    /// milliseconds longer at the best local deployment.
    pub patience_ms: Positive,
    /// The share of the budget, spent ahead of time, that doubles the wait that is asked of requests.
    pub ahead: Fraction,
    /// Tokens of the prompt of a usual request.
    pub prompt_tokens: u32,
    /// Tokens of the answer to a usual request.
    pub output_tokens: u32,
    /// What happens with requests that find no local place free while no money may be spent.
    pub when_spent: WhenSpent,
    /// With hold: how long a request is held, in milliseconds, at most 60000.
    pub hold_ms: u32,
}

/// What happens with requests for which there is neither a local place nor money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenSpent {
    /// They wait in the line of the local deployments, as `concurrency` allows.
    Wait,
    /// They are held until a place is free, and then decided again.
    Hold,
    /// They are refused with 429.
    Refuse,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            budget: None,
            patience_ms: Positive::thousandths(2_000_000),
            ahead: Fraction::percent(5),
            prompt_tokens: 1_000,
            output_tokens: 300,
            when_spent: WhenSpent::Wait,
            hold_ms: 30_000,
        }
    }
}

/// The most milliseconds for which the gateway holds a request.
const LONGEST_HOLD: u32 = 60_000;
/// Seconds after which the client of a refused request may ask again.
const RETRY_AFTER: u32 = 1;
/// Indices of [`Strategy::REASONS`].
const ROOM: u16 = 0;
const PAID: u16 = 1;
const WAITS: u16 = 2;
const SPENT: u16 = 3;

/// The strategy.
#[derive(Debug)]
pub struct Budget {
    parameters: Parameters,
    /// By the number of a place: dollars of a usual request. 0 if its price is not known.
    usual: Vec<f64>,
}

gateway_strategy::export!(Budget, request; schema = "parameters.json");

impl Strategy for Budget {
    const SUMMARY: &'static str = "Local while there is room, then paid, so that the money lasts";
    const REFRESH: Option<Duration> = Some(Duration::from_millis(250));
    /// With a budget, `configure` asks for its signals, too.
    const SIGNALS: &'static [Signal] = &[Signal::required("request.cost")];
    const REASONS: &'static [&'static str] = &[
        "a local place is free",
        "paid: the wait is worth it",
        "waits: money goes faster than time",
        "no local place is free, and no money may be spent",
    ];

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        if parameters.ahead.get() == 0.0 {
            return Err("`ahead`: 0 is not above 0".to_owned());
        }
        if parameters.hold_ms > LONGEST_HOLD {
            let given = parameters.hold_ms;
            return Err(format!("`hold_ms`: {given} is above {LONGEST_HOLD}"));
        }
        if let Some(budget) = &parameters.budget {
            let mut signals = vec!["request.cost".to_owned()];
            signals.extend(pacing::signals(budget));
            gateway_strategy::ask(&signals, Needs::NOTHING)
                .map_err(|why| format!("`budget`: {why}"))?;
        }
        let tokens = [parameters.prompt_tokens, parameters.output_tokens].map(f64::from);
        let usual = |place: &Place| {
            let price = place.price.filter(|_| place.side == Side::Remote);
            price.map_or(0.0, |price| price.prompt * tokens[0] + price.completion * tokens[1])
        };
        let usual = places.iter().map(usual).collect();
        Ok(Self { parameters, usual })
    }

    /// Decides as for a usual request. One that would be held or refused waits.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        match self.choose(local, remote) {
            Choice::Paid(best) => only(local, remote, &best),
            Choice::Room => room(local, remote),
            Choice::Waits | Choice::Spent => in_line(local, remote),
        }
    }
}

impl RequestStrategy for Budget {
    fn assign_request(
        &mut self,
        _request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        let plan = |weights, reason| Plan {
            weights,
            when_full: WhenFull::Next,
            reason: Some(reason),
            ..Plan::default()
        };
        let line = || in_line(local, remote);
        match (self.choose(local, remote), self.parameters.when_spent) {
            (Choice::Room, _) => plan(room(local, remote), ROOM).into(),
            (Choice::Paid(best), _) => plan(only(local, remote, &best), PAID).into(),
            (Choice::Waits, _) => plan(line(), WAITS).into(),
            (Choice::Spent, WhenSpent::Wait) => plan(line(), SPENT).into(),
            (Choice::Spent, WhenSpent::Hold) => Verdict::Hold(self.parameters.hold_ms),
            (Choice::Spent, WhenSpent::Refuse) => {
                Verdict::Refuse { retry_after: RETRY_AFTER, reason: Some(SPENT) }
            }
        }
    }
}

/// Where a request goes.
enum Choice {
    /// To a local place that is free.
    Room,
    /// To the remote deployments with the least time and money: a flag for each.
    Paid(Vec<bool>),
    /// To the line of the local deployments, because a dollar is worth more than its wait.
    Waits,
    /// No local place is free, and no remote deployment may be used.
    Spent,
}

impl Budget {
    fn choose(&self, local: &[Deployment], remote: &[Deployment]) -> Choice {
        if local.iter().any(is_free) {
            return Choice::Room;
        }
        if remote.is_empty() {
            return Choice::Spent;
        }
        let signals = Signals::read(1);
        let milliseconds = self.price(&signals, local, remote);
        let score = |(row, one): (usize, &Deployment)| {
            let cost = signals.of(local.len() + row, 0);
            let cost = if cost.is_nan() { self.usual[one.place()] } else { cost };
            // One of unknown latency must get traffic to be measured.
            one.first_byte().unwrap_or(0.0) + milliseconds * cost
        };
        let scores: Vec<f64> = remote.iter().enumerate().map(score).collect();
        let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let wait = local.iter().map(|one| one.first_byte().unwrap_or(0.0)).reduce(f64::min);
        match wait {
            // As long as nothing is known of the local ones, they wait for their first answers.
            Some(wait) if wait <= least => Choice::Waits,
            _ => Choice::Paid(scores.into_iter().map(|score| score <= least).collect()),
        }
    }

    /// The shadow price: the milliseconds that a request waits rather than cost a dollar.
    fn price(&self, signals: &Signals, local: &[Deployment], remote: &[Deployment]) -> f64 {
        let usual = remote.iter().map(|one| self.usual[one.place()]).filter(|cost| *cost > 0.0);
        // Without a price, nothing is paid for.
        let Some(usual) = usual.reduce(f64::min) else { return 0.0 };
        let lead = pacing::lead(signals, local.len() + remote.len(), 0).unwrap_or(0.0);
        let Parameters { patience_ms, ahead, .. } = &self.parameters;
        patience_ms.get() / usual * pacing::price(lead, ahead.get())
    }
}

fn is_free(one: &Deployment) -> bool {
    one.load(one.limit) < 1.0
}

/// Free local places share the requests. The others are on standby.
fn room(local: &[Deployment], remote: &[Deployment]) -> Weights {
    let room = |one: &Deployment| if is_free(one) { one.room(one.limit) } else { 0.0 };
    Weights::each(local, remote, room).sides(1.0)
}

/// The line of the local deployments, by the places that they have. Remote ones are on standby.
fn in_line(local: &[Deployment], remote: &[Deployment]) -> Weights {
    Weights::each(local, remote, |one| f64::from(one.limit.max(1))).sides(1.0)
}

/// The remote deployments that are flagged share by room. All others are on standby.
fn only(local: &[Deployment], remote: &[Deployment], best: &[bool]) -> Weights {
    let weight = |(one, is_best): (&Deployment, &bool)| match is_best {
        true => one.room(one.limit),
        false => 0.0,
    };
    let remote = remote.iter().zip(best).map(weight).collect();
    Weights { local: vec![0.0; local.len()], remote }.sides(0.0)
}
