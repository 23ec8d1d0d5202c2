//! The results of a scenario's runs, as numbers.

use std::time::Duration;

use serde::Serialize;

use contract::{Picodollars, Side};
use ledger::Payer;

use super::money::Pot;
use super::record::{Fate, Record, Second};
use super::run::{Done, Spending};
use super::scenario::Scenario;
use super::workload::Request;

/// Number of points of a series.
pub(super) const POINTS: usize = 60;

/// The results of all strategies on one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's description of its purpose.
    pub description: String,
    /// Seed of all random numbers. The same seed gives the same report.
    pub seed: u64,
    /// Seconds in which requests arrived.
    pub duration: f64,
    /// Seconds from one point of a series to the next.
    pub step: f64,
    /// Arrivals per second at each point.
    pub arrivals: Vec<f64>,
    /// One report for each strategy, in the given order.
    pub strategies: Vec<StrategyReport>,
}

/// The results of one strategy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrategyReport {
    /// The name that its contestant has.
    pub name: String,
    /// Number of requests: the sum of `ok` and `failed`.
    pub requests: usize,
    /// Requests with a complete answer.
    pub ok: usize,
    /// Requests without one: `broken`, `too_long`, `refused`, and those that no deployment answered.
    pub failed: usize,
    /// Failed requests whose answer broke off.
    pub broken: usize,
    /// Failed requests that were too long for the chosen deployment.
    pub too_long: usize,
    /// Requests that the strategy refused.
    pub refused: usize,
    /// Failed requests for which a budget had too little left. Left out if there were none.
    #[serde(skip_serializing_if = "is_none")]
    pub broke: usize,
    /// The share of the places of local engines that were at work while requests arrived, 0 to 1. None if
    /// no deployment is local.
    pub local_busy: Option<f64>,
    /// What was spent of each budget. Left out if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetReport>,
    /// The share of each deployment in the answers.
    pub shares: Vec<DeploymentReport>,
    /// Seconds in the lines of the gateway and of engines. Counts requests in `ok` only.
    pub queued: Quantiles,
    /// Seconds from arrival to the first byte. Counts requests in `ok` only.
    pub first_byte: Quantiles,
    /// Seconds from arrival to the end. Counts requests in `ok` only.
    pub total: Quantiles,
    /// Share of the prompt tokens that engines had in their caches, 0 to 1. Counts requests in `ok`
    /// only. None if no engine has a cache.
    pub cached: Option<f64>,
    /// Total cost in US dollars.
    pub cost: f64,
    /// Second attempts beside a first one. Left out if the strategy got none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_attempts: Option<SecondAttempts>,
    /// How often the strategy failed or gave invalid weights.
    pub faults: u64,
    /// The last of these faults.
    pub last_fault: Option<String>,
    /// Results over time, by the time of arrival.
    pub series: Series,
}

/// The second attempts of one strategy's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SecondAttempts {
    /// Those that were made.
    pub made: usize,
    /// Those that began their answer before the first attempt did.
    pub won: usize,
    /// Those that the budget did not allow.
    pub denied: u64,
}

/// What was spent of one budget, by all gateways together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetReport {
    /// Name of the budget.
    pub budget: String,
    /// The tenant whose own it is. Left out if it is nobody's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Dollars that all gateways together may spend in each window.
    pub amount: f64,
    /// The most dollars that were spent in one window.
    pub most: f64,
    /// Dollars spent in the window under way, at the end of each step.
    pub spent: Vec<f64>,
}

/// The results of one deployment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeploymentReport {
    /// Name of the deployment.
    pub deployment: String,
    /// `local` or `remote`.
    pub side: &'static str,
    /// Requests that it answered, at least in part.
    pub requests: usize,
    /// Their share of all answered requests, 0 to 1.
    pub share: f64,
    /// How often it was ejected, by all gateways together.
    pub ejections: u64,
    /// Attempts that it refused because it was full. Left out if there were none.
    #[serde(skip_serializing_if = "is_zero")]
    pub refusals: u64,
    /// Attempts that got no first byte in time, while others were answered. Left out if there were
    /// none.
    #[serde(skip_serializing_if = "is_zero")]
    pub stalls: u64,
}

/// Quantiles by the nearest rank. 0 if there are no values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half of the values are at most this.
    pub p50: f64,
    /// 90 % of the values are at most this.
    pub p90: f64,
    /// 99 % of the values are at most this.
    pub p99: f64,
}

/// Results over time, one value for each step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// 99th percentile of seconds to the first byte. None for a step without answers.
    pub first_byte_p99: Vec<Option<f64>>,
    /// For each deployment, its share of the answers. None for a step without answers.
    pub shares: Vec<Vec<Option<f64>>>,
    /// Number of failed requests.
    pub failed: Vec<usize>,
    /// Cost in US dollars.
    pub cost: Vec<f64>,
}

impl Report {
    pub(super) fn new(scenario: &Scenario, requests: &[Request]) -> Self {
        let duration = scenario.duration.as_secs_f64();
        let step = duration / count(POINTS);
        let mut arrivals = vec![0.0; POINTS];
        for request in requests {
            arrivals[point(request.at, step)] += 1.0 / step;
        }
        let (description, seed) = (scenario.description.clone(), scenario.seed);
        Self { description, seed, duration, step, arrivals, strategies: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        name: &str,
        scenario: &Scenario,
        requests: &[Request],
        done: &Done,
    ) {
        let records = &done.records;
        let fates = |fate| records.iter().filter(|record| record.fate == fate).count();
        let ok = fates(Fate::Ok);
        let of = |value: fn(&Record) -> Duration| {
            let answered = records.iter().filter(|record| record.fate == Fate::Ok);
            quantiles(answered.map(|record| value(record).as_secs_f64()).collect())
        };
        let by_step: Vec<(usize, &Record)> = requests
            .iter()
            .zip(records)
            .map(|(r, record)| (point(r.at, self.step), record))
            .collect();
        self.strategies.push(StrategyReport {
            name: name.to_owned(),
            requests: records.len(),
            ok,
            failed: records.len() - ok,
            broken: fates(Fate::Broken),
            too_long: fates(Fate::Refused),
            refused: fates(Fate::Denied),
            broke: fates(Fate::Broke),
            local_busy: local_busy(scenario, &done.busy),
            budgets: budgets(scenario, &done.spending),
            shares: shares(scenario, done),
            queued: of(|record| record.queued),
            first_byte: of(|record| record.first_byte.unwrap_or(record.total)),
            total: of(|record| record.total),
            cached: cached(scenario, requests, records),
            // An empty sum of floats is -0.0, which would be printed with its sign.
            cost: records.iter().map(|record| record.cost).sum::<f64>() + 0.0,
            second_attempts: second_attempts(done),
            faults: done.faults,
            last_fault: done.last_fault.clone(),
            series: series(&by_step, scenario.sites.len()),
        });
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

fn local_busy(scenario: &Scenario, busy: &[Duration]) -> Option<f64> {
    let local =
        || scenario.sites.iter().zip(busy).filter(|(site, _)| site.place.side == Side::Local);
    let places: usize = local().map(|(site, _)| site.parallel).sum();
    let worked: Duration = local().map(|(_, busy)| *busy).sum();
    let whole = count(places) * scenario.duration.as_secs_f64();
    (places > 0).then(|| worked.as_secs_f64() / whole)
}

fn budgets(scenario: &Scenario, spending: &[Spending]) -> Vec<BudgetReport> {
    let dollars = |amount: &Picodollars| amount.as_dollars();
    let report = |(pot, spending): (Pot<'_>, &Spending)| BudgetReport {
        budget: pot.budget.name.clone(),
        tenant: match pot.payer {
            Payer::Tenant(tenant) => Some(tenant.unwrap_or_default().to_owned()),
            Payer::Anybody => None,
        },
        amount: dollars(&pot.budget.amount) * f64::from(scenario.gateways),
        most: dollars(&spending.most),
        spent: spending.steps.iter().map(dollars).collect(),
    };
    Pot::all(scenario).into_iter().zip(spending).map(report).collect()
}

fn second_attempts(done: &Done) -> Option<SecondAttempts> {
    let seconds = done.records.iter().filter_map(|record| record.second);
    let (made, denied) = (seconds.clone().count(), done.denied);
    let won = seconds.filter(|second| *second == Second::Won).count();
    (made > 0 || denied > 0).then_some(SecondAttempts { made, won, denied })
}

fn point(at: Duration, step: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 0, and a cast saturates"
    )]
    let point = (at.as_secs_f64() / step) as usize;
    point.min(POINTS - 1)
}

fn shares(scenario: &Scenario, done: &Done) -> Vec<DeploymentReport> {
    let by = |site: usize| done.records.iter().filter(|record| record.site == Some(site)).count();
    let answered = done.records.iter().filter(|record| record.site.is_some()).count();
    let share = |(index, site): (usize, &super::scenario::Site)| DeploymentReport {
        deployment: site.place.name.clone(),
        side: match site.place.side {
            Side::Local => "local",
            Side::Remote => "remote",
        },
        requests: by(index),
        share: count(by(index)) / count(answered.max(1)),
        ejections: done.counts[index].ejections,
        refusals: done.counts[index].refusals,
        stalls: done.counts[index].stalls,
    };
    scenario.sites.iter().enumerate().map(share).collect()
}

fn cached(scenario: &Scenario, requests: &[Request], records: &[Record]) -> Option<f64> {
    let answered = || requests.iter().zip(records).filter(|(_, record)| record.fate == Fate::Ok);
    let prompts: u64 = answered().map(|(request, _)| u64::from(request.prompt)).sum();
    let cached: u64 = answered().map(|(_, record)| u64::from(record.cached)).sum();
    let has_cache = scenario.sites.iter().any(|site| site.cache > 0);
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^52 tokens")]
    has_cache.then(|| cached as f64 / prompts.max(1) as f64)
}

fn series(records: &[(usize, &Record)], sites: usize) -> Series {
    let mut first_bytes = vec![Vec::new(); POINTS];
    let (mut answered, mut failed) = (vec![vec![0; POINTS]; sites], vec![0; POINTS]);
    let mut cost = vec![0.0; POINTS];
    for (point, record) in records {
        failed[*point] += usize::from(record.fate != Fate::Ok);
        cost[*point] += record.cost;
        if let Some(first_byte) = record.first_byte.filter(|_| record.fate == Fate::Ok) {
            first_bytes[*point].push(first_byte.as_secs_f64());
        }
        if let Some(site) = record.site {
            answered[site][*point] += 1;
        }
    }
    let sums: Vec<usize> =
        (0..POINTS).map(|point| answered.iter().map(|site| site[point]).sum()).collect();
    let share =
        |(count_of, sum): (&usize, &usize)| (*sum > 0).then(|| count(*count_of) / count(*sum));
    let p99 = |values: Vec<f64>| (!values.is_empty()).then(|| quantiles(values).p99);
    Series {
        first_byte_p99: first_bytes.into_iter().map(p99).collect(),
        shares: answered.iter().map(|site| site.iter().zip(&sums).map(share).collect()).collect(),
        failed,
        cost,
    }
}

fn quantiles(mut values: Vec<f64>) -> Quantiles {
    values.sort_unstable_by(f64::total_cmp);
    let rank = |percent: usize| {
        let rank = (values.len() * percent).div_ceil(100).saturating_sub(1);
        values.get(rank).copied().unwrap_or(0.0)
    };
    Quantiles { p50: rank(50), p90: rank(90), p99: rank(99) }
}

#[expect(clippy::cast_precision_loss, reason = "a scenario has a million requests at most")]
fn count(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        assert_eq!(quantiles(Vec::new()), Quantiles::default());
        assert_eq!(quantiles(vec![3.0]), Quantiles { p50: 3.0, p90: 3.0, p99: 3.0 });
        let values = (1..=200).rev().map(f64::from).collect();
        assert_eq!(quantiles(values), Quantiles { p50: 100.0, p90: 180.0, p99: 198.0 });
    }
}
