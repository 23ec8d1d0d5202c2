#![allow(clippy::unwrap_used)]

use super::*;

fn name(budget: &str, tenant: &str) -> Name {
    Name { budget: budget.to_owned(), tenant: tenant.to_owned() }
}

fn write(store: &Store, change: Change) {
    assert_eq!(store.write(&change, Vec::new).unwrap(), None);
}

fn one(name: Name, lease: u64) -> Vec<(Arc<Name>, Entry)> {
    vec![(Arc::new(name), Entry { start: 0, end: 60, lease: Picodollars::new(lease) })]
}

fn leases(path: &Path) -> Vec<(String, u64)> {
    let (_, accounts) = Store::open(path).unwrap();
    accounts.into_iter().map(|(name, entry)| (name.budget, entry.lease.get())).collect()
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/ledger.redb");
    let entry = |start, lease| Entry { start, end: start + 60, lease: Picodollars::new(lease) };
    {
        let (store, accounts) = Store::open(&path).unwrap();
        assert_eq!(accounts, []);
        let (day, acme) = (Arc::new(name("day", "")), Arc::new(name("each", "acme")));
        let gone = Arc::new(name("each", "gone"));
        let entries = vec![
            (Arc::clone(&day), entry(5, 7)),
            (acme, entry(-1, u64::MAX)),
            (Arc::clone(&gone), entry(1, 1)),
        ];
        write(&store, Change { entries, ..Change::default() });
        write(&store, Change { forgotten: vec![gone], entries: vec![(day, entry(6, 8))] });
        assert!(matches!(Store::open(&path), Err(OpenError::Locked(_))));
    }
    let (_, accounts) = Store::open(&path).unwrap();
    let expected = [(name("day", ""), entry(6, 8)), (name("each", "acme"), entry(-1, u64::MAX))];
    assert_eq!(accounts, expected);
}

#[test]
fn a_file_that_is_none_of_ours_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    for bytes in [&b"not a database"[..], &[0; 8192], &b"redb\x1a\x0a\xa9\x0d\x0a"[..]] {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Store::open(&path), Err(OpenError::Damaged(..))), "{bytes:?}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_file_of_a_newer_gateway_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    {
        let (store, _) = Store::open(&path).unwrap();
        let transaction = store.lock().database.as_ref().unwrap().begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", FORMAT + 1).unwrap();
        transaction.commit().unwrap();
    }
    assert!(matches!(Store::open(&path), Err(OpenError::Newer(_, 2))));
}

#[test]
fn a_folder_in_its_place_is_told() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open(folder.path()), Err(OpenError::Io(..))));
}

#[test]
fn a_file_that_is_lost_gets_all_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub/ledger.redb");
    let (store, _) = Store::open(&path).unwrap();
    let known = || one(name("known", ""), 7);
    let write = |store: &Store, entries| {
        store.write(&Change { entries, ..Change::default() }, known).unwrap()
    };
    assert_eq!(write(&store, one(name("first", ""), 1)), None);
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert_eq!(write(&store, Vec::new()), Some(Loss::Removed), "without anything to write");
    assert_eq!(write(&store, one(name("second", ""), 2)), None);
    drop(store);
    assert_eq!(leases(&path), [("known".to_owned(), 7), ("second".to_owned(), 2)]);
}

#[test]
fn a_file_in_its_place_gets_all_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let [path, other] = ["ledger.redb", "other.redb"].map(|name| folder.path().join(name));
    let (copy, _) = Store::open(&other).unwrap();
    write(&copy, Change { entries: one(name("known", ""), 3), ..Change::default() });
    drop(copy);
    let (store, _) = Store::open(&path).unwrap();
    std::fs::rename(&other, &path).unwrap();
    let known = || one(name("known", ""), 7);
    assert_eq!(store.write(&Change::default(), known).unwrap(), Some(Loss::Replaced));
    drop(store);
    assert_eq!(leases(&path), [("known".to_owned(), 7)]);
}

#[test]
fn a_file_of_a_newer_gateway_in_its_place_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let [path, other] = ["ledger.redb", "other.redb"].map(|name| folder.path().join(name));
    let newer = || {
        let (store, _) = Store::open(&other).unwrap();
        let transaction = store.lock().database.as_ref().unwrap().begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", FORMAT + 1).unwrap();
        transaction.commit().unwrap();
    };
    newer();
    let (store, _) = Store::open(&path).unwrap();
    std::fs::rename(&other, &path).unwrap();
    for _ in 0..2 {
        assert!(store.write(&Change::default(), || one(name("known", ""), 7)).is_err());
    }
    assert!(matches!(Store::open(&path), Err(OpenError::Newer(_, 2))));
}

#[test]
fn a_file_that_something_else_changed_is_refused_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    {
        let (store, _) = Store::open(&path).unwrap();
        let accounts = (0..500).flat_map(|at| one(name("each", &at.to_string()), at));
        write(&store, Change { entries: accounts.collect(), ..Change::default() });
    }
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 64 + 1) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        match Store::open(&path) {
            // A byte that nothing uses.
            Ok((_, accounts)) => assert_eq!(accounts.len(), 500, "byte {at}"),
            Err(OpenError::Damaged(..) | OpenError::Newer(..)) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > 0, "some bytes matter");
    for end in [whole.len() / 2, whole.len() - 1, 512, 1] {
        std::fs::write(&path, &whole[..end]).unwrap();
        assert!(matches!(Store::open(&path), Err(OpenError::Damaged(..))), "cut at {end}");
    }
}

#[test]
fn a_file_that_may_not_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    drop(Store::open(&path).unwrap());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    // The superuser may write it all the same.
    let may = std::fs::OpenOptions::new().write(true).open(&path).is_ok();
    assert_eq!(matches!(Store::open(&path), Err(OpenError::Io(..))), !may);
}

#[test]
fn other_rows_are_asked_for_again_after_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let (store, _) = Store::open(&path).unwrap();
    let lacks = |store: &Store| store.with(|_, lacks_rows| Ok(lacks_rows)).unwrap();
    assert!(!lacks(&store));
    std::fs::remove_file(&path).unwrap();
    let failed = || redb::Error::Corrupted(String::new());
    assert!(store.with(|_, _| Err::<(), _>(failed())).is_err());
    assert!(lacks(&store), "until they are written");
    assert!(!lacks(&store));
    let known = || one(name("known", ""), 7);
    assert_eq!(store.write(&Change::default(), known).unwrap(), Some(Loss::Removed));
    drop(store);
    assert_eq!(leases(&path), [("known".to_owned(), 7)], "accounts are written, too");
}

#[test]
fn a_panic_in_other_rows_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("ledger.redb")).unwrap();
    assert!(store.with(|_, _| -> Result<(), _> { panic!("as told") }).is_err());
    assert!(store.write(&Change::default(), Vec::new).is_err(), "the database stays locked");
}
