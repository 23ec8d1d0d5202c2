//! The tables of the history in the ledger's file.

use std::collections::BTreeSet;
use std::sync::Arc;

use contract::Side;
use jiff::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use crate::store::Store;

use super::buckets::{Changes, Key, Place, Span, Start};
use super::tally::Tally;

/// By 0 for an hour and 1 for a day, the start of the bucket, the model, the deployment, the side, and the
/// tenant, which is empty for requests without one: the numbers of a [`Tally`].
const COSTS: TableDefinition<'_, RowKey<'_>, &[u8]> = TableDefinition::new("costs");
type RowKey<'a> = (u8, i64, &'a str, &'a str, &'a str, &'a str);
/// By `since`: when the history began, in seconds since 1970.
const BEGINNING: TableDefinition<'_, &str, i64> = TableDefinition::new("costs_beginning");
const SINCE: &str = "since";

/// A tally, and the bucket and the key that it is kept under.
pub(super) type Row = (Span, Start, Key, Tally);

/// The place of the history in the ledger's file, and what is kept there.
pub struct HistoryFile {
    pub(super) store: Store,
    pub(super) kept: Vec<Row>,
    /// When the history began. None: it begins now.
    pub(super) since: Option<Timestamp>,
}

impl std::fmt::Debug for HistoryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HistoryFile").field("rows", &self.kept.len()).finish_non_exhaustive()
    }
}

impl HistoryFile {
    /// Reads what is kept.
    pub(crate) fn read(store: Store) -> Result<Self, redb::Error> {
        let (kept, since) = store.with(|database, _| read(database))?;
        Ok(Self { store, kept, since })
    }
}

fn read(database: &Database) -> Result<(Vec<Row>, Option<Timestamp>), redb::Error> {
    let transaction = database.begin_read()?;
    let since = match transaction.open_table(BEGINNING) {
        Ok(table) => table.get(SINCE)?.map(|since| since.value()),
        Err(TableError::TableDoesNotExist(_)) => return Ok((Vec::new(), None)),
        Err(error) => return Err(error.into()),
    };
    let since = since.and_then(|since| Timestamp::from_second(since).ok());
    let (mut kept, mut names) = (Vec::new(), Names::default());
    for row in transaction.open_table(COSTS)?.iter()? {
        let (key, tally) = row?;
        let (span, start, model, deployment, side, tenant) = key.value();
        let span = if span == code(Span::Hour) { Span::Hour } else { Span::Day };
        let side = if side == Side::Local.as_str() { Side::Local } else { Side::Remote };
        let [model, deployment] = [model, deployment].map(|name| names.shared(name));
        let tenant = (!tenant.is_empty()).then(|| names.shared(tenant));
        let place = Arc::new(Place { model, deployment, side });
        kept.push((span, start, Key { place, tenant }, Tally::from_bytes(tally.value())));
    }
    Ok((kept, since))
}

/// Names that many rows have, each in memory once.
#[derive(Debug, Default)]
struct Names(BTreeSet<Arc<str>>);

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

fn code(span: Span) -> u8 {
    match span {
        Span::Hour => 0,
        Span::Day => 1,
    }
}

/// Writes what changed. It is on the disk when this returns.
pub(super) fn write(
    database: &Database,
    changes: &Changes,
    since: Timestamp,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(BEGINNING)?.insert(SINCE, since.as_second())?;
    {
        let mut table = transaction.open_table(COSTS)?;
        for (span, starts) in &changes.removed {
            let bound = |start| (code(*span), start, "", "", "", "");
            table.retain_in(bound(starts.start)..bound(starts.end), |_, _| false)?;
        }
        for (span, start, Key { place, tenant }, tally) in &changes.rows {
            let Place { model, deployment, side } = &**place;
            let tenant = tenant.as_deref().unwrap_or_default();
            let key = (code(*span), *start, &**model, &**deployment, side.as_str(), tenant);
            table.insert(key, &*tally.to_bytes())?;
        }
    }
    Ok(transaction.commit()?)
}
