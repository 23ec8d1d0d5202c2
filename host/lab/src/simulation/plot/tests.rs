//! Plots of a report with difficult values.

use crate::simulation::{BudgetReport, DeploymentReport, Quantiles, Series};

use super::*;

fn report() -> Report {
    let share = |deployment: &str, side| DeploymentReport {
        deployment: deployment.into(),
        side,
        requests: 1,
        share: 0.5,
        ejections: 0,
        refusals: 0,
        stalls: 0,
    };
    let strategy = |name: &str| StrategyReport {
        name: name.into(),
        requests: 3,
        ok: 2,
        failed: 1,
        broken: 0,
        too_long: 0,
        refused: 0,
        broke: 1,
        local_busy: Some(0.5),
        budgets: vec![BudgetReport {
            budget: "b".into(),
            tenant: Some("<b>".into()),
            amount: 2.0,
            most: 1.5,
            spent: vec![0.0, 1.5, 0.5],
        }],
        shares: vec![share("a", "local"), share("b", "remote")],
        queued: Quantiles::default(),
        first_byte: Quantiles { p50: 0.1, p90: 10.0, p99: 20.0 },
        total: Quantiles { p50: 1.0, p90: 20.0, p99: 30.0 },
        cached: None,
        cost: 1.5,
        second_attempts: None,
        faults: 2,
        last_fault: Some("<trap>".into()),
        series: Series {
            first_byte_p99: vec![Some(0.1), None, Some(20.0)],
            shares: vec![vec![Some(1.0), None, Some(0.0)], vec![Some(0.0), None, Some(1.0)]],
            failed: vec![0, 1, 0],
            cost: vec![0.5, 1.0, 0.0],
        },
    };
    Report {
        description: "one & <other>".into(),
        seed: 1,
        duration: 30.0,
        step: 10.0,
        arrivals: vec![0.1; 3],
        strategies: vec![strategy("plain"), strategy("x={a: \"<b>\"}")],
    }
}

#[test]
fn names_from_outside_are_text() {
    for text in [svg(&report()), page(&report()), summary(&report())] {
        assert!(!text.contains("<other>") && !text.contains("<b>") && !text.contains("<trap>"));
        assert!(text.contains("x={a: &quot;&lt;b&gt;&quot;}"));
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}

#[test]
fn what_nothing_came_to_can_be_drawn() {
    let mut report = report();
    report.arrivals = vec![0.0; 3];
    for strategy in &mut report.strategies {
        strategy.series.first_byte_p99 = vec![None; 3];
        strategy.series.shares = vec![vec![None; 3]; 2];
        (strategy.first_byte, strategy.cost) = (Quantiles::default(), 0.0);
    }
    for text in [svg(&report), page(&report), summary(&report)] {
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}

#[test]
fn the_share_that_tells_most_is_shown() {
    let mut report = report();
    let shares = |report: &Report| Watched::of(report).share(&report.strategies[0]);
    assert_eq!(shares(&report), [Some(0.0), None, Some(1.0)]);
    assert!(svg(&report).contains("Share that remote deployments answered"));
    for strategy in &mut report.strategies {
        strategy.shares[1].side = "local";
    }
    assert_eq!(shares(&report), [Some(1.0), None, Some(0.0)]);
    assert!(svg(&report).contains("Share that a answered"));
}

#[test]
fn failures_and_costs_are_shown_if_there_are_any() {
    let mut report = report();
    let drawn = compared(&report);
    let titles: Vec<_> = drawn[2..].iter().map(|drawn| &*drawn.title).collect();
    assert_eq!(
        titles,
        [
            "Requests that fail, a second",
            "Dollars an hour",
            "Dollars spent of the 2 of `b` of tenant `<b>`"
        ]
    );
    assert_eq!(drawn[2].lines[0], [Some(0.0), Some(0.1), Some(0.0)]);
    assert_eq!(drawn[3].lines[1], [Some(180.0), Some(360.0), Some(0.0)]);
    let text = summary(&report);
    assert!(text.contains("Cost<") && text.contains("$1.50<") && text.contains("Failed<"));
    for strategy in &mut report.strategies {
        strategy.budgets.clear();
        (strategy.failed, strategy.cost) = (0, 0.0);
        (strategy.series.failed, strategy.series.cost) = (vec![0; 3], vec![0.0; 3]);
    }
    assert_eq!(compared(&report).len(), 2);
    let text = summary(&report);
    assert!(!text.contains("Cost<") && !text.contains("Failed<"));
}
