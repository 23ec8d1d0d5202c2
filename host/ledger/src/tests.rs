#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config::{
    Budget, Config, Coverage, Each, OnStoreFailure, OnceSpent, Period, Reserve, TimeZone,
};
use contract::Picodollars;
use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::store::Store;
use crate::writer::Writer;

use super::*;

/// A disk that can be full.
#[derive(Debug)]
struct Disk {
    memory: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn check(&self) -> Result<(), std::io::Error> {
        match self.full.load(Ordering::Relaxed) {
            true => Err(std::io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
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

/// A ledger on a disk that can be full.
fn on_disk() -> (Arc<Ledger>, Arc<AtomicBool>) {
    let full = Arc::new(AtomicBool::new(false));
    let (memory, is_full) = (Arc::new(InMemoryBackend::new()), Arc::clone(&full));
    let open = move || {
        let disk = Disk { memory: Arc::clone(&memory), full: Arc::clone(&is_full) };
        Database::builder().create_with_backend(disk)
    };
    let store = Store::of(Box::new(open)).unwrap();
    let writer = Some(Writer::start(store).unwrap());
    (Arc::new(Ledger { writer, ..Ledger::in_memory() }), full)
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
    let stake = Stake { most: Picodollars::new(most), expected: Picodollars::new(most / 10) };
    books.purse(0, tenant, |_| stake).unwrap()
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
    let (spent, broke) = purse(&books, None, 90).spent();
    assert_eq!((spent, &*broke.unwrap().budget), (0b10, "small"));
    assert_eq!(purse(&books, None, 10).spent(), (0, None));
}

#[test]
fn what_is_expected_is_less_than_the_most() {
    let ledger = Arc::new(Ledger::in_memory());
    let expects = budget("b", 100, |budget| budget.reserve = Reserve::Expected);
    let books = books(&ledger, vec![expects], OnStoreFailure::Refuse);
    let money = purse(&books, None, 500).reserve_now(0).unwrap().unwrap();
    assert_eq!((left(&books), money.most().get()), (vec![50], 500));
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
fn a_full_disk_refuses_or_allows_as_configured_and_recovers() {
    for (on_failure, may) in [(OnStoreFailure::Refuse, false), (OnStoreFailure::Allow, true)] {
        let (ledger, full) = on_disk();
        let books = books(&ledger, vec![budget("b", 1_000, |_| {})], on_failure);
        let runtime = runtime();
        let reserve = |most| runtime.block_on(purse(&books, None, most).reserve(0));
        reserve(10).unwrap().unwrap().settle(Picodollars::new(10));
        full.store(true, Ordering::Relaxed);
        // More than the lease: the disk is needed.
        let money = reserve(500);
        assert!(ledger.failure().is_some());
        assert_eq!(money.is_ok(), may, "{on_failure:?}");
        match money {
            Ok(money) => money.unwrap().settle(Picodollars::ZERO),
            Err(refused) => assert!(refused.by_store),
        }
        full.store(false, Ordering::Relaxed);
        // The writer tries again each second.
        let begun = std::time::Instant::now();
        while ledger.failure().is_some() {
            assert!(begun.elapsed() < std::time::Duration::from_secs(30), "it does not recover");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        reserve(600).unwrap().unwrap().settle(Picodollars::new(600));
        assert_eq!(left(&books), [390]);
    }
}
