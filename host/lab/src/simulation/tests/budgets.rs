//! Budgets of money in simulated time.

use contract::{Column, KnownBudgets, RawVerdict};

use super::scripted::{Scripted, first, run_scripted};
use super::*;

/// A GPU and an API, both with room for all. A request takes a second and costs a cent at the API, where it
/// reserves as much. Two a second arrive.
fn scenario_with(budgets: &str, more: &str) -> Scenario {
    scenario(&format!(
        "duration: 300
deployments:
  - {{name: gpu, side: local, parallel: 100, prefill: 1e6, decode: 100}}
  - {{name: api, side: remote, parallel: 100, prefill: 1e6, decode: 100,
     price: {{prompt: 0, completion: 0.0001}}}}
arrivals: {{rate: 2}}
requests: [{{prompt: 10, output: 100, max_tokens: 100}}]
budgets: [{budgets}]
{more}"
    ))
}

/// The report of a strategy that sends everything to the API.
fn all_remote(scenario: &Scenario) -> StrategyReport {
    let requests = workload::requests(scenario).unwrap();
    let (_, done) = run_with(scenario, remote_first);
    let mut report = Report::new(scenario, &requests);
    report.add("remote", scenario, &requests, &done);
    report.strategies.remove(0)
}

fn run_with(
    scenario: &Scenario,
    decide: impl FnMut(contract::Question<'_>) -> RawVerdict + Send,
) -> (Vec<workload::Request>, run::Done) {
    run_scripted(scenario, &mut [Scripted::reading(Vec::new(), decide)])
}

fn remote_first(question: contract::Question<'_>) -> RawVerdict {
    let Situation { local, remote, .. } = question.situation;
    let locals = if remote.is_empty() { 1.0 } else { 0.0 };
    RawVerdict::from(RawWeights {
        local: vec![locals; local.len()],
        remote: vec![1.0; remote.len()],
    })
}

#[test]
fn a_budget_is_spent_and_never_passed() {
    let scenario = scenario_with("{name: b, amount: 1, per: {seconds: 60}}", "");
    let report = all_remote(&scenario);
    assert_eq!((report.failed, report.broke), (0, 0), "the others go to the GPU");
    let [budget] = &report.budgets[..] else { panic!("one budget") };
    assert_eq!((budget.amount, budget.tenant.as_deref()), (1.0, None));
    assert!(budget.most <= 1.0 && budget.most > 0.98, "{}", budget.most);
    // Each of the five windows begins with a whole budget.
    assert!((report.cost - 5.0).abs() < 0.1, "{}", report.cost);
    let ends = [11, 23, 35, 47, 59].map(|point| budget.spent[point]);
    assert!(ends.iter().all(|spent| *spent > 0.98 && *spent <= 1.0), "{ends:?}");
    assert!(budget.spent[12] < 0.3, "a new window: {}", budget.spent[12]);
    assert!(report.local_busy.unwrap() > 0.001, "{:?}", report.local_busy);
}

#[test]
fn what_is_reserved_is_the_most_that_a_request_can_cost() {
    // A hundred requests of a cent fit, but each reserves ten while it is under way.
    let more = "max_output_length: 1000\n";
    let mut scenario = scenario_with("{name: b, amount: 1, per: {seconds: 300}}", more);
    scenario.kinds[0].max_tokens = None;
    let maximum = all_remote(&scenario).budgets[0].most;
    assert!(maximum <= 0.92 && maximum > 0.8, "the last reservations do not fit: {maximum}");
    let expected = "{name: b, amount: 1, per: {seconds: 300}, reserve: expected}";
    let mut scenario = scenario_with(expected, more);
    scenario.kinds[0].max_tokens = None;
    assert!(all_remote(&scenario).budgets[0].most > maximum, "less is reserved");
}

#[test]
fn a_spent_budget_refuses_if_it_says_so() {
    let scenario = scenario_with("{name: b, amount: 1, per: day, then: refuse}", "");
    let report = all_remote(&scenario);
    assert!(report.broke > 300 && report.failed == report.broke, "{report:?}");
    assert!(report.budgets[0].most <= 1.0);
}

#[test]
fn without_another_deployment_a_spent_budget_is_the_reason() {
    let mut scenario = scenario_with("{name: b, amount: 1, per: day}", "");
    scenario.sites.remove(0);
    let report = all_remote(&scenario);
    assert!(report.broke > 300 && report.failed == report.broke);
    assert!((report.cost - 1.0).abs() < 0.02);
}

#[test]
fn requests_wait_longer_for_local_places_if_a_budget_says_hold() {
    let failed = |then: &str| {
        let mut scenario =
            scenario_with(&format!("{{name: b, amount: 0.05, per: day, {then}}}"), "");
        // One request at a time, a second each: half of them must wait for others.
        (scenario.sites[0].parallel, scenario.sites[0].concurrency.max) = (1, 1);
        scenario.sites[0].concurrency.wait = Duration::from_secs(1);
        scenario.sites[0].concurrency.queue = 1_000;
        scenario.duration = Duration::from_secs(30);
        all_remote(&scenario).failed
    };
    let (next, hold) = (failed("then: next"), failed("then: hold, hold: 100"));
    assert!(next > 10 && hold == 0, "{next} {hold}");
}

#[test]
fn each_tenant_has_a_budget_of_its_own() {
    let mut scenario = scenario_with("{name: b, amount: 1, per: day, each: tenant}", "");
    let kind = scenario.kinds[0].clone();
    let of =
        |tenant: Option<&str>| scenario::Kind { tenant: tenant.map(str::to_owned), ..kind.clone() };
    scenario.kinds = vec![of(Some("a")), of(Some("b")), of(None)];
    let report = all_remote(&scenario);
    let tenants: Vec<_> = report.budgets.iter().map(|budget| budget.tenant.as_deref()).collect();
    assert_eq!(tenants, [Some(""), Some("a"), Some("b")]);
    assert!(report.budgets.iter().all(|budget| budget.most > 0.98 && budget.most <= 1.0));
}

#[test]
fn a_gateway_has_budgets_of_its_own() {
    let scenario = scenario_with("{name: b, amount: 1, per: day}", "gateway: {gateways: 2}");
    let requests = workload::requests(&scenario).unwrap();
    let strategy = || Scripted::reading(Vec::new(), remote_first);
    let (_, done) = run_scripted(&scenario, &mut [strategy(), strategy()]);
    let mut report = Report::new(&scenario, &requests);
    report.add("remote", &scenario, &requests, &done);
    let budget = &report.strategies[0].budgets[0];
    assert_eq!(budget.amount, 2.0);
    assert!(budget.most > 1.96 && budget.most <= 2.0, "{}", budget.most);
}

#[test]
fn strategies_read_how_budgets_stand() {
    let scenario = scenario_with("{name: b, amount: 2, per: {seconds: 100}}", "");
    let names = ["budget.b.left", "budget.b.elapsed", "budget.b.pace"];
    let columns = names.map(|name| Column::by_name(name, &KnownBudgets::Any).unwrap());
    let mut told = Vec::new();
    let mut strategies = [Scripted::reading(columns.to_vec(), |question| {
        told.push(<[f64; 3]>::try_from(question.situation.signals).unwrap());
        remote_first(question)
    })];
    let (requests, _) = run_scripted(&scenario, &mut strategies);
    drop(strategies);
    assert_eq!(told.len(), requests.len());
    for (request, [left, elapsed, pace]) in requests.iter().zip(told) {
        let expected = request.at.as_secs_f64() % 100.0 / 100.0;
        assert!((elapsed - expected).abs() < 1e-6, "{elapsed} {expected}");
        assert!((0.0..=2.0).contains(&left));
        // What is under way is neither left nor spent: 100 cents at most.
        let spent = pace * elapsed * 2.0;
        assert!(spent <= 2.0 - left + 1e-6 && spent > 2.0 - left - 1.0, "{spent} {left}");
    }
}

#[test]
fn signals_of_budgets_are_unknown_without_them() {
    let scenario = scenario_with("", "");
    let column = Column::by_name("budget.b.pace", &KnownBudgets::Any).unwrap();
    let mut strategies = [Scripted::reading(vec![column], |question| {
        assert!(question.situation.signals[0].is_nan());
        RawVerdict::Route(first(question))
    })];
    run_scripted(&scenario, &mut strategies);
    assert_eq!(scenario.known_budgets().names().len(), 0);
}
