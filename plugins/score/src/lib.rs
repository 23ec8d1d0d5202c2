//! The strategy `score`: each request to a deployment with a high score. Filters say which deployments
//! are in question, weighted scorers which of them are good, and a picker takes one.
//!
//! The scheduler of llm-d is made of such parts. Here they are parameters: any signal of the gateway
//! can be a scorer or a filter, and only those that are named are asked for.

mod parameters;
mod quantity;
mod rules;
#[cfg(test)]
mod tests;

use std::time::Duration;

use gateway_strategy::{
    Deployment, Needs, Order, Place, Request, RequestStrategy, Signal, Strategy, Verdict, Weights,
};

pub use parameters::{Better, Filter, Parameters, Picker, Scorer, Side, Weight};
use quantity::{Call, Site};
use rules::{Gate, Rule};

/// The least weight of a deployment that is in question. 0 would make it a standby.
const LEAST: f64 = 1e-6;

/// The strategy.
#[derive(Debug)]
pub struct Score {
    rules: Vec<Rule>,
    gates: Vec<Gate>,
    picker: Picker,
    /// Signals that it asks for.
    columns: usize,
    sites: Vec<Site>,
    order: Order,
    /// Memory of a call, by row. Kept for the next one.
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    is_in: Vec<bool>,
    passes: Vec<bool>,
    values: Vec<f64>,
    scores: Vec<f64>,
}

gateway_strategy::export!(Score, request; schema = "parameters.json");

impl Strategy for Score {
    const SUMMARY: &'static str = "Weighted scores of any signals, filters, and a picker";
    const REFRESH: Option<Duration> = Some(Duration::from_secs(1));
    /// At most. `configure` asks for less where the parameters need less.
    const NEEDS: Needs = Needs { prompt_tokens: true, session: true, ..Needs::NOTHING };
    /// Those of the default parameters. `configure` asks for those of the given ones.
    const SIGNALS: &'static [Signal] =
        &[Signal::required("engine.kv"), Signal::required("prefix.tokens")];

    type Parameters = Parameters;

    fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
        let mut signals = Vec::new();
        let rules = Rule::all(&parameters.scorers, &places, &mut signals)?;
        let gates = Gate::all(&parameters.filters, &places, &mut signals)?;
        let needs = Needs {
            prompt_tokens: rules.iter().any(Rule::is_of_prompt),
            session: rules.iter().any(Rule::is_of_session) || gates.iter().any(Gate::is_of_session),
            ..Needs::NOTHING
        };
        gateway_strategy::ask(&signals, needs)
            .map_err(|why| unknown(&parameters, why, |name| gateway_strategy::ask(name, needs)))?;
        Ok(Self {
            rules,
            gates,
            picker: parameters.picker,
            columns: signals.len(),
            sites: places.iter().map(Site::of).collect(),
            order: Order::default(),
            scratch: Scratch::default(),
        })
    }

    /// Decides as for a request without a prompt and a session. These weights stand for a second: if
    /// the best deployment got everything, it would be overrun. So `best` is `best-of-two` here.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
        let picker = match self.picker {
            Picker::Best => Picker::BestOfTwo,
            other => other,
        };
        self.pick(picker, None, local, remote)
    }
}

/// The error of a signal that the gateway does not know, with its place in the parameters. `why` is
/// the gateway's error for all signals together, `ask` asks for some of them.
fn unknown(
    Parameters { scorers, filters, .. }: &Parameters,
    why: String,
    ask: impl Fn(&[String]) -> Result<(), String>,
) -> String {
    let of_scorers = (0..).zip(scorers).map(|(at, one)| ("scorers", at, &one.signal));
    let of_filters = (0..).zip(filters).map(|(at, one)| ("filters", at, &one.signal));
    let named = of_scorers
        .chain(of_filters)
        .filter_map(|(list, at, signal): (_, usize, _)| Some((list, at, signal.as_ref()?)))
        .filter(|(.., signal)| !quantity::fields().any(|field| field == signal.as_str()));
    for (list, at, signal) in named {
        let Err(why) = ask(std::slice::from_ref(signal)) else { continue };
        let fields = quantity::fields().collect::<Vec<_>>().join(", ");
        let hint = match quantity::nearest_field(signal) {
            Some(field) => format!("did you mean the field `{field}`? As written, "),
            None => String::new(),
        };
        return format!("`{list}[{at}].signal`: {hint}{why}; fields are {fields}");
    }
    why
}

impl RequestStrategy for Score {
    fn assign_request(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict {
        self.pick(self.picker, Some(request), local, remote).into()
    }
}

impl Score {
    fn pick(
        &mut self,
        picker: Picker,
        request: Option<&Request>,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Weights {
        let all: Vec<&Deployment> = local.iter().chain(remote).collect();
        self.score(request, &all);
        let Scratch { is_in, scores, .. } = &self.scratch;
        let cost = |row: &usize| 1.0 - scores[*row];
        // The weights of those in question alone: others must not take part in a draw of two.
        let rows = (0..all.len()).filter(|row| is_in[*row]);
        let weights =
            Weights { local: rows.clone().map(|row| cost(&row)).collect(), remote: Vec::new() };
        let weights = match picker {
            // Equals share by places.
            Picker::Best => {
                let mut weights = self.order.steep(weights);
                let limit = |row: usize| f64::from(all[row].limit.max(1));
                let largest = rows.clone().map(limit).fold(1.0, f64::max);
                let pairs = weights.local.iter_mut().zip(rows.clone());
                pairs.for_each(|(weight, row)| *weight *= (limit(row) / largest).max(0.01));
                weights
            }
            Picker::BestOfTwo => self.order.best_of_two(weights),
            Picker::Weighted => {
                let scores = rows.clone().map(|row| scores[row].max(LEAST)).collect();
                Weights { local: scores, remote: Vec::new() }
            }
        };
        let mut spread = vec![0.0; all.len()];
        rows.zip(weights.local).for_each(|(row, weight)| spread[row] = weight);
        let remote = spread.split_off(local.len());
        Weights { local: spread, remote }
    }

    /// Leaves in `scratch` which deployments pass the filters, and their scores.
    fn score(&mut self, request: Option<&Request>, all: &[&Deployment]) {
        let Self { rules, gates, sites, columns, scratch, .. } = self;
        let Scratch { is_in, passes, values, scores } = scratch;
        is_in.clear();
        is_in.resize(all.len(), true);
        for list in [&mut *values, &mut *scores] {
            list.clear();
            list.resize(all.len(), 0.0);
        }
        let call = Call::new(sites, *columns, request);
        for gate in gates {
            gate.narrow(&call, all, is_in, passes);
        }
        for rule in rules {
            rule.add(&call, all, is_in, (values, scores));
        }
    }
}
