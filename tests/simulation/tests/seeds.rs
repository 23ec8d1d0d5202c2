//! Runs the seeds.
//!
//! `SEEDS=100000` runs so many, on all cores. `SEED=7` runs the seed 7 alone and prints every event.

#![expect(clippy::print_stdout, reason = "scenes and histories are read by people")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use simulation::{Counts, Run, Scene, Trace, Violation, run};

/// Seeds of a run that names none: less than a minute of one core.
const SEEDS: u64 = 4000;
/// After so many failing seeds no more are run.
const MOST: usize = 30;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn every_seed_keeps_the_rules() {
    if let Some(seed) = number("SEED") {
        return replay(seed);
    }
    let (seeds, began) = (number("SEEDS"), Instant::now());
    // Other tests run beside this one, unless more seeds are asked for.
    let threads = seeds.and_then(|_| std::thread::available_parallelism().ok());
    let threads = threads.map_or(1, std::num::NonZero::get);
    let next = AtomicU64::new(number("FIRST").unwrap_or(0));
    let failed: Mutex<Vec<(u64, Violation)>> = Mutex::default();
    let last = next.load(Ordering::Relaxed) + seeds.unwrap_or(SEEDS);
    let counts = Mutex::new(Counts::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().expect("no panic").len() < MOST {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    let Run { violation, counts: of_one, .. } = run(seed, Trace::Off);
                    *counts.lock().expect("no panic") += of_one;
                    let violation = violation.map(|violation| (seed, violation));
                    failed.lock().expect("no panic").extend(violation);
                }
            });
        }
    });
    let counts = counts.into_inner().expect("no panic");
    println!("up to seed {last} in {:?}: {counts:#?}", began.elapsed());
    let failed = failed.into_inner().expect("no panic");
    failed.iter().for_each(|(seed, violation)| println!("seed {seed}: {violation}"));
    if let Some((seed, _)) = failed.first() {
        fail(*seed);
    }
    let is_enough = seeds.is_none_or(|seeds| seeds >= SEEDS);
    assert!(!is_enough || is_all_seen(counts), "something never happened: {counts:#?}");
}

/// True if everything that is judged happened.
fn is_all_seen(counts: Counts) -> bool {
    let Counts { whole, broken, rejected, unanswered, refusals, left, extra, .. } = counts;
    let Counts { ejections, pauses, waits, measured, poisoned, .. } = counts;
    let all = [whole, broken, rejected, unanswered, refusals, left, extra];
    all.iter().chain(&[ejections, pauses, waits, measured, poisoned]).all(|count| *count > 0)
}

fn replay(seed: u64) {
    println!("{:#?}", Scene::of(seed));
    let Run { violation, counts, .. } = run(seed, Trace::Printed);
    println!("{counts:#?}");
    if let Some(violation) = violation {
        panic!("seed {seed}: {violation}");
    }
}

fn fail(seed: u64) -> ! {
    let Run { violation, trace, .. } = run(seed, Trace::OfViolation);
    println!("{:#?}\n{}", Scene::of(seed), trace.join("\n"));
    match violation {
        Some(violation) => panic!("seed {seed}: {violation}\nSEED={seed} shows every event"),
        None => panic!("seed {seed} failed, and not again: it is not deterministic"),
    }
}

#[test]
fn a_seed_is_the_same_again() {
    for seed in 0..40 {
        let (one, two) = (run(seed, Trace::All), run(seed, Trace::All));
        assert_eq!(one.trace, two.trace, "seed {seed}");
        assert_eq!(one.counts, two.counts, "seed {seed}");
    }
}
