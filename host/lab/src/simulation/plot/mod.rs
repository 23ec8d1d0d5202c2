//! Plots of a report, as SVG and as an HTML page. There is no plotting library, because two shapes
//! are enough and the small libraries do not support dark mode.

mod page;
mod panel;
mod summary;
mod svg;

use super::{BudgetReport, Report, StrategyReport};
use panel::{Panel, Scale};
use svg::{Anchor, COLOURS, Svg};

pub use page::page;
pub use summary::summary;

const WIDTH: f64 = 860.0;
/// Budgets that have a panel each.
const MOST_BUDGETS: usize = 4;
/// Space left and right of the panels, in pixels.
const MARGINS: (f64, f64) = (62.0, 18.0);

/// The main plot as a file: arrivals, time to the first byte, the share of remote deployments,
/// failures and costs, over time.
#[must_use]
pub fn svg(report: &Report) -> String {
    let (svg, height) = main(report);
    svg.file(height, &report.description)
}

fn main(report: &Report) -> (Svg, f64) {
    let mut svg = Svg::new(WIDTH);
    let mut top = legend(&mut svg, report.strategies.iter().map(|s| &*s.name), "line") + 36.0;
    let most = report.arrivals.iter().copied().fold(0.0, f64::max);
    let arrivals = panel(report, top, 60.0, Scale::Linear(if most > 0.0 { most } else { 1.0 }));
    arrivals.axes(&mut svg, "Requests that arrive, a second");
    arrivals.band(
        &mut svg,
        "back",
        report.step,
        &vec![0.0; report.arrivals.len()],
        &report.arrivals,
    );
    top += arrivals.height + 40.0;
    let drawn = compared(report);
    for (index, Compared { title, height, scale, lines }) in drawn.iter().enumerate() {
        let panel = panel(report, top, *height, *scale);
        panel.axes(&mut svg, title);
        for (index, line) in lines.iter().enumerate() {
            panel.series(&mut svg, &format!("line s{}", index % COLOURS), report.step, line);
        }
        if index + 1 == drawn.len() {
            panel.times(&mut svg);
        }
        top += height + 40.0;
    }
    (svg, top - 10.0)
}

/// A panel with one line for each strategy.
struct Compared {
    title: String,
    height: f64,
    scale: Scale,
    lines: Vec<Vec<Option<f64>>>,
}

/// The panels that compare strategies. Failures and costs have one if there are any.
fn compared(report: &Report) -> Vec<Compared> {
    let strategies = || report.strategies.iter();
    let first_bytes: Vec<_> = strategies().map(|s| s.series.first_byte_p99.clone()).collect();
    let watched = Watched::of(report);
    let shares = strategies().map(|strategy| watched.share(strategy)).collect();
    let mut drawn = vec![
        Compared {
            title: "Time to the first byte, p99".to_owned(),
            height: 190.0,
            scale: Scale::log(first_bytes.iter().flatten().copied().flatten()),
            lines: first_bytes,
        },
        Compared {
            title: watched.title(report),
            height: 110.0,
            scale: Scale::Percent,
            lines: shares,
        },
    ];
    let mut rates = |title: &str, lines: Vec<Vec<Option<f64>>>| {
        let most = lines.iter().flatten().copied().flatten().fold(0.0, f64::max);
        if most > 0.0 {
            let (title, scale) = (title.to_owned(), Scale::Linear(most));
            drawn.push(Compared { title, height: 70.0, scale, lines });
        }
    };
    let failed = strategies().map(|strategy| {
        #[expect(clippy::cast_precision_loss, reason = "a scenario has a million requests at most")]
        let rate = |failed: &usize| Some(*failed as f64 / report.step);
        strategy.series.failed.iter().map(rate).collect()
    });
    rates("Requests that fail, a second", failed.collect());
    let dollars = strategies().map(|strategy| {
        strategy.series.cost.iter().map(|cost| Some(cost / report.step * 3600.0)).collect()
    });
    rates("Dollars an hour", dollars.collect());
    drawn.extend(budgets(report));
    drawn
}

/// A panel for each budget: what is spent of it in the window under way. Its top is the amount.
fn budgets(report: &Report) -> Vec<Compared> {
    let first = report.strategies.first().map_or(&[][..], |strategy| &strategy.budgets);
    let panel = |(at, budget): (usize, &BudgetReport)| {
        let whose = budget.tenant.as_ref().map(|tenant| format!(" of tenant `{tenant}`"));
        let whose = whose.unwrap_or_default();
        let title = format!("Dollars spent of the {} of `{}`{whose}", budget.amount, budget.budget);
        let line = |strategy: &StrategyReport| {
            strategy.budgets[at].spent.iter().map(|spent| Some(*spent)).collect()
        };
        let lines = report.strategies.iter().map(line).collect();
        Compared { title, height: 110.0, scale: Scale::Linear(budget.amount), lines }
    };
    first.iter().take(MOST_BUDGETS).enumerate().map(panel).collect()
}

fn panel(report: &Report, top: f64, height: f64, scale: Scale) -> Panel {
    let (left, right) = MARGINS;
    Panel { left, top, width: WIDTH - left - right, height, duration: report.duration, scale }
}

/// Draws a legend of the colours. Returns its height.
fn legend<'a>(svg: &mut Svg, names: impl Iterator<Item = &'a str>, class: &str) -> f64 {
    let (mut x, mut y) = (MARGINS.0, 20.0);
    for (index, name) in names.enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a name is short")]
        let width = 40.0 + 7.0 * name.chars().count() as f64;
        if x + width > WIDTH && x > MARGINS.0 {
            (x, y) = (MARGINS.0, y + 20.0);
        }
        let class = format!("{class} s{}", index % COLOURS);
        match class.starts_with("line") {
            true => svg.line(&class, &[(x, y - 4.0), (x + 18.0, y - 4.0)]),
            false => svg.area(
                &class,
                &[(x, y - 10.0), (x + 18.0, y - 10.0), (x + 18.0, y + 1.0), (x, y + 1.0)],
            ),
        }
        svg.text((x + 24.0, y), Anchor::Start, "", name);
        x += width;
    }
    y
}

/// The deployments whose share is plotted: the remote ones, or the first if all are on one side.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Watched {
    Remote,
    First,
}

impl Watched {
    fn of(report: &Report) -> Self {
        let shares = report.strategies.first().map_or(&[][..], |strategy| &strategy.shares);
        let remote = shares.iter().filter(|share| share.side == "remote").count();
        if remote > 0 && remote < shares.len() { Self::Remote } else { Self::First }
    }

    fn title(self, report: &Report) -> String {
        let first = report.strategies.first().and_then(|strategy| strategy.shares.first());
        match (self, first) {
            (Self::First, Some(share)) => format!("Share that {} answered", share.deployment),
            _ => "Share that remote deployments answered".to_owned(),
        }
    }

    /// Their share at each point. None for a point without answers.
    fn share(self, strategy: &StrategyReport) -> Vec<Option<f64>> {
        let is_watched = |index: usize| match self {
            Self::Remote => strategy.shares[index].side == "remote",
            Self::First => index == 0,
        };
        let series = &strategy.series.shares;
        let sum = |point: usize| {
            let shares = series.iter().enumerate().filter_map(|(i, s)| Some((i, s[point]?)));
            let (watched, other): (Vec<_>, Vec<_>) = shares.partition(|(i, _)| is_watched(*i));
            let any = !(watched.is_empty() && other.is_empty());
            any.then(|| watched.into_iter().map(|(_, share)| share).sum())
        };
        (0..strategy.series.first_byte_p99.len()).map(sum).collect()
    }
}

/// The share of each deployment in the answers over time, under one strategy.
fn by_deployment(report: &Report, strategy: &StrategyReport) -> String {
    let mut svg = Svg::new(WIDTH);
    let top = legend(&mut svg, strategy.shares.iter().map(|s| &*s.deployment), "area") + 14.0;
    let panel = panel(report, top, 100.0, Scale::Percent);
    let mut below = vec![0.0; report.arrivals.len()];
    for (index, series) in strategy.series.shares.iter().enumerate() {
        let sums = below.iter().zip(series).map(|(below, share)| below + share.unwrap_or(0.0));
        let above: Vec<f64> = sums.collect();
        let class = format!("area s{}", index % COLOURS);
        panel.band(&mut svg, &class, report.step, &below, &above);
        below = above;
    }
    panel.axes(&mut svg, "");
    panel.times(&mut svg);
    svg.inner(top + 100.0 + 26.0, &format!("shares of deployments under {}", strategy.name))
}

#[cfg(test)]
mod tests;
