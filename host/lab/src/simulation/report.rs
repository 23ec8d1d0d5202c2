//! What the runs of a scenario came to.

use std::time::Duration;

use serde::Serialize;

use contract::Side;

use super::record::{Fate, Record};
use super::run::Done;
use super::scenario::Scenario;
use super::workload::Request;

/// Points of a series.
const POINTS: usize = 60;

/// All strategies side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What the scenario shows.
    pub description: String,
    /// The same seed, the same report.
    pub seed: u64,
    /// Seconds in which requests arrived.
    pub duration: f64,
    /// Seconds from one point of a series to the next.
    pub step: f64,
    /// Requests a second that arrived, at each point.
    pub arrivals: Vec<f64>,
    /// In the order in which they were given.
    pub strategies: Vec<StrategyReport>,
}

/// One strategy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StrategyReport {
    /// As it was given.
    pub name: String,
    /// All that arrived: those that were answered, and those that failed.
    pub requests: usize,
    /// Requests with a whole answer.
    pub ok: usize,
    /// Requests without: those below, and those that found no deployment that answered.
    pub failed: usize,
    /// Of those that failed: the answer broke off.
    pub broken: usize,
    /// Of those that failed: too long for the deployment that was chosen.
    pub too_long: usize,
    /// Where the answers came from, by deployment.
    pub shares: Vec<DeploymentReport>,
    /// Seconds in lines, the gateway's and the engines', of requests that were answered.
    pub queued: Quantiles,
    /// Seconds from arrival to the first byte, likewise.
    pub first_byte: Quantiles,
    /// Seconds from arrival to the end, likewise.
    pub total: Quantiles,
    /// Dollars.
    pub cost: f64,
    /// How often the strategy had no good answer.
    pub faults: u64,
    /// The last time.
    pub last_fault: Option<String>,
    /// How it went over time, by the time of arrival.
    pub series: Series,
}

/// What one deployment answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeploymentReport {
    /// Its name.
    pub deployment: String,
    /// `local` or `remote`.
    pub side: &'static str,
    /// Requests that it answered, in part at least.
    pub requests: usize,
    /// Their share of all that were answered, 0 to 1.
    pub share: f64,
    /// How often it was ejected.
    pub ejections: u64,
}

/// Of some numbers: half of them are not above the first, and 99 of 100 not above the second. 0 where
/// there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
}

/// One value for each step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// Seconds to the first byte: 99 of 100 were not above it. None where nothing was answered.
    pub first_byte_p99: Vec<Option<f64>>,
    /// By deployment, its share of what was answered. None where nothing was.
    pub shares: Vec<Vec<Option<f64>>>,
    /// Requests that failed.
    pub failed: Vec<usize>,
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
            shares: shares(scenario, done),
            queued: of(|record| record.queued),
            first_byte: of(|record| record.first_byte.unwrap_or(record.total)),
            total: of(|record| record.total),
            // Sums of zeros of either sign are 0.
            cost: records.iter().map(|record| record.cost).sum::<f64>() + 0.0,
            faults: done.faults,
            last_fault: done.last_fault.clone(),
            series: series(&by_step, scenario.sites.len()),
        });
    }
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
        ejections: done.ejections[index],
    };
    scenario.sites.iter().enumerate().map(share).collect()
}

fn series(records: &[(usize, &Record)], sites: usize) -> Series {
    let mut first_bytes = vec![Vec::new(); POINTS];
    let (mut answered, mut failed) = (vec![vec![0; POINTS]; sites], vec![0; POINTS]);
    for (point, record) in records {
        failed[*point] += usize::from(record.fate != Fate::Ok);
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
    }
}

fn quantiles(mut values: Vec<f64>) -> Quantiles {
    values.sort_unstable_by(f64::total_cmp);
    let rank = |percent: usize| {
        let rank = (values.len() * percent).div_ceil(100).saturating_sub(1);
        values.get(rank).copied().unwrap_or(0.0)
    };
    Quantiles { p50: rank(50), p99: rank(99) }
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
        assert_eq!(quantiles(Vec::new()), Quantiles { p50: 0.0, p99: 0.0 });
        assert_eq!(quantiles(vec![3.0]), Quantiles { p50: 3.0, p99: 3.0 });
        let values = (1..=200).rev().map(f64::from).collect();
        assert_eq!(quantiles(values), Quantiles { p50: 100.0, p99: 198.0 });
    }
}
