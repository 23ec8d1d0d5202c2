//! A report as a self-contained HTML page.

use crate::simulation::{Report, table};

use super::svg::{STYLE, escape};
use super::{by_deployment, main};

const PAGE: &str = "\
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif;max-width:920px;margin:2rem auto;padding:0 1rem;\
color-scheme:light dark;background:#fff;color:#1f2328}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.5rem 0 0}svg{max-width:100%;height:auto}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;white-space:nowrap}\
td,th{padding:.25rem .45rem;text-align:right;border-bottom:1px solid #8884}td:first-child,th:first-child{text-align:left}\
th{font-weight:600}";

/// The page: the table, the main plot, and for each strategy the shares of deployments over time.
#[must_use]
pub fn page(report: &Report) -> String {
    let (plot, height) = main(report);
    let plot = plot.inner(height, &report.description);
    let table = html_table(&table::rows(report));
    let mut shares = String::new();
    for strategy in &report.strategies {
        let (name, plot) = (escape(&strategy.name), by_deployment(report, strategy));
        shares += &format!("<h2>{name}: who answered</h2>\n{plot}");
        if let Some(fault) = &strategy.last_fault {
            let (faults, fault) = (strategy.faults, escape(fault));
            shares +=
                &format!("<p>It gave no valid answer {faults} times, the last: {fault}</p>\n");
        }
    }
    let (title, seed) = (escape(&report.description), report.seed);
    format!(
        "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Strategies in the simulator</title>
<style>{PAGE}{STYLE}</style>
<h1>{title}</h1>
<p>{:.0} s of arrivals, seed {seed}. Times are of requests that were answered; queued is in the lines of the gateway and
of the engines.</p>
<div class=\"wide\">{table}</div>
{plot}{shares}</html>
",
        report.duration
    )
}

fn html_table(rows: &[Vec<String>]) -> String {
    let row = |(index, cells): (usize, &Vec<String>)| {
        let tag = if index < 2 { "th" } else { "td" };
        let cells = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    format!("<table>\n{}</table>", rows.iter().enumerate().map(row).collect::<String>())
}
