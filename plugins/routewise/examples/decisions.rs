//! Decides cases from standard input, one JSON object a line, and writes the decisions in the same
//! form. `oracle/compare` feeds the same cases to the Python library of the paper's authors.

use std::io::{self, BufRead as _, BufWriter, Write as _};
use std::time::Instant;

use routewise::choice::{Candidate, Decision, decide};
use routewise::cost::{on_demand, prepaid};
use routewise::hedge::{Backup, Second, second};
use routewise::output::Lengths;
use routewise::profile::{Profile, View};
use serde_json::{Value, json};

/// What is measured and priced of a deployment.
struct Deployment {
    name: String,
    cost: f64,
    view: View,
    is_out: bool,
    is_leased: bool,
}

fn main() -> io::Result<()> {
    let repeat: u32 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let case: Value = serde_json::from_str(&line?)?;
        let answer = match case["kind"].as_str() {
            Some("market") => market(&case, repeat),
            Some("quota") => {
                json!({"cost": prepaid(real(&case["used"]), [real(&case["low"]), real(&case["high"])])})
            }
            _ => json!({"tokens": lengths(&case)}),
        };
        writeln!(out, "{answer}")?;
    }
    out.flush()
}

fn real(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// Answers that were seen, and a prompt whose answer is expected.
fn lengths(case: &Value) -> f64 {
    let mut lengths = Lengths::default();
    let number = |value: &Value| u32::try_from(value.as_u64().expect("tokens")).expect("few");
    list(&case["seen"]).iter().for_each(|pair| lengths.add(number(&pair[0]), number(&pair[1])));
    lengths.expect(Some(number(&case["prompt"])))
}

/// Weights, and for each deployment of a weight the second attempt.
fn market(case: &Value, repeat: u32) -> Value {
    let all: Vec<Deployment> =
        list(&case["deployments"]).iter().map(|one| deployment(one, case)).collect();
    let alpha = real(&case["alpha"]);
    let began = Instant::now();
    let mut decision = None;
    for _ in 0..repeat {
        decision = choose(&all, alpha);
    }
    let microseconds = began.elapsed().as_secs_f64() * 1e6 / f64::from(repeat);
    let Some(decision) = decision else { return json!({"weights": {}}) };
    let (mut weights, mut seconds) = (json!({}), json!({}));
    for (at, weight) in decision.mix.into_iter().filter(|(_, weight)| *weight > 0.0) {
        weights[&*all[at].name] = weight.into();
        let second = hedged(&all, at, real(&case["objective"]));
        seconds[&*all[at].name] =
            second.map_or(Value::Null, |second| json!([second.after, all[second.row].name]));
    }
    let explored = decision.explored.map(|at| &all[at].name);
    json!({"weights": weights, "seconds": seconds, "explored": explored, "us": microseconds})
}

fn deployment(one: &Value, case: &Value) -> Deployment {
    let mut profile = Profile::default();
    for event in list(&one["events"]) {
        let at = event[0].as_u64().expect("milliseconds");
        match event[1].as_f64() {
            Some(first_byte) => profile.answered(at, first_byte),
            None => profile.failed(at, false),
        }
    }
    // Of a million tokens, as the library counts: equal costs must be equal to the last digit.
    let price = |at: usize| real(&one["price"][at]);
    let price =
        gateway_strategy::Price { prompt: price(0), cached: price(1), completion: price(2) };
    let now = case["now"].as_u64().expect("milliseconds");
    Deployment {
        name: one["name"].as_str().expect("a name").to_owned(),
        cost: on_demand(price, real(&case["prompt"]), real(&one["cached"]), real(&case["output"]))
            / 1e6,
        view: profile.view(now),
        is_out: profile.is_out(now),
        is_leased: one["leased"] == true,
    }
}

fn choose(all: &[Deployment], alpha: f64) -> Option<Decision> {
    let may = |one: &Deployment| !(one.is_out || one.is_leased && one.view.is_unmeasured());
    let candidates: Vec<Candidate<'_>> = all
        .iter()
        .enumerate()
        .filter(|(_, one)| may(one))
        .map(|(row, one)| Candidate {
            row,
            name: &one.name,
            cost: one.cost,
            latency: one.view.mean(),
            is_unmeasured: one.view.is_unmeasured(),
        })
        .collect();
    let decision = decide(&candidates, alpha, true)?;
    let mix = decision.mix.map(|(at, weight)| (candidates[at].row, weight));
    let explored = decision.explored.map(|at| candidates[at].row);
    Some(Decision { mix, explored, ..decision })
}

fn hedged(all: &[Deployment], first: usize, objective: f64) -> Option<Second> {
    let others = all.iter().enumerate().filter(|(row, one)| *row != first && !one.is_out);
    let backups: Vec<Backup<'_>> = others
        .map(|(row, one)| Backup { row, cost: one.cost, view: &one.view, name: &one.name })
        .collect();
    second(objective, &all[first].view, &backups)
}
