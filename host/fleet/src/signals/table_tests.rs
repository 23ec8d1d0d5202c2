#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// Hashes as the host's: well mixed, each from a number.
pub(in crate::signals) fn hash(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The blocks of a prompt of its own.
fn prompt(number: u64, blocks: u64) -> Vec<u64> {
    (0..blocks).map(|block| hash(number << 20 | block)).collect()
}

fn blocks(table: &Table, hashes: &[u64], now: u64) -> usize {
    table.known(hashes, false, now).blocks
}

#[test]
fn the_longest_beginning_is_found() {
    let table = Table::new(4096);
    for length in [1, 2, 3, 7, 8, 63, 64] {
        let all = prompt(length, 64);
        table.note(&all[..usize::try_from(length).unwrap()], false, 9);
        let known = table.known(&all, false, 10);
        assert_eq!(known, Known { blocks: usize::try_from(length).unwrap(), used: 9 });
        assert_eq!(table.known(&all, true, 10), Known::default(), "nothing is proven");
    }
    assert_eq!(table.known(&prompt(99, 64), false, 10), Known::default());
    assert_eq!(table.known(&[], false, 10), Known::default());
}

#[test]
fn what_is_proven_stays_proven_until_it_is_forgotten() {
    let (table, all) = (Table::new(512), prompt(1, 10));
    table.note(&all[..6], true, 1);
    table.note(&all, false, 5);
    assert_eq!(table.known(&all, true, 6), Known { blocks: 6, used: 5 });
    table.take_back(&all);
    assert_eq!(blocks(&table, &all, 6), 6, "what is proven is not taken back");
    table.forget_until(5);
    assert_eq!(blocks(&table, &all, 6), 0);
    table.note(&all, false, 7);
    assert_eq!((blocks(&table, &all, 7), table.known(&all, true, 7).blocks), (10, 0));
}

#[test]
fn the_least_recently_used_is_forgotten_first() {
    let table = Table::new(4096);
    for number in 0..200 {
        table.note(&prompt(number, 64), false, number + 1);
    }
    let known = |number| blocks(&table, &prompt(number, 64), 201);
    let newest: usize = (160..200).map(known).sum();
    assert!(newest >= 40 * 64 * 97 / 100, "{newest} blocks of the newest, of {}", 40 * 64);
    let oldest: usize = (0..100).map(known).sum();
    assert!(oldest < 100 * 64 / 100, "{oldest} blocks of the oldest, of {}", 100 * 64);
    assert!(table.sets.len() * WAYS <= 4096);
}

#[test]
fn a_prompt_that_does_not_fit_keeps_its_beginning() {
    let (table, all) = (Table::new(128), prompt(1, 1024));
    table.note(&all, false, 1);
    assert!((56..=64).contains(&blocks(&table, &all, 1)), "{}", blocks(&table, &all, 1));
}

#[test]
fn another_size_keeps_what_fits() {
    let (small, all) = (Table::new(256), prompt(1, 64));
    small.note(&all, true, 3);
    small.note(&prompt(2, 8), true, 1);
    small.forget_until(1);
    let large = Table::new(1000);
    large.copy(&small, 4);
    assert_eq!(large.known(&all, true, 4), Known { blocks: 64, used: 3 });
    assert_eq!(blocks(&large, &prompt(2, 8), 4), 0, "what was forgotten stays so");
}

#[test]
fn a_lookup_of_64_blocks_reads_few_entries() {
    let table = Table::new(4096);
    for length in 0..=64usize {
        let all = prompt(length as u64, 64);
        table.note(&all[..length], false, 1);
        PROBES.set(0);
        assert_eq!(blocks(&table, &all, 2), length);
        assert!(PROBES.get() <= 16, "{} for {length}", PROBES.get());
    }
}

#[test]
fn a_core_with_an_older_clock_reads_what_is_new() {
    let (table, all) = (Table::new(512), prompt(1, 10));
    table.note(&all, true, 9);
    assert_eq!(table.known(&all, true, 3), Known { blocks: 10, used: 3 });
    table.note(&all, false, 3);
    assert_eq!(table.known(&all, true, 10).blocks, 10);
    assert_eq!(table.known(&all, true, 1 + (1 << 23)).blocks, 10, "also when ticks wrap");
}

#[test]
fn cores_that_write_at_once_lose_little() {
    let table = Table::new(4096);
    std::thread::scope(|scope| {
        for core in 0..4 {
            let table = &table;
            scope.spawn(move || {
                for round in 0..200 {
                    // Half of the prompts are those of all cores.
                    let number =
                        if round % 2 == 0 { round % 8 } else { 100 + core * 4 + round % 4 };
                    table.note(&prompt(number, 32), round % 3 == 0, round + 1);
                    assert!(blocks(table, &prompt(number, 32), round + 1) <= 32);
                    assert_eq!(blocks(table, &prompt(999, 32), round + 1), 0);
                }
            });
        }
    });
    let known: usize =
        (0..8).step_by(2).map(|number| blocks(&table, &prompt(number, 32), 201)).sum();
    assert!(known >= 4 * 32 * 95 / 100, "{known} of {}", 4 * 32);
}

/// `cargo test --release -p fleet -- --ignored --nocapture lookups` prints the time of one row of
/// eight deployments.
#[test]
#[ignore = "measures"]
#[expect(clippy::print_stdout, reason = "the measured time")]
fn time_of_lookups_at_eight_deployments() {
    let tables: Vec<Table> = (0..8).map(|_| Table::new(4096)).collect();
    let prompts: Vec<Vec<u64>> = (0..60).map(|number| prompt(number, 64)).collect();
    for (at, table) in tables.iter().enumerate() {
        for (number, all) in prompts.iter().enumerate() {
            table.note(&all[..(at * 9 + number) % 65], false, 1);
        }
    }
    let (rounds, began, mut found) = (20_000, Instant::now(), 0);
    for round in 0..rounds {
        let all = &prompts[round % prompts.len()];
        found += tables.iter().map(|table| blocks(table, all, 2)).sum::<usize>();
    }
    let each = began.elapsed() / u32::try_from(rounds).unwrap();
    println!("{each:?} for 8 deployments and 64 blocks ({found} found)");
}

proptest! {
    /// Against a set of all that was noted: a table forgets, and never invents.
    #[test]
    fn it_never_claims_what_was_not_sent(
        steps in prop::collection::vec((0..6u64, 0..40usize, any::<bool>()), 1..60),
        size in 1..600usize,
    ) {
        let table = Table::new(size);
        let mut sent = [0usize; 6];
        for (now, (number, length, proven)) in (1u64..).zip(steps) {
            let all = prompt(number, 40);
            table.note(&all[..length], proven, now);
            let most = &mut sent[usize::try_from(number).unwrap()];
            *most = length.max(*most);
            prop_assert!(blocks(&table, &all, now) <= *most);
            prop_assert!(table.known(&all, true, now).blocks <= *most);
        }
    }
}
