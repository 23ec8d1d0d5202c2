//! The file that the leases of accounts and the history of costs are kept in.
//!
//! It is a redb database: it stays whole through a crash at any moment, tells a damaged file from a
//! good one, and is one library in Rust without others. A commit is on the disk when it returns.

use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Opens the database, or makes it.
pub(crate) type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// The file. Clones share it. A write that hangs lets the others wait.
#[derive(Clone)]
pub(crate) struct Store(Arc<Mutex<File>>);

/// The file, and what is known of it.
struct File {
    /// None after a write failed: redb takes no other one until it is opened again.
    database: Option<Database>,
    open: Opener,
    /// None: it is no file.
    path: Option<PathBuf>,
    /// Which file was opened last.
    identity: Option<Identity>,
    /// What happened to the file, until it is told.
    loss: Option<Loss>,
    /// It may lack entries of accounts that were written: it was opened again since.
    lacks_accounts: bool,
    /// It may lack other rows that were written: it was lost since.
    lacks_rows: bool,
}

/// Device and number of a file.
type Identity = (u64, u64);

/// What is written at a time.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Accounts that are removed, before others are written.
    pub(crate) forgotten: Vec<Arc<Name>>,
    pub(crate) entries: Vec<(Arc<Name>, Entry)>,
}

/// What happened to the file since it was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// There was none, and a new one is made.
    Removed,
    /// There was another one, which is used from now on.
    Replaced,
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
        let file = path.to_owned();
        let open: Opener = Box::new(move || {
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder).map_err(StorageError::Io)?;
            }
            // Without the check, redb may panic at a page that something else has changed.
            Database::builder().set_check_integrity_on_open(true).create(&file)
        });
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
        Ok((Self::with_database(database, open, Some(path.into())), accounts))
    }

    /// A new database that is no file of its own.
    #[cfg(test)]
    pub(crate) fn of(open: Opener) -> Result<Self, redb::Error> {
        let database = open()?;
        begin(&database)?;
        Ok(Self::with_database(database, open, None))
    }

    fn with_database(database: Database, open: Opener, path: Option<PathBuf>) -> Self {
        let identity = path.as_deref().and_then(|path| identity(path).ok());
        let (loss, lacks_accounts, lacks_rows) = Default::default();
        let database = Some(database);
        let file = File { database, open, path, identity, loss, lacks_accounts, lacks_rows };
        Self(Arc::new(Mutex::new(file)))
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a change. It is on the disk when this returns. After an error, or if the file is not the
    /// one that was opened, opens it again, and writes `all` entries before: the file may be an earlier
    /// one, or new. Returns what happened to the file since the last change.
    pub(crate) fn write(
        &self,
        change: &Change,
        all: impl FnOnce() -> Vec<(Arc<Name>, Entry)>,
    ) -> Result<Option<Loss>, redb::Error> {
        let mut file = self.lock();
        let database = file.current()?;
        if change.is_empty() && !file.lacks_accounts {
            file.database = Some(database);
            return Ok(file.loss.take());
        }
        let first = if file.lacks_accounts { all() } else { Vec::new() };
        let (database, ()) = guarded(database, |database| write(database, change, first))?;
        file.database = Some(database);
        file.lacks_accounts = false;
        Ok(file.loss.take())
    }

    /// Reads or writes other tables of the file. `act` is told whether the file may lack rows of theirs
    /// that were written: it may be an earlier one, or new.
    pub(crate) fn with<T>(
        &self,
        act: impl FnOnce(&Database, bool) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let mut file = self.lock();
        let database = file.current()?;
        let lacks_rows = file.lacks_rows;
        let (database, done) = guarded(database, |database| act(database, lacks_rows))?;
        file.database = Some(database);
        file.lacks_rows = false;
        Ok(done)
    }
}

impl File {
    /// Takes the database of the file that the path leads to now. After an error, or if the file is not
    /// the one that was opened, opens it again.
    fn current(&mut self) -> Result<Database, redb::Error> {
        let is_there = self.is_there();
        if let Some(database) = self.database.take().filter(|_| is_there) {
            return Ok(database);
        }
        let opened = catch_unwind(AssertUnwindSafe(|| (self.open)()));
        let database = opened.map_err(|_| panicked())??;
        let (database, format) = guarded(database, format)?;
        let loss = match format {
            None => Some(Loss::Removed),
            Some(format) if format > FORMAT => {
                return Err(redb::Error::Corrupted("it is of a newer gateway".to_owned()));
            }
            Some(_) if is_there => None,
            Some(_) => Some(Loss::Replaced),
        };
        self.lacks_accounts = true;
        self.lacks_rows |= loss.is_some();
        self.loss = loss.or(self.loss);
        self.identity = self.path.as_deref().and_then(|path| identity(path).ok());
        Ok(database)
    }

    /// Whether the path leads to the file that was opened. Nothing written to another file is found
    /// at the next start.
    fn is_there(&self) -> bool {
        let (Some(path), Some(opened)) = (&self.path, self.identity) else { return true };
        match identity(path) {
            Ok(found) => found == opened,
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }
}

impl Change {
    fn is_empty(&self) -> bool {
        self.forgotten.is_empty() && self.entries.is_empty()
    }
}

fn identity(path: &Path) -> std::io::Result<Identity> {
    let file = std::fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
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

/// Reads or writes, also if redb panics: its destructor would panic in turn, and end the process. Then
/// the database stays open, and locked, until the end of the process.
fn guarded<T>(
    database: Database,
    act: impl FnOnce(&Database) -> Result<T, redb::Error>,
) -> Result<(Database, T), redb::Error> {
    let database = ManuallyDrop::new(database);
    match catch_unwind(AssertUnwindSafe(|| act(&database))) {
        Ok(done) => {
            let database = ManuallyDrop::into_inner(database);
            done.map(|done| (database, done))
        }
        Err(_) => Err(panicked()),
    }
}

fn panicked() -> redb::Error {
    redb::Error::Corrupted("redb panicked: restart the gateway".to_owned())
}

/// Writes `first`, then a change.
fn write(
    database: &Database,
    change: &Change,
    first: Vec<(Arc<Name>, Entry)>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(ACCOUNTS)?;
        for name in &change.forgotten {
            table.remove((&*name.budget, &*name.tenant))?;
        }
        for (name, Entry { start, end, lease }) in first.iter().chain(&change.entries) {
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
#[path = "store_tests.rs"]
mod tests;
