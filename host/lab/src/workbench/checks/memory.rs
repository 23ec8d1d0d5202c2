//! Checks that the memory of an instance does not grow without bound.
//!
//! The same few questions are asked over and over. The memory of a strategy that remembers them
//! stops growing, that of a leak does not. Memory is measured after numbers of calls that double,
//! which also detects a leak that doubles its allocation. A strategy leaks if it grew between all
//! of the marks.

use std::time::{Duration, Instant};

use sandbox::{LoadError, Opened, Plugin};

use super::fleets::{DrawnFleet, Scope, treadmill};
use super::{CheckOptions, configured};

/// Numbers of calls after which memory is measured.
const MARKS: [usize; 4] = [1_250, 2_500, 5_000, 10_000];
/// No span is begun after this time, because a strategy may be slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the memory in words, or the violation.
pub(super) fn check(
    strategy: &Opened,
    options: &CheckOptions,
    scope: Scope<'_>,
) -> Result<String, String> {
    let fleet = treadmill(options.seed, scope);
    let mut refusal = "no parameters are known: give it `--parameters`".to_owned();
    for parameters in &options.parameters {
        match configured(strategy, parameters, &fleet) {
            Ok(plugin) => return asked(plugin, &fleet),
            Err(LoadError::Configure { message, .. }) => refusal = message,
            Err(error) => return Err(error.to_string()),
        }
    }
    // A refusal of all parameters is already reported by another check.
    Ok(format!("not tried: {refusal}"))
}

fn asked(mut plugin: Plugin, fleet: &DrawnFleet) -> Result<String, String> {
    let begun = Instant::now();
    let (mut calls, mut sizes) = (0, vec![plugin.memory().unwrap_or(0)]);
    let mut questions = fleet.questions.iter().cycle();
    for mark in MARKS {
        if begun.elapsed() > PATIENCE {
            break;
        }
        for question in questions.by_ref().take(mark - calls) {
            calls += 1;
            let said = question.put(&mut plugin, &fleet.places);
            said.map_err(|fault| format!("call {calls}: {fault}"))?;
        }
        sizes.push(plugin.memory().unwrap_or(0));
    }
    verdict(calls, &sizes)
}

/// `sizes` has the memory at first, and at each mark that was reached.
fn verdict(calls: usize, sizes: &[usize]) -> Result<String, String> {
    let shown: Vec<String> = sizes.iter().map(|size| (size >> 10).to_string()).collect();
    let (first, last) = (&shown[0], &shown[shown.len() - 1]);
    let spans = sizes.get(1..).unwrap_or_default();
    if spans.len() == MARKS.len() && spans.is_sorted_by(|a, b| a < b) {
        let marks = MARKS.map(|mark| mark.to_string()).join(", ");
        let sizes = shown[1..].join(", ");
        return Err(format!("it has {sizes} KiB after {marks} calls: it leaks"));
    }
    Ok(format!("{first} KiB, {last} KiB after {calls} calls"))
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn what_grows_in_each_span_leaks() {
        let kib = |sizes: [usize; 5]| verdict(10_000, &sizes.map(|size| size << 10));
        assert!(kib([64, 128, 128, 128, 128]).is_ok());
        assert!(kib([64, 128, 192, 192, 256]).is_ok());
        let leak = kib([64, 128, 192, 256, 384]).expect_err("it leaks");
        assert!(leak.contains("128, 192, 256, 384 KiB after 1250, 2500, 5000, 10000"), "{leak}");
        assert!(verdict(2_500, &[0, 1, 2]).is_ok(), "too slow to say");
    }
}
