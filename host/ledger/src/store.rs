//! The file that the leases of accounts are kept in.
//!
//! It is a redb database: it stays whole through a crash at any moment, tells a damaged file from a
//! good one, and is one library in Rust without others. A commit is on the disk when it returns.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use contract::Picodollars;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
};

use crate::account::Entry;

/// By the name of the budget and the tenant: the start and the end of the window, and the lease.
const ACCOUNTS: TableDefinition<'_, (&str, &str), (i64, i64, u64)> =
    TableDefinition::new("accounts");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The version of the tables.
const FORMAT: u64 = 1;

/// An account's name: its budget, and its tenant if each has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) budget: String,
    pub(crate) tenant: String,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another gateway has {0} open: give each its own `ledger.file`")]
    Locked(PathBuf),
    /// A newer gateway wrote it.
    #[error(
        "{0} is of a newer gateway (format {1}, this one writes {FORMAT}): use that one, or another `ledger.file`"
    )]
    Newer(PathBuf, u64),
    /// Its bytes are not what a gateway wrote.
    #[error("{0} is damaged ({1}): restore it, or move it away, and what is spent counts from 0")]
    Damaged(PathBuf, String),
    /// The system refuses it.
    #[error("{0} cannot be opened: {1}")]
    Io(PathBuf, String),
}

/// Opens the database.
pub(crate) type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// The file. Clones share it.
#[derive(Clone)]
pub(crate) struct Store(Arc<Mutex<File>>);

struct File {
    /// None after a write failed: redb takes no other one until it is opened again.
    database: Option<Database>,
    open: Opener,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the file, or makes it. Returns the accounts in it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<(Name, Entry)>), OpenError> {
        let io = |error: &dyn std::fmt::Display| OpenError::Io(path.into(), error.to_string());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| io(&error))?;
        }
        let file = path.to_owned();
        let open: Opener = Box::new(move || Database::create(&file));
        let database = open().map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::Locked(path.into()),
            DatabaseError::UpgradeRequired(format) => OpenError::Newer(path.into(), format.into()),
            DatabaseError::Storage(StorageError::Io(error)) if !is_content(&error) => io(&error),
            error => OpenError::Damaged(path.into(), error.to_string()),
        })?;
        let damaged = |error: redb::Error| OpenError::Damaged(path.into(), error.to_string());
        match format(&database).map_err(damaged)? {
            Some(format) if format > FORMAT => return Err(OpenError::Newer(path.into(), format)),
            Some(_) => {}
            None => begin(&database).map_err(|error| io(&error))?,
        }
        let accounts = read(&database).map_err(damaged)?;
        Ok((Self::with_database(database, open), accounts))
    }

    /// A new database that is no file of its own.
    #[cfg(test)]
    pub(crate) fn of(open: Opener) -> Result<Self, redb::Error> {
        let database = open()?;
        begin(&database)?;
        Ok(Self::with_database(database, open))
    }

    fn with_database(database: Database, open: Opener) -> Self {
        Self(Arc::new(Mutex::new(File { database: Some(database), open })))
    }

    /// Writes entries. They are on the disk when it returns. After an error the next call opens the
    /// file again.
    pub(crate) fn write(&mut self, entries: &[(Arc<Name>, Entry)]) -> Result<(), redb::Error> {
        self.with(|database| write(database, entries))
    }

    /// Reads or writes other tables of the file, likewise.
    pub(crate) fn with<T>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match file.database.take() {
            Some(database) => database,
            None => (file.open)()?,
        };
        let done = act(&database)?;
        file.database = Some(database);
        Ok(done)
    }
}

/// The version of the tables. None: it is a new file.
fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    match transaction.open_table(META) {
        Ok(meta) => Ok(meta.get("format")?.map(|format| format.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn begin(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    transaction.open_table(ACCOUNTS)?;
    Ok(transaction.commit()?)
}

fn read(database: &Database) -> Result<Vec<(Name, Entry)>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(ACCOUNTS)?;
    let mut accounts = Vec::new();
    for row in table.iter()? {
        let (name, entry) = row?;
        let ((budget, tenant), (start, end, lease)) = (name.value(), entry.value());
        let name = Name { budget: budget.to_owned(), tenant: tenant.to_owned() };
        accounts.push((name, Entry { start, end, lease: Picodollars::new(lease) }));
    }
    Ok(accounts)
}

fn write(database: &Database, entries: &[(Arc<Name>, Entry)]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(ACCOUNTS)?;
        for (name, Entry { start, end, lease }) in entries {
            table.insert((&*name.budget, &*name.tenant), (*start, *end, lease.get()))?;
        }
    }
    // Also after the file was lost: a file without it would count as one of another gateway.
    transaction.open_table(META)?.insert("format", FORMAT)?;
    Ok(transaction.commit()?)
}

/// True if the error is about what the file contains.
fn is_content(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(error.kind(), InvalidData | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn name(budget: &str, tenant: &str) -> Name {
        Name { budget: budget.to_owned(), tenant: tenant.to_owned() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/ledger.redb");
        let entry = |start, lease| Entry { start, end: start + 60, lease: Picodollars::new(lease) };
        {
            let (mut store, accounts) = Store::open(&path).unwrap();
            assert_eq!(accounts, []);
            let (day, acme) = (Arc::new(name("day", "")), Arc::new(name("each", "acme")));
            store.write(&[(Arc::clone(&day), entry(5, 7)), (acme, entry(-1, u64::MAX))]).unwrap();
            store.write(&[(day, entry(6, 8))]).unwrap();
            assert!(matches!(Store::open(&path), Err(OpenError::Locked(_))));
        }
        let (_, accounts) = Store::open(&path).unwrap();
        let expected =
            [(name("day", ""), entry(6, 8)), (name("each", "acme"), entry(-1, u64::MAX))];
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
            let newer = |database: &Database| {
                let transaction = database.begin_write()?;
                transaction.open_table(META)?.insert("format", FORMAT + 1)?;
                Ok(transaction.commit()?)
            };
            store.with(newer).unwrap();
        }
        assert!(matches!(Store::open(&path), Err(OpenError::Newer(_, 2))));
    }

    #[test]
    fn a_folder_in_its_place_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Store::open(folder.path()), Err(OpenError::Io(..))));
    }
}
