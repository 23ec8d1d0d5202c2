//! Budgets, and the deployments that they cover.

use contract::Picodollars;

use super::*;
use crate::{Each, OnceSpent, Period, Reserve};

const MODELS: &str = "\
models:
  - id: a
    aliases: [b]
    context_length: 1000
    max_output_length: 100
    route:
      - {name: gpu, base_url: 'http://gpu:1', pricing: {request: 0.01}}
      - {name: api, base_url: 'https://api.example', side: remote, pricing: {prompt: 0.01}}
      - {name: free, base_url: 'http://free:1', pricing: {hourly: 2.5}}
  - {id: c, context_length: 1000, max_output_length: 100, route: [{base_url: 'https://other.example', side: remote, pricing: {completion: 0.01}}]}
";

fn with(budgets: &str) -> Result<Config, Diagnostics> {
    load_texts(MODELS, Some(&format!("time_zone: Asia/Tokyo\nbudgets:\n{budgets}")), &[])
}

/// The budgets that cover each deployment.
fn covered(config: &Config) -> Vec<u64> {
    let deployments = config.models.iter().flat_map(|model| &model.deployments);
    deployments.map(|deployment| deployment.budgets).collect()
}

#[test]
fn a_budget_has_its_defaults() {
    let config = with("- {name: all, amount: 0.1, per: day}\n").unwrap();
    let budget = &config.budgets[0];
    assert_eq!(budget.amount, Picodollars::new(100_000_000_000), "no float has it exactly");
    assert_eq!((budget.per, budget.time_zone.name()), (Period::Day, "Asia/Tokyo"));
    assert_eq!((budget.then, budget.reserve), (OnceSpent::Next, Reserve::Maximum));
    assert_eq!((budget.each, budget.warn_at), (None, 0.8));
    assert_eq!(covered(&config), [1, 1, 0, 1]);
}

#[test]
fn each_key_counts() {
    let config = with("\
- {name: x, amount: 12.5, per: {seconds: 90}, time_zone: UTC, each: tenant, then: hold, hold: 5m, reserve: expected}
- {name: y, amount: 1, per: month, then: refuse}
")
    .unwrap();
    let [x, y] = &config.budgets[..] else { panic!("two") };
    assert_eq!(
        (x.per, x.each, x.time_zone.name()),
        (Period::Seconds(90), Some(Each::Tenant), "UTC")
    );
    assert_eq!(x.then, OnceSpent::Hold(std::time::Duration::from_secs(300)));
    assert_eq!((x.amount.get(), x.reserve), (12_500_000_000_000, Reserve::Expected));
    assert_eq!((y.per, y.then), (Period::Month, OnceSpent::Refuse));
}

#[test]
fn a_budget_covers_what_fits_all_of_its_keys() {
    let config = with(
        "\
- {name: b1, amount: 1, per: day, of: {side: remote}}
- {name: b2, amount: 1, per: day, of: {model: b}}
- {name: b3, amount: 1, per: day, of: {model: a, deployment: api}}
- {name: b4, amount: 1, per: day, of: {side: local, deployment: api}}
- {name: b5, amount: 1, per: day, of: {tenant: acme}}
",
    )
    .unwrap();
    assert_eq!(covered(&config), [0b10010, 0b10111, 0, 0b10001]);
}

#[test]
fn mistakes_are_shown_where_they_are() {
    for (budget, message, help) in [
        ("amount: 0, per: day", "a budget is above 0", "no paid deployment"),
        ("amount: 0.0000000000001, per: day", "12 decimals", "write dollars"),
        ("amount: 1, per: year", "per", "month"),
        ("amount: 1, per: {seconds: 0}", "seconds", "1"),
        ("amount: 1, per: day, time_zone: Mars/Base", "no such time zone", "Europe/Berlin"),
        ("amount: 1, per: day, of: {model: aa}", "there is no model aa", "did you mean `a`"),
        ("amount: 1, per: day, of: {deployment: gpus}", "no deployment gpus", "did you mean `gpu`"),
        ("amount: 1, per: day, of: {tenant: x}, each: tenant", "no budget of each", "leave out"),
        ("amount: 1, per: day, of: {sides: remote}", "unknown key `sides`", "side"),
        ("amount: 1", "per", ""),
        ("per: day", "amount", ""),
    ] {
        let errors = with(&format!("- {{name: x, {budget}}}\n")).unwrap_err().to_string();
        assert!(errors.contains(message) && errors.contains(help), "{budget}: {errors}");
        assert!(errors.contains("routing.yaml:3:"), "{budget}: {errors}");
    }
    let unsaid = MODELS.replace("    max_output_length: 100\n", "");
    let budgets = |reserve| format!("budgets:\n- {{name: x, amount: 1, per: day{reserve}}}\n");
    let errors = load_texts(&unsaid, Some(&budgets("")), &[]).unwrap_err().to_string();
    assert!(errors.contains("a request to a can cost at most is not known"), "{errors}");
    assert!(errors.contains("`max_output_length`") && errors.contains("yaml:2:"), "{errors}");
    assert!(load_texts(&unsaid, Some(&budgets(", reserve: expected")), &[]).is_ok());
    let twice = "- {name: x, amount: 1, per: day}\n- {name: x, amount: 2, per: day}\n";
    assert!(with(twice).unwrap_err().to_string().contains("a second budget has the name x"));
    let many: String =
        (0..65).map(|i| format!("- {{name: b{i}, amount: 1, per: day}}\n")).collect();
    assert!(with(&many).is_err());
}
