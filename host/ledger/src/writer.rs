//! The thread that writes leases ahead, so that hardly any request waits for a disk.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::account::Entry;
use crate::accounts::{Accounts, Named};
use crate::store::{Change, Loss, Name, Store};

/// Time to the next attempt after a write failed.
const AGAIN: Duration = Duration::from_secs(1);
/// How often an idle writer looks whether the file is still there.
const LOOK: Duration = Duration::from_secs(5);

/// How long a disk may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// A write that takes longer counts as failed until it ends.
    pub(crate) write: Duration,
    /// The end of the process waits so long for the last write.
    pub(crate) close: Duration,
}

impl Default for Patience {
    /// A disk that works takes milliseconds, a busy one hundreds of them.
    fn default() -> Self {
        Self { write: Duration::from_secs(2), close: Duration::from_secs(5) }
    }
}

/// Handle of the thread. [`close`](Self::close) ends the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) patience: Patience,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    accounts: Arc<Accounts>,
    orders: Mutex<Orders>,
    wake: Condvar,
    /// Told when the thread has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Orders {
    /// Accounts that want a larger lease.
    waiting: Vec<Named>,
    known: HashSet<Arc<Name>>,
    /// Accounts that are forgotten.
    forgotten: Vec<Arc<Name>>,
    /// Why the last write failed.
    failure: Option<String>,
    /// When the write under way began.
    since: Option<Instant>,
    /// The log has that the file cannot be written.
    is_told: bool,
    is_closing: bool,
    has_ended: bool,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Batch {
    waiting: Vec<Named>,
    forgotten: Vec<Arc<Name>>,
}

impl Writer {
    pub(crate) fn start(
        store: Store,
        accounts: Arc<Accounts>,
        patience: Patience,
    ) -> std::io::Result<Self> {
        let (orders, wake, ended) = Default::default();
        let desk = Arc::new(Desk { accounts, orders, wake, ended });
        let shared = Arc::clone(&desk);
        std::thread::Builder::new().name("ledger-writer".to_owned()).spawn(move || {
            let end = End(&shared);
            shared.run(&store);
            // The file is closed before the end is told.
            drop(store);
            drop(end);
        })?;
        Ok(Self { patience, desk })
    }

    /// Asks for the lease that the account wants.
    pub(crate) fn ask(&self, named: &Named) {
        let mut orders = self.desk.lock();
        if orders.known.insert(Arc::clone(&named.name)) {
            orders.waiting.push(named.clone());
            self.desk.wake.notify_one();
        }
    }

    /// Removes accounts from the file.
    pub(crate) fn forget(&self, names: Vec<Arc<Name>>) {
        if !names.is_empty() {
            self.desk.lock().forgotten.extend(names);
            self.desk.wake.notify_one();
        }
    }

    /// Why nothing can be written now. None: it can.
    pub(crate) fn failure(&self) -> Option<String> {
        let mut orders = self.desk.lock();
        let is_down = orders.is_down(self.patience.write);
        let failure = orders.failure.as_ref().filter(|_| is_down);
        failure.cloned().or_else(|| is_down.then(|| HANGS.to_owned()))
    }

    /// True if nothing can be written now: the last write failed, or takes too long.
    pub(crate) fn has_failed(&self) -> bool {
        self.desk.lock().is_down(self.patience.write)
    }

    /// Writes what the accounts have at last, and closes the file. Blocks, for a few seconds at most.
    pub(crate) fn close(&self) {
        self.desk.accounts.close();
        let mut orders = self.desk.lock();
        orders.is_closing = true;
        self.desk.wake.notify_one();
        let goes_on = |orders: &mut Orders| !orders.has_ended;
        let waited = self.desk.ended.wait_timeout_while(orders, self.patience.close, goes_on);
        let (orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !orders.has_ended {
            tracing::error!("the ledger's file hangs: what was leased counts as spent");
        }
    }
}

/// Why nothing can be written while a write takes too long.
const HANGS: &str = "a write does not end";

impl Orders {
    /// True if nothing can be written now. Tells it once: a thread that hangs cannot.
    fn is_down(&mut self, patience: Duration) -> bool {
        let hangs = self.since.is_some_and(|since| since.elapsed() > patience);
        if hangs && !self.is_told {
            self.tell(HANGS);
        }
        hangs || self.failure.is_some()
    }

    fn tell(&mut self, error: &str) {
        self.is_told = true;
        tracing::error!(%error, "the ledger cannot write what budgets have spent");
    }
}

/// Tells the end of the thread, also one by a panic.
struct End<'a>(&'a Desk);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut orders = self.0.lock();
        orders.has_ended = true;
        if !orders.is_closing {
            orders.failure = Some("its writer failed".to_owned());
        }
        self.0.ended.notify_all();
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, store: &Store) {
        while let Some(batch) = self.next() {
            if !self.lease(store, &batch) {
                self.keep(batch);
                let orders = self.lock();
                let stays = |orders: &mut Orders| !orders.is_closing;
                drop(self.wake.wait_timeout_while(orders, AGAIN, stays));
            }
        }
        let last = |named: Named| Some((named.name, named.account.last()?));
        let entries = self.accounts.all().into_iter().filter_map(last).collect();
        let forgotten = std::mem::take(&mut self.lock().forgotten);
        self.write(store, &Change { forgotten, entries });
    }

    /// Waits for what is to be written. Returns nothing to write after a while, and None at the end.
    fn next(&self) -> Option<Batch> {
        let orders = self.lock();
        let is_idle = |orders: &mut Orders| {
            orders.waiting.is_empty() && orders.forgotten.is_empty() && !orders.is_closing
        };
        let look = if orders.failure.is_some() { Duration::ZERO } else { LOOK };
        let waited = self.wake.wait_timeout_while(orders, look, is_idle);
        let (mut orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if orders.is_closing {
            return None;
        }
        orders.known.clear();
        let waiting = std::mem::take(&mut orders.waiting);
        Some(Batch { waiting, forgotten: std::mem::take(&mut orders.forgotten) })
    }

    /// Writes the leases that accounts want. Returns false if it failed.
    fn lease(&self, store: &Store, Batch { waiting, forgotten }: &Batch) -> bool {
        let entry = |named: &Named| Some((named.clone(), named.account.wanted()?));
        let wanted: Vec<(Named, Entry)> = waiting.iter().filter_map(entry).collect();
        let row = |(named, entry): &(Named, Entry)| (Arc::clone(&named.name), *entry);
        let entries = wanted.iter().map(row).collect();
        let is_written = self.write(store, &Change { forgotten: forgotten.clone(), entries });
        match is_written {
            true => wanted.iter().for_each(|(named, entry)| named.account.written(*entry)),
            // They must not wait for what does not come.
            false => waiting.iter().for_each(|named| named.account.leased.notify_waiters()),
        }
        is_written
    }

    fn write(&self, store: &Store, change: &Change) -> bool {
        let all = || {
            let entry = |named: Named| Some((named.name, named.account.entry()?));
            self.accounts.all().into_iter().filter_map(entry).collect()
        };
        self.lock().since = Some(Instant::now());
        // After a panic of the library, the file is opened again, as after an error.
        let written = catch_unwind(AssertUnwindSafe(|| store.write(change, all)));
        let error = match written {
            Ok(Ok(loss)) => {
                tell_loss(loss);
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the writer failed".to_owned()),
        };
        let mut orders = self.lock();
        orders.since = None;
        match &error {
            None if std::mem::take(&mut orders.is_told) => {
                tracing::info!("budgets are written to the ledger again");
            }
            Some(error) if !orders.is_told => orders.tell(error),
            _ => {}
        }
        orders.failure = error;
        orders.failure.is_none()
    }

    /// Keeps what could not be written for the next attempt.
    fn keep(&self, Batch { waiting, forgotten }: Batch) {
        let mut orders = self.lock();
        orders.forgotten.extend(forgotten);
        for named in waiting {
            if orders.known.insert(Arc::clone(&named.name)) {
                orders.waiting.push(named);
            }
        }
    }
}

fn tell_loss(loss: Option<Loss>) {
    let event = match loss {
        None => return,
        Some(Loss::Removed) => {
            "the ledger's file was removed: a new one has what budgets have spent"
        }
        Some(Loss::Replaced) => {
            "another ledger took the place of the file: what budgets have spent is added to it"
        }
    };
    tracing::error!("{event}");
}
