//! A plot with a row for each strategy. It can compare many strategies, because no lines cross.

use crate::simulation::{Report, StrategyReport, table};

use super::WIDTH;
use super::panel::Scale;
use super::svg::{Anchor, Point, Svg};

/// Height of a row in pixels.
const ROW: f64 = 22.0;
/// Left and right end of the costs, and where the failures end.
const COSTS: (f64, f64) = (640.0, 740.0);
const FAILURES: f64 = WIDTH - 18.0;

/// The plot as a file: first bytes from p50 to p99, costs and failures of each strategy.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut svg = Svg::new(WIDTH);
    let names = report.strategies.iter().map(|strategy| strategy.name.chars().count());
    #[expect(clippy::cast_precision_loss, reason = "a name is short")]
    let left = (30.0 + 7.0 * names.max().unwrap_or(0) as f64).min(360.0);
    let times = report.strategies.iter().flat_map(|s| [s.first_byte.p50, s.first_byte.p99]);
    let scale = Scale::log(times);
    let across = |value: f64| left + (COSTS.0 - 30.0 - left) * scale.share(value).clamp(0.0, 1.0);
    let (top, mut bottom) = (46.0, 46.0);
    let rows: Vec<(f64, &StrategyReport)> = report
        .strategies
        .iter()
        .map(|strategy| {
            bottom += ROW;
            (bottom - ROW / 2.0, strategy)
        })
        .collect();
    svg.text((left, 20.0), Anchor::Start, "title", "Time to the first byte, p50 to p99");
    for (value, label) in scale.ticks() {
        let x = across(value);
        svg.line("grid", &[(x, top), (x, bottom)]);
        svg.text((x, top - 8.0), Anchor::Middle, "faint", &label);
    }
    let most = report.strategies.iter().map(|strategy| strategy.cost).fold(0.0, f64::max);
    if most > 0.0 {
        svg.text((COSTS.0, 20.0), Anchor::Start, "title", "Cost");
    }
    let any_failed = report.strategies.iter().any(|strategy| strategy.failed > 0);
    if any_failed {
        svg.text((FAILURES, 20.0), Anchor::End, "title", "Failed");
    }
    for (y, strategy) in rows {
        svg.text((18.0, y + 4.0), Anchor::Start, "", &strategy.name);
        range(&mut svg, y, [strategy.first_byte.p50, strategy.first_byte.p99].map(across));
        if most > 0.0 {
            let end = COSTS.0 + (COSTS.1 - COSTS.0) * strategy.cost / most;
            svg.area("area s1", &bar((COSTS.0, y - 5.0), (end, y + 5.0)));
            svg.text((end + 6.0, y + 4.0), Anchor::Start, "faint", &table::dollars(strategy.cost));
        }
        if any_failed {
            svg.text((FAILURES, y + 4.0), Anchor::End, "faint", &strategy.failed.to_string());
        }
    }
    svg.file(bottom + 14.0, &report.description)
}

/// A line with a mark at each end.
fn range(svg: &mut Svg, y: f64, [from, to]: [f64; 2]) {
    svg.line("line s0", &[(from, y), (to, y)]);
    for x in [from, to] {
        svg.line("line s0", &[(x, y - 5.0), (x, y + 5.0)]);
    }
}

fn bar((left, top): Point, (right, bottom): Point) -> [Point; 4] {
    [(left, top), (right, top), (right, bottom), (left, bottom)]
}
