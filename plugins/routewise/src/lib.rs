//! The strategy `routewise`: the soonest first byte that a share of the range of costs buys, as in
//! "RouteWise: Latency-Cost Optimization for Multi-Provider LLM Routing" (EuroSys '27).

use std::time::Duration;

use gateway_strategy::parameters::{Fraction, Positive};
use gateway_strategy::{
    Attempt, Deployment, Ending, Hedge, Learning, Needs, Order, Place, Plan, Request,
    RequestStrategy, Signal, Strategy, Verdict, Weights, WhenFull, clock,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod choice;
pub mod cost;
pub mod hedge;
mod learnt;
mod leases;
pub mod lp;
pub mod output;
pub mod profile;
mod rows;
mod shelf;
#[cfg(test)]
mod tests;

use choice::Decision;
use learnt::{Known, Usage};
use leases::Leases;
use rows::{Row, Tier};
use shelf::Shelf;

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// How much of the range of costs may be spent for a sooner first byte, from 0 (the cheapest
    /// deployment) to 1 (the quickest one).
    pub alpha: Fraction,
    /// The objective: milliseconds to the first byte, for requests that name none. It decides when a
    /// second attempt is made. Default: none, and no second attempt.
    pub slo_ms: Option<Positive>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { alpha: Fraction::percent(25), slo_ms: None }
    }
}

/// The strategy.
#[derive(Debug)]
pub struct RouteWise {
    alpha: f64,
    objective: Option<f64>,
    places: Vec<Place>,
    tiers: Vec<Tier>,
    known: Shelf<Known>,
    usage: Shelf<Usage>,
    /// Whether a deployment is paid by quota. The costs of requests are recorded only then.
    has_quota: bool,
    order: Order,
}

/// Deployments, and models, that something is remembered of. All records fill the store.
const REMEMBERED: usize = 140;
/// Weight of all fallbacks together, at most.
const FALLBACK: f64 = 1e-12;
/// How often the choice is made again because another request has taken the lease.
const RACES: usize = 4;
/// Attempts of a call whose costs are recorded. A sample is enough, and a model may have many prices.
const PRICED: usize = 16;
/// The longest wait for a second attempt in milliseconds that the gateway takes.
const LONGEST: f64 = 60_000.0;
/// The indices of `REASONS`.
const OPTIMUM: u16 = 0;
const EXPLORES: u16 = 1;

gateway_strategy::export!(RouteWise, request, learning; schema = "parameters.json");

impl Strategy for RouteWise {
    const SUMMARY: &'static str = "The soonest first byte that a share of the range of costs buys";
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));
    const NEEDS: Needs = Needs { prompt_tokens: true, ..Needs::NOTHING };
    const SIGNALS: &'static [Signal] =
        &[Signal::optional("prefix.tokens"), Signal::optional("quota.used")];
    const REASONS: &'static [&'static str] =
        &["the soonest first byte that the budget buys", "a deployment is measured"];

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        Ok(Self {
            alpha: parameters.alpha.get(),
            objective: parameters.slo_ms.map(Positive::get),
            tiers: places.iter().map(Tier::of).collect(),
            places,
            known: Shelf::new("deployment", REMEMBERED),
            usage: Shelf::new("model", REMEMBERED),
            has_quota: false,
            order: Order::default(),
        })
    }

    /// Decides as for a request of unknown length. Nothing is explored: these weights stand for many
    /// requests.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let rows = self.rows(&Request::default(), local, remote);
        let decision = self.decide(&rows, None);
        self.weights(&rows, decision, local, remote)
    }
}

impl RequestStrategy for RouteWise {
    fn assign_request(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        let rows = self.rows(request, local, remote);
        let (decision, reason) = self.explore(&rows);
        let objective = request.objective.map(f64::from).or(self.objective);
        let (decision, second) = match (decision, objective) {
            (Some(decision), Some(objective)) => self.hedged(&rows, decision, objective),
            (decision, _) => (decision, None),
        };
        let weights = self.weights(&rows, decision, local, remote);
        let hedge = second.map(|second| {
            let mut at = 0..;
            let weight = |_: &Deployment| f64::from(at.next() == Some(second.row));
            let weights = Weights::each(local, remote, weight);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
            let after = second.after.round() as u32;
            Hedge { after, weights, max_cost: None }
        });
        let (when_full, reason) = (WhenFull::Next, Some(reason));
        Plan { weights, tiers: None, when_full, hedge, reason }.into()
    }
}

impl Learning for RouteWise {
    fn outcome(&mut self, attempts: &[Attempt]) {
        let now = clock::now().milliseconds;
        self.known.refresh();
        self.usage.refresh();
        let mut measured = Vec::new();
        for attempt in attempts {
            let Some(key) = self.tiers.get(attempt.deployment as usize).map(|tier| tier.key) else {
                continue;
            };
            let Some(outcome) = Outcome::of(attempt) else { continue };
            let profile = self.known.change(key, now).profile_mut();
            if let Some(first_byte) = outcome.first_byte {
                profile.answered(now, first_byte);
            }
            if outcome.is_failure {
                profile.failed(now, outcome.first_byte.is_some());
            }
            measured.push(key);
        }
        self.learn_usage(attempts, now);
        self.known.write();
        self.usage.write();
        leases::end(&measured, now);
    }
}

/// What an attempt says of its deployment.
struct Outcome {
    /// Milliseconds.
    first_byte: Option<f64>,
    is_failure: bool,
}

impl Outcome {
    /// None: nothing. A deployment that is full is not slow, and a wrong request is nobody's fault.
    fn of(attempt: &Attempt) -> Option<Self> {
        let is_failure = match attempt.ending {
            Ending::Ok | Ending::Cancelled | Ending::Hedged => false,
            Ending::Stalled | Ending::Failed | Ending::TimedOut | Ending::Broken => true,
            Ending::ClientError | Ending::Refused => return None,
        };
        let first_byte = Some(attempt.first_byte).filter(|time| time.is_finite());
        (is_failure || first_byte.is_some()).then_some(Self { first_byte, is_failure })
    }
}

impl RouteWise {
    /// Learns how long answers are, and what requests would have cost.
    fn learn_usage(&mut self, attempts: &[Attempt], now: u64) {
        let mut priced = 0;
        for attempt in attempts.iter().filter(|attempt| attempt.ending == Ending::Ok) {
            let Some(tier) = self.tiers.get(attempt.deployment as usize) else { continue };
            let (Some(prompt), Some(answer)) = (attempt.prompt_tokens, attempt.completion_tokens)
            else {
                continue;
            };
            let usage = self.usage.change(tier.model, now);
            usage.lengths.add(prompt, answer);
            if !self.has_quota || priced >= PRICED {
                continue;
            }
            priced += 1;
            let of_model = self.tiers.iter().filter(|other| other.model == tier.model);
            let tokens = [prompt, answer].map(f64::from);
            let costs = of_model.filter_map(|tier| tier.on_demand(tokens[0], 0.0, tokens[1]));
            if let Some(cost) = costs.reduce(f64::min) {
                usage.add(cost);
            }
        }
    }

    /// The best choice, or one that explores. Takes the lease of the deployment that is explored.
    fn explore(&mut self, rows: &[Row]) -> (Option<Decision>, u16) {
        for _ in 0..RACES {
            if !rows.iter().any(|row| row.is_unmeasured) {
                break;
            }
            let now = clock::now().milliseconds;
            let leases = Leases::read(now);
            let Some(mut decision) = self.decide(rows, Some(&leases)) else { break };
            let Some(target) = decision.explored else { return (Some(decision), OPTIMUM) };
            decision.mix = drawn(decision.mix);
            if decision.mix[0].0 != target {
                return (Some(decision), EXPLORES);
            }
            let key = self.tiers[rows[target].place].key;
            if leases.take(key, now) {
                return (Some(decision), EXPLORES);
            }
        }
        (self.decide(rows, None), OPTIMUM)
    }

    /// Adds the second attempt. It depends on the deployment of the first. If the two that share the
    /// traffic lead to different ones, one of the two is drawn here.
    fn hedged(
        &self,
        rows: &[Row],
        decision: Decision,
        objective: f64,
    ) -> (Option<Decision>, Option<hedge::Second>) {
        let second = |at: usize| {
            let second = self.second(rows, at, objective);
            second.filter(|second| second.after <= LONGEST)
        };
        let [(first, _), (other, weight)] = decision.mix;
        let found = second(first);
        if weight <= 0.0 || second(other) == found {
            return (Some(decision), found);
        }
        let mix = drawn(decision.mix);
        let found = if mix[0].0 == first { found } else { second(other) };
        (Some(Decision { mix, ..decision }), found)
    }
}

/// The one of the two that is drawn, with all of the weight.
fn drawn([(first, weight), (other, rest)]: lp::Mix) -> lp::Mix {
    let at = if rest <= 0.0 || clock::draw() < weight { first } else { other };
    [(at, 1.0), (at, 0.0)]
}
