//! Valid scenarios, and the errors of invalid ones.

#![allow(clippy::unwrap_used)]

use super::*;

const GOOD: &str = "duration: 10
deployments:
  - {name: a, side: local, parallel: 1, prefill: 10, decode: 10}
arrivals: {rate: 1}
requests: [{prompt: 1, output: 1}]
";

fn read(yaml: &str) -> Result<Scenario, Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.yaml");
    std::fs::write(&path, yaml).unwrap();
    Scenario::read(&path)
}

/// Replaces `from` with `to` in `GOOD`. Returns line, message and remedy of every error.
fn errors(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from}");
    let errors = read(&GOOD.replacen(from, to, 1)).unwrap_err();
    errors.iter().map(|e| format!("{}: {}; {}", e.line, e.message, e.help)).collect()
}

#[test]
fn a_scenario_is_as_short_as_it_can_be() {
    let scenario = read(GOOD).unwrap();
    assert_eq!((scenario.seed, &*scenario.model), (1, "model"));
    assert_eq!(scenario.places()[0].weight, 1.0);
    assert_eq!(scenario.sites[0].concurrency, Concurrency::default());
}

#[test]
fn mistakes_are_shown_at_their_lines() {
    for (from, to, want) in [
        ("decode", "decod", "3: unknown key `decod`; did you mean `decode`?"),
        ("side: local", "side: here", "3: this is not one of the values known here; "),
        ("prefill: 10", "prefill: 0", "3: the number must be above 0"),
        ("rate: 1", "rat: 1", "4: unknown key `rat`; did you mean `rate`?"),
        ("{rate: 1}", "{}", "4: not exactly one source of arrivals; "),
        ("{rate: 1}", "{rate: 1, log: x}", "4: not exactly one source of arrivals; "),
        ("{rate: 1}", "{log: none.json}", "4: "),
        ("rate: 1}", "rate: 1, speed: 2}", "4: only recorded requests have a speed; "),
        ("duration: 10", "seed: 2", "1: the key `duration` is missing; "),
        ("prompt: 1", "prompt: {uniform: [2, 1]}", "5: the second is less than the first; "),
        ("prompt: 1", "prompt: {}", "5: not exactly one distribution; "),
        ("prompt: 1", "prompt: {lognorml: 1}", "5: unknown key `lognorml`; did you mean"),
        ("prompt: 1", "prompt: many", "5: expected"),
        ("prompt: 1", "share: 0, prompt: 1", "5: all shares are 0; "),
        (
            "decode: 10",
            "decode: 10, outages: [{from: 2, to: 1}]",
            "3: it ends before it begins; let `to` be later",
        ),
        (
            "{rate: 1}",
            "{rate: 1, bursts: {every: 5, lasting: 5, rate: 2}}",
            "4: one burst runs into the next; ",
        ),
        (
            "decode: 10",
            "decode: 10, outages: [{from: 1, to: 2, slow: 2, stall: true}]",
            "3: `failing`, `slow` and `stall` are different outages; write an entry",
        ),
        (
            "decode: 10",
            "decode: 10, refuses: {queue: 1, status: 500}",
            "3: 500 does not say that an engine is full; give 429, 498, 503 or 529",
        ),
        ("decode: 10", "decode: 10, refuses: {}", "3: the key `queue` is missing"),
        ("decode: 10", "decode: 10, drift: {}", "3: neither a whole wave nor steps alone; "),
        (
            "decode: 10",
            "decode: 10, drift: {period: 60}",
            "3: neither a whole wave nor steps alone; ",
        ),
        (
            "decode: 10",
            "decode: 10, drift: {steps: [{from: 2, speed: 1}, {from: 1, speed: 1}]}",
            "3: the steps are not in order; ",
        ),
        (
            "duration: 10",
            "gateway: {scrape: 0.01}\nduration: 10",
            "1: the interval is too short; give 0, or 0.05",
        ),
        (
            "duration: 10",
            "budgets: [{name: b, amount: 0, per: day}]\nduration: 10",
            "1: a budget is above 0; ",
        ),
        (
            "duration: 10",
            "budgets: [{name: b, amount: 1, per: day, of: {deployment: b}}]\nduration: 10",
            "1: there is no deployment b; write one of a",
        ),
        (
            "duration: 10",
            "budgets: [{name: b, amount: 1, per: day, of: {model: gpt}}]\nduration: 10",
            "1: there is no model gpt; write one of model",
        ),
        (
            "rate: 1",
            "rate: 1, bursts: {every: 5, lasting: 1, speed: 2}",
            "4: these bursts do not fit their source; give bursts of a `rate`",
        ),
        ("decode: 10", "decode: 10, price: {prompt: 0.0000000000001, completion: 0}", "3: "),
    ] {
        let errors = errors(from, to);
        assert!(errors.iter().any(|error| error.starts_with(want)), "{to}: {errors:?}");
    }
}

#[test]
fn budgets_cover_what_costs_money() {
    let budgets = "budgets:
  - {name: all, amount: 1, per: day}
  - {name: b, amount: 1, per: day, of: {deployment: b}}
  - {name: local, amount: 1, per: day, of: {side: local}}
deployments:
  - {name: b, side: remote, parallel: 1, prefill: 10, decode: 10, price: {prompt: 1e-6, completion: 0}}
  - {name: c, side: remote, parallel: 1, prefill: 10, decode: 10, price: {prompt: 0, completion: 1e-6}}
";
    let scenario = read(&GOOD.replace("deployments:\n", budgets)).unwrap();
    let covered: Vec<u64> = scenario.sites.iter().map(|site| site.budgets).collect();
    assert_eq!(covered, [0b11, 0b01, 0], "b, c, and a, which is free");
    assert_eq!(scenario.sites[0].tariff.prompt.get(), 1_000_000);
}

#[test]
fn two_deployments_have_two_names() {
    let entry = "  - {name: a, side: local, parallel: 1, prefill: 10, decode: 10}\n";
    let errors = errors(entry, &entry.repeat(2));
    assert_eq!(errors, ["4: the name `a` is given twice; give each deployment a name of its own"]);
}

#[test]
fn bursts_come_after_so_long_and_again() {
    let scenario =
        read(&GOOD.replace("rate: 1", "rate: 1, bursts: {every: 10, lasting: 2, rate: 5}"));
    let arrivals = scenario.unwrap().arrivals;
    let rates = [0, 9, 10, 11, 12, 19, 20, 22].map(|s| arrivals.rate(Duration::from_secs(s)));
    assert_eq!(rates, [1.0, 1.0, 5.0, 5.0, 1.0, 1.0, 5.0, 1.0]);
    assert_eq!(arrivals.peak(), 5.0);
}

#[test]
fn a_missing_file_is_told_with_the_remedy() {
    let error = Scenario::read(Path::new("none.yaml")).unwrap_err().to_string();
    assert!(error.contains("none.yaml") && error.contains("--scenario"), "{error}");
}
