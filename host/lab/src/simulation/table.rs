//! A report as a text table, with its numbers formatted for people.

use super::{Quantiles, Report, StrategyReport};

/// The table: two lines of headings, then a line for each strategy.
#[must_use]
pub fn table(report: &Report) -> String {
    let rows = rows(report);
    let columns = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cell = |(column, cell): (usize, &String)| match column {
            0 => format!("{cell:<width$}", width = widths[0]),
            _ => format!("  {cell:>width$}", width = widths[column]),
        };
        let line: String = row.iter().enumerate().map(cell).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The cells: two rows of headings, then a row for each strategy.
#[must_use]
pub fn rows(report: &Report) -> Vec<Vec<String>> {
    let names = report.strategies.first().map_or(&[][..], |strategy| &strategy.shares);
    let mut above = vec!["", "", ""];
    let mut below = vec!["strategy", "requests", "failed"];
    for share in names {
        above.push("");
        below.push(&share.deployment);
    }
    for heading in ["queued", "first byte", "total"] {
        above.extend([heading, ""]);
        below.extend(["p50", "p99"]);
    }
    let cached = report.strategies.iter().any(|strategy| strategy.cached.is_some());
    if cached {
        above.push("");
        below.push("cached");
    }
    let counts = Counted::ALL.map(|counted| report.strategies.iter().any(|s| counted.of(s) > 0));
    for (counted, _) in Counted::ALL.into_iter().zip(counts).filter(|(_, is_shown)| *is_shown) {
        above.push("");
        below.push(counted.heading());
    }
    let budgets = report.strategies.iter().any(|strategy| !strategy.budgets.is_empty());
    if budgets {
        above.extend(["", "places", "of the"]);
        below.extend(["no money", "at work", "cap"]);
    }
    above.push("");
    below.push("cost");
    let faults = report.strategies.iter().any(|strategy| strategy.faults > 0);
    if faults {
        above.push("");
        below.push("faults");
    }
    let headings = [above, below].map(|row| row.into_iter().map(str::to_owned).collect());
    let row = |strategy| row(strategy, counts, [cached, budgets, faults]);
    headings.into_iter().chain(report.strategies.iter().map(row)).collect()
}

/// Counts that are shown if a strategy has any.
#[derive(Debug, Clone, Copy)]
enum Counted {
    Refused,
    Stalled,
    Hedged,
}

impl Counted {
    const ALL: [Self; 3] = [Self::Refused, Self::Stalled, Self::Hedged];

    fn heading(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Stalled => "stalled",
            Self::Hedged => "hedged",
        }
    }

    fn of(self, strategy: &StrategyReport) -> u64 {
        let sites = strategy.shares.iter();
        match self {
            Self::Refused => sites.map(|site| site.refusals).sum(),
            Self::Stalled => sites.map(|site| site.stalls).sum(),
            Self::Hedged => strategy.second_attempts.map_or(0, |second| second.made as u64),
        }
    }
}

fn row(
    strategy: &StrategyReport,
    counts: [bool; 3],
    [cached, budgets, faults]: [bool; 3],
) -> Vec<String> {
    let StrategyReport { name, requests, failed, .. } = strategy;
    let mut row = vec![name.clone(), requests.to_string(), failed.to_string()];
    row.extend(strategy.shares.iter().map(|share| percent(share.share)));
    for Quantiles { p50, p99, .. } in [strategy.queued, strategy.first_byte, strategy.total] {
        row.extend([time(p50), time(p99)]);
    }
    if cached {
        row.push(percent(strategy.cached.unwrap_or(0.0)));
    }
    for (counted, _) in Counted::ALL.into_iter().zip(counts).filter(|(_, is_shown)| *is_shown) {
        row.push(counted.of(strategy).to_string());
    }
    if budgets {
        let local = strategy.local_busy.map_or_else(|| "-".to_owned(), percent);
        row.extend([strategy.broke.to_string(), local, percent(most_spent(strategy))]);
    }
    row.push(dollars(strategy.cost));
    if faults {
        row.push(strategy.faults.to_string());
    }
    row
}

/// The largest share of any budget that was spent in one window.
fn most_spent(strategy: &StrategyReport) -> f64 {
    let shares = strategy.budgets.iter().map(|budget| budget.most / budget.amount);
    shares.fold(0.0, f64::max)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Formats dollars for people: `$0.52`.
#[must_use]
pub fn dollars(dollars: f64) -> String {
    format!("${dollars:.2}")
}

/// Formats seconds for people: `12 ms`, `1.0 s`, `123 s`.
#[must_use]
pub fn time(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 99.95 => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_exact_as_they_are_read() {
        let shown = [0.0, 0.0123, 0.9994, 1.0, 12.34, 123.4].map(time);
        assert_eq!(shown, ["0", "12 ms", "999 ms", "1.0 s", "12.3 s", "123 s"]);
    }
}
