//! Metrics of budgets. A budget that each tenant has is left out: there may be any number of tenants.

use super::families::{Each, Family, Scrape};
use super::samples::{Kind, Samples};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "gateway_budget_dollars",
        help: "Money of a budget in its window: `amount`, `spent`, and `reserved` for requests under way.",
        kind: Kind::Gauge,
        labels: &["budget", "state"],
        each: Each::Fleet(dollars),
    },
    Family {
        name: "gateway_budget_resets_timestamp_seconds",
        help: "When the window of a budget ends, in seconds since 1970.",
        kind: Kind::Gauge,
        labels: &["budget"],
        each: Each::Fleet(|scrape, samples| {
            for standing in standings(scrape) {
                samples.add(&[&standing.name], standing.end.as_millisecond() as f64 / 1e3);
            }
        }),
    },
    Family {
        name: "gateway_budget_ahead_seconds",
        help: "How far the window of a budget lies in the future, because the clock was set back. 0: it has begun.",
        kind: Kind::Gauge,
        labels: &["budget"],
        each: Each::Fleet(|scrape, samples| {
            for standing in standings(scrape) {
                samples.add(&[&standing.name], standing.ahead.as_secs_f64());
            }
        }),
    },
    Family {
        name: "gateway_ledger_up",
        help: "1 if what budgets spend can be written to their file, 0 if it fails or hangs. Only with budgets.",
        kind: Kind::Gauge,
        labels: &[],
        each: Each::Fleet(|scrape, samples| {
            if let Some(books) = &scrape.snapshot.generation.books {
                samples.add(&[], if books.failure().is_none() { 1.0 } else { 0.0 });
            }
        }),
    },
];

fn standings(scrape: &Scrape<'_>) -> Vec<ledger::Standing> {
    scrape.snapshot.generation.books.as_ref().map_or_else(Vec::new, |books| books.standings())
}

fn dollars(scrape: &Scrape<'_>, samples: &mut Samples<'_>) {
    for standing in standings(scrape) {
        let name = &*standing.name;
        samples.amount(&[name, "amount"], standing.amount);
        samples.amount(&[name, "spent"], standing.spent);
        samples.amount(&[name, "reserved"], standing.reserved);
    }
}
