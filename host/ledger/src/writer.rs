//! The thread that writes leases ahead, so that hardly any request waits for a disk.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::account::{Account, Entry};
use crate::store::{Name, Store};

/// Time to the next attempt after a write failed.
const AGAIN: Duration = Duration::from_secs(1);

/// An account with its name.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) name: Arc<Name>,
    pub(crate) account: Arc<Account>,
}

/// Handle of the thread. Its last clone need not be dropped: [`close`](Self::close) ends the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Desk {
    orders: Mutex<Orders>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Orders {
    /// Accounts that want a larger lease.
    waiting: Vec<Named>,
    known: HashSet<Arc<Name>>,
    /// Why the last write failed.
    failure: Option<String>,
    closing: Option<Vec<Named>>,
}

impl Writer {
    pub(crate) fn start(mut store: Store) -> std::io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let shared = Arc::clone(&desk);
        let thread = std::thread::Builder::new()
            .name("ledger-writer".to_owned())
            .spawn(move || shared.run(&mut store))?;
        Ok(Self { desk, thread: Mutex::new(Some(thread)) })
    }

    /// Asks for the lease that the account wants.
    pub(crate) fn ask(&self, named: &Named) {
        let mut orders = self.desk.lock();
        if orders.known.insert(Arc::clone(&named.name)) {
            orders.waiting.push(named.clone());
            self.desk.wake.notify_one();
        }
    }

    /// Why the last write failed. None: it did not.
    pub(crate) fn failure(&self) -> Option<String> {
        self.desk.lock().failure.clone()
    }

    /// True if the last write failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.desk.lock().failure.is_some()
    }

    /// Writes what these accounts have at last, and closes the file. Blocks.
    pub(crate) fn close(&self, accounts: Vec<Named>) {
        self.desk.lock().closing = Some(accounts);
        self.desk.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It fails only if the thread has panicked, which is logged.
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, store: &mut Store) {
        loop {
            let mut orders = self.lock();
            while orders.waiting.is_empty() && orders.closing.is_none() {
                orders = self.wake.wait(orders).unwrap_or_else(PoisonError::into_inner);
            }
            if let Some(accounts) = orders.closing.take() {
                drop(orders);
                let last = |named: &Named| Some((Arc::clone(&named.name), named.account.last()?));
                self.write(store, &accounts.iter().filter_map(last).collect::<Vec<_>>());
                return;
            }
            let waiting = std::mem::take(&mut orders.waiting);
            orders.known.clear();
            drop(orders);
            if !self.lease(store, &waiting) {
                self.keep(waiting);
                let orders = self.lock();
                let closes = |orders: &mut Orders| orders.closing.is_none();
                drop(self.wake.wait_timeout_while(orders, AGAIN, closes));
            }
        }
    }

    /// Writes the leases that accounts want. Returns false if it failed.
    fn lease(&self, store: &mut Store, waiting: &[Named]) -> bool {
        let entry = |named: &Named| Some((named.clone(), named.account.wanted()?));
        let wanted: Vec<(Named, Entry)> = waiting.iter().filter_map(entry).collect();
        let row = |(named, entry): &(Named, Entry)| (Arc::clone(&named.name), *entry);
        let is_written = self.write(store, &wanted.iter().map(row).collect::<Vec<_>>());
        match is_written {
            true => wanted.iter().for_each(|(named, entry)| named.account.written(*entry)),
            // They must not wait for what does not come.
            false => waiting.iter().for_each(|named| named.account.leased.notify_waiters()),
        }
        is_written
    }

    fn write(&self, store: &mut Store, rows: &[(Arc<Name>, Entry)]) -> bool {
        // An empty write says whether the file can be written again.
        let is_failing = self.lock().failure.is_some();
        if rows.is_empty() && !is_failing {
            return true;
        }
        let written = store.write(rows);
        let mut orders = self.lock();
        match written {
            Ok(()) => {
                if orders.failure.take().is_some() {
                    tracing::info!("budgets are written to the ledger again");
                }
                true
            }
            Err(error) => {
                let error = error.to_string();
                if orders.failure.replace(error.clone()).is_none() {
                    tracing::error!(%error, "the ledger cannot write what budgets have spent");
                }
                false
            }
        }
    }

    /// Keeps accounts in line for the next attempt.
    fn keep(&self, waiting: Vec<Named>) {
        let mut orders = self.lock();
        for named in waiting {
            if orders.known.insert(Arc::clone(&named.name)) {
                orders.waiting.push(named);
            }
        }
    }
}
