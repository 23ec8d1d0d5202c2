#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use config::{
    Budget, Config, Coverage, Each, OnStoreFailure, OnceSpent, Period, Reserve, TimeZone,
};
use contract::Picodollars;
use jiff::Timestamp;
use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::account::Entry;
use crate::store::Store;
use crate::writer::{Patience, Writer};

use super::*;

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fault {
    #[default]
    None,
    Full,
    /// Writes do not end.
    Hangs,
    /// The library panics.
    Panics,
}

/// A disk with faults.
#[derive(Debug, Clone, Default)]
struct Disk {
    memory: Arc<InMemoryBackend>,
    fault: Arc<(Mutex<Fault>, Condvar)>,
}

impl Disk {
    fn set(&self, fault: Fault) {
        *self.fault.0.lock().unwrap() = fault;
        self.fault.1.notify_all();
    }

    fn check(&self) -> Result<(), std::io::Error> {
        let fault = self.fault.0.lock().unwrap();
        let fault = *self.fault.1.wait_while(fault, |fault| *fault == Fault::Hangs).unwrap();
        match fault {
            Fault::Full => Err(std::io::ErrorKind::StorageFull.into()),
            Fault::Panics => panic!("as told"),
            Fault::None | Fault::Hangs => Ok(()),
        }
    }

    fn store(&self) -> Store {
        let disk = self.clone();
        let open = move || Database::builder().create_with_backend(disk.clone());
        Store::of(Box::new(open)).unwrap()
    }

    /// A ledger on this disk.
    fn ledger(&self, patience: Patience) -> Arc<Ledger> {
        on(self.store(), patience)
    }
}

fn on(store: Store, patience: Patience) -> Arc<Ledger> {
    let accounts = Arc::default();
    let writer = Some(Writer::start(store, Arc::clone(&accounts), patience).unwrap());
    Arc::new(Ledger { accounts, writer, ..Ledger::in_memory() })
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.check()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.check()?;
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.check()?;
        self.memory.write(offset, data)
    }
}

/// A ledger on a disk, with patience for a busy machine.
fn on_disk() -> (Arc<Ledger>, Disk) {
    let disk = Disk::default();
    let long = Duration::from_secs(60);
    (disk.ledger(Patience { write: long, close: long }), disk)
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn budget(name: &str, amount: u64, change: impl FnOnce(&mut Budget)) -> Budget {
    let mut budget = Budget {
        name: name.to_owned(),
        amount: Picodollars::new(amount),
        per: Period::Seconds(31_536_000),
        time_zone: TimeZone::default(),
        of: Coverage::default(),
        each: None,
        then: OnceSpent::Next,
        reserve: Reserve::Maximum,
        warn_at: 0.8,
    };
    change(&mut budget);
    budget
}

/// Books of two deployments. The first budget covers both, the second one the second.
fn books(ledger: &Arc<Ledger>, budgets: Vec<Budget>, on_failure: OnStoreFailure) -> Arc<Books> {
    let mut deployments = vec![samples::deployment(1), samples::deployment(2)];
    (deployments[0].budgets, deployments[1].budgets) = (0b01, 0b11);
    let mut config =
        Config { models: vec![samples::model(deployments)], budgets, ..Config::default() };
    config.ledger.on_store_failure = on_failure;
    Arc::new(Books::new(Arc::clone(ledger), &config))
}

fn purse(books: &Arc<Books>, tenant: Option<&str>, most: u64) -> Purse {
    let [most, expected, prompt] = [most, most / 10, most / 10].map(Picodollars::new);
    let stake = Stake { most, prompt, expected };
    books.purse(0, tenant, |_| stake).unwrap()
}

fn pico(amount: u64) -> Picodollars {
    Picodollars::new(amount)
}

fn of_each(budget: &mut Budget) {
    budget.each = Some(Each::Tenant);
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap()
}

fn left(books: &Books) -> Vec<u64> {
    let left = |one: Standing| one.amount.saturating_sub(one.spent.saturating_add(one.reserved));
    books.standings().into_iter().map(|one| left(one).get()).collect()
}

#[test]
fn a_thousand_at_once_never_pass_the_amount() {
    let (ledger, _) = on_disk();
    let books = books(&ledger, vec![budget("b", 1_000_000, |_| {})], OnStoreFailure::Refuse);
    let paid = runtime().block_on(async {
        let mut requests = JoinSet::new();
        for at in 0..1_000_u64 {
            let purse = purse(&books, None, 5_000);
            requests.spawn(async move {
                let Ok(money) = purse.reserve(0).await else { return 0 };
                tokio::task::yield_now().await;
                // What they cost differs.
                let cost = at % 5_001;
                money.unwrap().settle(Picodollars::new(cost));
                cost
            });
        }
        requests.join_all().await.into_iter().sum::<u64>()
    });
    assert!(paid <= 1_000_000 && paid > 100_000, "{paid}");
    assert_eq!(left(&books), [1_000_000 - paid]);
    assert_eq!(ledger.failure(), None);
}

#[test]
fn money_is_reserved_in_all_budgets_or_in_none() {
    let ledger = Arc::new(Ledger::in_memory());
    let budgets = vec![budget("large", 1_000, |_| {}), budget("small", 100, |_| {})];
    let books = books(&ledger, budgets, OnStoreFailure::Refuse);
    let reserve = |at| runtime().block_on(purse(&books, None, 90).reserve(at));
    let first = reserve(1).unwrap();
    assert_eq!(left(&books), [910, 10]);
    let refused = reserve(1).unwrap_err();
    assert_eq!((&*refused.budget, refused.by_store), ("small", false));
    assert_eq!(left(&books), [910, 10]);
    let other = reserve(0).unwrap().unwrap();
    assert_eq!(left(&books), [820, 10]);
    // Dropped without a word, all of it counts as spent.
    drop(first);
    other.settle(Picodollars::ZERO);
    assert_eq!(left(&books), [910, 10]);
    let (bits, short) = purse(&books, None, 90).short();
    assert_eq!((bits, &*short.unwrap().budget), (0b10, "small"));
    assert_eq!(purse(&books, None, 10).short(), (0, None));
}

#[test]
fn what_is_expected_is_less_than_the_most() {
    let ledger = Arc::new(Ledger::in_memory());
    let expects = budget("b", 100, |budget| budget.reserve = Reserve::Expected);
    let books = books(&ledger, vec![expects], OnStoreFailure::Refuse);
    let money = purse(&books, None, 500).reserve_now(0).unwrap().unwrap();
    assert_eq!((left(&books), money.stake().most.get()), (vec![50], 500));
    // It may pass the amount, by what requests under way cost more.
    money.settle(Picodollars::new(120));
    assert_eq!(left(&books), [0]);
    assert!(purse(&books, None, 10).reserve_now(0).is_err());
}

#[test]
fn tenants_do_not_share_a_budget_of_each() {
    let ledger = Arc::new(Ledger::in_memory());
    let each = budget("each", 100, |budget| budget.each = Some(Each::Tenant));
    let only = budget("only", 50, |budget| budget.of.tenant = Some("a".to_owned()));
    let books = books(&ledger, vec![each, only], OnStoreFailure::Refuse);
    let takes = |tenant, at| {
        let money = purse(&books, tenant, 60).reserve_now(at);
        money.map(|money| money.unwrap().settle(Picodollars::new(60))).is_ok()
    };
    assert_eq!(
        [takes(Some("a"), 0), takes(Some("a"), 0), takes(Some("b"), 0)],
        [true, false, true]
    );
    // Nobody is one tenant, too.
    assert_eq!([takes(None, 0), takes(None, 0)], [true, false]);
    // The second deployment costs `a` of its own budget as well, and `c` not.
    assert_eq!([takes(Some("a"), 1), takes(Some("c"), 1)], [false, true]);
}

#[test]
fn a_disk_that_fails_refuses_or_allows_as_configured_and_recovers() {
    for fault in [Fault::Full, Fault::Panics] {
        for (on_failure, may) in [(OnStoreFailure::Refuse, false), (OnStoreFailure::Allow, true)] {
            let (ledger, disk) = on_disk();
            let books = books(&ledger, vec![budget("b", 1_000, |_| {})], on_failure);
            let runtime = runtime();
            let reserve = |most| runtime.block_on(purse(&books, None, most).reserve(0));
            reserve(10).unwrap().unwrap().settle(Picodollars::new(10));
            disk.set(fault);
            // More than the lease: the disk is needed.
            let money = reserve(500);
            assert!(ledger.failure().is_some(), "{fault:?}");
            assert_eq!(money.is_ok(), may, "{fault:?} {on_failure:?}");
            match money {
                Ok(money) => money.unwrap().settle(Picodollars::ZERO),
                Err(refused) => assert!(refused.by_store),
            }
            disk.set(Fault::None);
            // The writer tries again each second.
            eventually("it does not recover", || ledger.failure().is_none());
            reserve(600).unwrap().unwrap().settle(Picodollars::new(600));
            assert_eq!(left(&books), [390]);
        }
    }
}

#[test]
fn a_disk_that_hangs_counts_as_failed_and_delays_nobody_twice() {
    for (on_failure, may) in [(OnStoreFailure::Refuse, false), (OnStoreFailure::Allow, true)] {
        let disk = Disk::default();
        let write = Duration::from_millis(500);
        let ledger = disk.ledger(Patience { write, close: write });
        let books = books(&ledger, vec![budget("b", 1_000, |_| {})], on_failure);
        let runtime = runtime();
        let reserve = |most| runtime.block_on(purse(&books, None, most).reserve(0));
        reserve(10).unwrap().unwrap().settle(Picodollars::new(10));
        disk.set(Fault::Hangs);
        let reserved = reserve(300);
        assert_eq!(reserved.is_ok(), may, "{on_failure:?}");
        eventually("it is shown", || ledger.failure().is_some());
        let begun = Instant::now();
        let others: Vec<_> = (0..20).map(|_| reserve(20).is_ok()).collect();
        // The first of them may find room in the lease.
        assert_eq!(others.last(), Some(&may), "{on_failure:?}");
        assert!(begun.elapsed() < write * 10, "not half a second each");
        disk.set(Fault::None);
        eventually("it recovers", || ledger.failure().is_none());
        assert!(reserve(250).is_ok());
    }
}

#[test]
fn a_disk_that_hangs_does_not_hold_the_end_of_the_process() {
    let disk = Disk::default();
    let (write, close) = (Duration::from_secs(60), Duration::from_millis(50));
    let ledger = disk.ledger(Patience { write, close });
    let books = books(&ledger, vec![budget("b", 1_000, |_| {})], OnStoreFailure::Refuse);
    let runtime = runtime();
    runtime.block_on(purse(&books, None, 10).reserve(0)).unwrap().unwrap().settle(pico(10));
    disk.set(Fault::Hangs);
    assert!(purse(&books, None, 300).reserve_now(0).is_err(), "a lease is asked for");
    ledger.close();
    disk.set(Fault::None);
    // Also once the thread has written that lease.
    for _ in 0..20 {
        let refused = purse(&books, None, 1).reserve_now(0).unwrap_err();
        assert!(refused.by_store);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn nothing_is_reserved_after_the_end_and_all_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let budgets = || vec![budget("b", 1_000, |_| {}), budget("each", 50, of_each)];
    let runtime = runtime();
    {
        let ledger = Arc::new(Ledger::open(&path).unwrap());
        let books = books(&ledger, budgets(), OnStoreFailure::Allow);
        let reserve = |most| runtime.block_on(purse(&books, Some("a"), most).reserve(1));
        reserve(40).unwrap().unwrap().settle(pico(30));
        let under_way = reserve(20).unwrap().unwrap();
        ledger.close();
        under_way.settle(pico(5));
        assert!(reserve(1).unwrap_err().by_store);
        let other = runtime.block_on(purse(&books, Some("new"), 1).reserve(1));
        assert!(other.unwrap_err().by_store, "of a tenant who comes after the end, too");
    }
    let ledger = Arc::new(Ledger::open(&path).unwrap());
    let books = books(&ledger, budgets(), OnStoreFailure::Refuse);
    // What was under way counts in full.
    assert_eq!(left(&books), [950]);
    let reserve = |most| runtime.block_on(purse(&books, Some("a"), most).reserve(1)).is_ok();
    assert_eq!(
        [reserve(1), runtime.block_on(purse(&books, Some("a"), 1).reserve(0)).is_ok()],
        [false, true]
    );
}

#[test]
fn a_file_that_is_removed_comes_back_with_all_that_was_spent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let budgets = || vec![budget("b", 1_000, |_| {}), budget("each", 50, of_each)];
    let runtime = runtime();
    {
        let ledger = Arc::new(Ledger::open(&path).unwrap());
        let books = books(&ledger, budgets(), OnStoreFailure::Refuse);
        let reserve = |tenant, most| runtime.block_on(purse(&books, Some(tenant), most).reserve(1));
        reserve("a", 30).unwrap().unwrap().settle(pico(30));
        reserve("b", 40).unwrap().unwrap().settle(pico(40));
        std::fs::remove_file(&path).unwrap();
        // Larger than the lease, so that it is written at once.
        reserve("c", 50).unwrap().unwrap().settle(pico(50));
        assert_eq!(ledger.failure(), None);
        assert!(path.exists());
        // As after a crash: the last words are not written.
        std::fs::copy(&path, folder.path().join("copy")).unwrap();
    }
    let ledger = Arc::new(Ledger::open(&folder.path().join("copy")).unwrap());
    let books = books(&ledger, budgets(), OnStoreFailure::Refuse);
    assert!(left(&books)[0] <= 1_000 - 120, "{:?}", left(&books));
    let may = |tenant, most| runtime.block_on(purse(&books, Some(tenant), most).reserve(1)).is_ok();
    assert_eq!([may("a", 21), may("b", 11), may("c", 1)], [false; 3]);
}

#[test]
fn accounts_that_are_forgotten_leave_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let runtime = runtime();
    {
        let ledger = Arc::new(Ledger::open(&path).unwrap());
        let books = books(&ledger, vec![budget("each", 50, of_each)], OnStoreFailure::Refuse);
        for tenant in ["a", "b"] {
            runtime.block_on(purse(&books, Some(tenant), 30).reserve(0)).unwrap();
        }
        ledger.close();
    }
    let known = || {
        let ledger = Ledger::open(&path).unwrap();
        let mut tenants: Vec<_> =
            ledger.accounts.all().iter().map(|named| named.name.tenant.clone()).collect();
        tenants.sort();
        (ledger, tenants)
    };
    let (ledger, tenants) = known();
    assert_eq!(tenants, ["a", "b"]);
    let name = Name { budget: "each".to_owned(), tenant: "a".to_owned() };
    ledger.writer.as_ref().unwrap().forget(vec![Arc::new(name)]);
    ledger.close();
    assert_eq!(known().1, ["b"]);
}

#[test]
fn another_name_begins_anew_after_a_clock_was_wrong() {
    let later = Timestamp::now().as_second() + 1_000_000_000;
    let entry = Entry { start: later, end: later + 86_400, lease: pico(1_000) };
    let name = Name { budget: "day".to_owned(), tenant: String::new() };
    let accounts = Arc::new(Accounts::of(vec![(name, entry)]));
    let ledger = Arc::new(Ledger { accounts, ..Ledger::in_memory() });
    let of_day = |budget: &mut Budget| budget.per = Period::Day;
    let books_of = |name| books(&ledger, vec![budget(name, 1_000, of_day)], OnStoreFailure::Refuse);
    let (old, new) = (books_of("day"), books_of("day-2"));
    assert!(purse(&old, None, 1).reserve_now(0).is_err());
    let ahead = |books: &Books| books.standings()[0].ahead.as_secs();
    assert!(ahead(&old) > 900_000_000 && ahead(&new) == 0);
    assert!(purse(&new, None, 1_000).reserve_now(0).is_ok());
}

#[test]
fn a_history_that_hangs_is_told_and_not_waited_for() {
    let disk = Disk::default();
    let store = disk.store();
    let patience = Duration::from_millis(50);
    let ledger = on(store.clone(), Patience { write: patience, close: patience });
    let history = Arc::new(History::default());
    history.keep_in(HistoryFile::read(store).unwrap());
    let meter = Arc::new(Meter::default());
    let place = Place { model: "m".into(), deployment: "d".into(), side: contract::Side::Local };
    let (place, hourly) = (Arc::new(place), None);
    let watched = Watched { place, meter: Arc::clone(&meter), hourly };
    history.follow(vec![watched], &TimeZone::default());
    let (tokens, cost, saved) = ([1, 0, 1, 0], pico(1), pico(0));
    let spending = Spending::Answered;
    meter.add(None, &Charge { spending, is_estimated: false, tokens, cost, saved });
    disk.set(Fault::Hangs);
    history.start().unwrap();
    history.close();
    eventually("leases wait, and that is told", || ledger.failure().is_some());
    ledger.close();
    disk.set(Fault::None);
}
