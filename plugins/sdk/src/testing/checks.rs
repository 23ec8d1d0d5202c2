//! Checks that hold for every strategy.

use std::collections::BTreeMap;

use serde_json::Value;

use super::stand_in::replace_store;
use super::{Fleet, not_understood, place};
use crate::{
    Deployment, Modalities, Request, RequestStrategy, Side, Strategy, Verdict, Weights, WhenFull,
    hash, parameters,
};

/// Fleets of a check.
const FLEETS: u64 = 200;
/// Questions about each fleet.
const QUESTIONS: u64 = 8;

/// Whether the gateway would accept an answer.
///
/// # Errors
/// It would not. The text gives the reason.
pub fn is_good(
    weights: &Weights,
    local: &[Deployment],
    remote: &[Deployment],
) -> Result<(), String> {
    let (got, want) =
        ([&weights.local, &weights.remote].map(Vec::len), [local.len(), remote.len()]);
    if got != want {
        return Err(format!("{got:?} weights for {want:?} deployments"));
    }
    if let Some(bad) = weights.iter().find(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        return Err(format!("{bad} is not a weight"));
    }
    let sum: f64 = weights.iter().sum();
    match sum.is_finite() && sum > 0.0 {
        true => Ok(()),
        false => Err(format!("the weights sum to {sum}")),
    }
}

/// Whether the gateway would accept a verdict.
///
/// # Errors
/// It would not. The text gives the reason.
pub fn is_good_verdict<S: Strategy>(
    verdict: &Verdict,
    local: &[Deployment],
    remote: &[Deployment],
) -> Result<(), String> {
    let (reason, wait) = match verdict {
        Verdict::Route(plan) => {
            is_good(&plan.weights, local, remote)?;
            if let Some(tiers) = &plan.tiers {
                let (got, want) =
                    ([&tiers.local, &tiers.remote].map(Vec::len), [local.len(), remote.len()]);
                if got != want {
                    return Err(format!("{got:?} tiers for {want:?} deployments"));
                }
            }
            let wait = if let WhenFull::Wait(wait) = plan.when_full { wait } else { 0 };
            let mut after = 0;
            if let Some(hedge) = &plan.hedge {
                is_good(&hedge.weights, local, remote)?;
                if let Some(cost) =
                    hedge.max_cost.filter(|cost| !(cost.is_finite() && *cost >= 0.0))
                {
                    return Err(format!("a second attempt may cost at most {cost} dollars"));
                }
                after = hedge.after;
            }
            (plan.reason, wait.max(after))
        }
        Verdict::Hold(wait) => (None, *wait),
        Verdict::Refuse { retry_after: 0, .. } => return Err("refused for 0 s".to_owned()),
        Verdict::Refuse { reason, .. } => (*reason, 0),
    };
    match reason {
        Some(reason) if usize::from(reason) >= S::REASONS.len() => {
            Err(format!("reason {reason} of {}", S::REASONS.len()))
        }
        _ if wait > 60_000 => Err(format!("{wait} ms is too long to wait")),
        _ => Ok(()),
    }
}

/// Weights as shares that sum to 1, local ones first.
#[must_use]
pub fn shares(weights: &Weights) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// Checks a strategy with these parameters on generated fleets. The answers of `assign` are good. A
/// fresh instance gives the same answers to the same questions. The gateway understands the schema
/// of the parameters.
///
/// # Panics
/// A check fails. The message names the check and the fleet.
pub fn check<S: Strategy>(parameters: &str) {
    run::<S>(parameters, |strategy, _, local, remote| strategy.assign(local, remote).into());
}

/// Like [`check`], but every second question goes to `assign_request`.
///
/// # Panics
/// A check fails.
pub fn check_requests<S: RequestStrategy>(parameters: &str) {
    run::<S>(parameters, |strategy, request, local, remote| match request {
        Some(request) => strategy.assign_request(request, local, remote),
        None => strategy.assign(local, remote).into(),
    });
}

fn run<S: Strategy>(
    parameters: &str,
    ask: impl Fn(&mut S, Option<&Request>, &[Deployment], &[Deployment]) -> Verdict,
) {
    let schema = parameters::schema::<S::Parameters>();
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    assert_eq!(not_understood(&schema), [""; 0], "the schema of the parameters");
    assert_eq!(schema["additionalProperties"], false, "misspelt parameters go unnoticed");
    for seed in 0..FLEETS {
        let mut dice = Dice(seed);
        let fleet = dice.fleet();
        // Each has a store of its own, as in two gateways.
        let mut strategies = [(); 2].map(|()| (fleet.configure::<S>(parameters), BTreeMap::new()));
        for question in 0..QUESTIONS {
            let now = dice.now(&fleet);
            let request = (question % 2 == 1).then(|| dice.request(S::NEEDS));
            let [answer, again] = strategies.each_mut().map(|(strategy, store)| {
                let of_thread = replace_store(std::mem::take(store));
                let answer = ask(strategy, request.as_ref(), &now.local, &now.remote);
                *store = replace_store(of_thread);
                answer
            });
            if let Err(bad) = is_good_verdict::<S>(&answer, &now.local, &now.remote) {
                panic!("fleet {seed}, question {question}: {bad}\n{now:#?}\n{request:#?}");
            }
            assert_eq!(answer, again, "fleet {seed}, question {question}: of two instances");
        }
    }
}

/// Pseudo-random numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash::mix(1, self.0)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.roll() % (from.len() as u64);
        from[usize::try_from(at).expect("an index")]
    }

    fn fleet(&mut self) -> Fleet {
        let size = self.pick(&[1, 1, 2, 3, 8, 32, 128]);
        let sides = self.pick(&[&[Side::Local][..], &[Side::Remote], &[Side::Local, Side::Remote]]);
        (0..size).fold(Fleet::new(), |fleet, number| {
            let mut place = place(&format!("place-{number}"), self.pick(sides));
            place.weight = self.pick(&[0.0, 0.01, 0.5, 1.0]);
            place.capacity = self.pick(&[1, 1, 8, 1_000, u32::MAX]);
            place.context_length = self.pick(&[1, 4_096, 10_000_000]);
            let fleet = fleet.with(place);
            match self.pick(&[None, Some(0.0), Some(1e-6), Some(1.0)]) {
                Some(price) => fleet.price(price, 2.0 * price),
                None => fleet,
            }
        })
    }

    /// A subset of the fleet's deployments, each in a random state.
    fn now(&mut self, fleet: &Fleet) -> Fleet {
        let mut now = fleet.clone();
        let least = self.pick(&[0, 0, 1]);
        for side in [&mut now.local, &mut now.remote] {
            side.retain(|_| self.roll() % 4 >= least);
        }
        if now.local.is_empty() && now.remote.is_empty() {
            now = fleet.clone();
        }
        let mood = self.roll() % 4;
        for one in now.local.iter_mut().chain(&mut now.remote) {
            let known = [f64::NAN, 0.0, 40.0, 900.0, 1e12];
            one.latency = if mood == 0 { f64::NAN } else { self.pick(&known) };
            one.duration = if mood == 0 { f64::NAN } else { self.pick(&known) };
            one.limit = self.pick(&[1, one.limit, one.limit]);
            one.refused_rate = self.pick(&[0.0, 0.0, 0.5, 1.0]);
            one.in_flight = if mood == 1 { 0 } else { self.pick(&[0, 1, 7, 8, 1_000, u32::MAX]) };
            one.queued = if mood == 1 { 0 } else { self.pick(&[0, 0, 1, 9, u32::MAX]) };
            one.error_rate = if mood == 2 { 1.0 } else { self.pick(&[0.0, 0.0, 0.3, 1.0]) };
        }
        now
    }

    fn request(&mut self, needs: crate::Needs) -> Request {
        let tokens = [None, Some(0), Some(700), Some(u32::MAX)];
        let blocks = self.pick(&[0, 1, 8, 64]);
        Request {
            model: 0,
            stream: self.pick(&[true, false]),
            prompt_tokens: self.pick(&tokens).filter(|_| needs.prompt_tokens),
            max_output_tokens: self.pick(&tokens),
            session: self.pick(&[None, Some(0), Some(5), Some(u64::MAX)]).filter(|_| needs.session),
            prefixes: match needs.prefixes {
                true => (0..blocks).map(|_| self.roll() % 32).collect(),
                false => Vec::new(),
            },
            tenant: self.pick(&[None, Some(7)]),
            tenant_name: self
                .pick(&[None, Some("acme")])
                .filter(|_| needs.tenant_name)
                .map(str::to_owned),
            holds: Modalities { image: self.pick(&[false, true]), ..Modalities::default() },
            tools: self.pick(&[false, true]),
            priority: self.pick(&[0, 0, 1, -1]),
            objective: self.pick(&[None, Some(250)]),
            held: self.pick(&[0, 0, 1, 2]),
            headers: vec![("x-tier".to_owned(), "gold".to_owned())],
        }
    }
}
