//! Money: what budgets allow, what is reserved for requests under way, and what was spent, over
//! reloads, restarts and crashes.
//!
//! ```text
//! Ledger (one for the process) -> Books (budgets of one configuration) -> Purse (of one request)
//!        |                                                                  | reserves, settles
//!        +- accounts: spent, reserved, leased                               v
//!        +- writer -> store: leases on disk, ahead of what is spent      Reservation
//!
//! History (one for the process): what all attempts took and cost, with or without budgets
//! ```

mod account;
mod accounts;
mod books;
mod clock;
mod history;
mod purse;
mod rule;
mod standing;
mod store;
#[cfg(test)]
mod tests;
mod window;
mod writer;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use accounts::{Accounts, Named};
use store::{Name, Store};
use writer::{Patience, Writer};

pub use books::Books;
pub use clock::Clock;
pub use history::{
    BadQuery, By, Charge, History, HistoryFile, Meter, Place, Report, RowName, Since, Spending,
    Sums, Tally, Tenants, TokenKind, Watched,
};
pub use purse::{Purse, Refused, Reservation, Stake};
pub use standing::{Payer, Standing};
pub use store::OpenError;
pub use window::Window;

/// The accounts of all budgets of this process, and the file that they are kept in. Budgets come and
/// go with configurations; an account stays, under the name of its budget.
#[derive(Debug)]
pub struct Ledger {
    accounts: Arc<Accounts>,
    /// None: nothing is kept over a restart.
    writer: Option<Writer>,
    /// The part of the file that the history is kept in, until it is taken.
    history: Mutex<Option<HistoryFile>>,
    /// Why there is no file although there should be one.
    lost: Option<String>,
    /// Configurations so far.
    ages: AtomicU64,
}

impl Ledger {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// See [`OpenError`]. The file stays as it is.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let (store, kept) = Store::open(path)?;
        let history = HistoryFile::read(store.clone())
            .map_err(|error| OpenError::Damaged(path.into(), error.to_string()))?;
        let accounts = Arc::new(Accounts::of(kept));
        let writer = Writer::start(store, Arc::clone(&accounts), Patience::default());
        let writer = writer.map_err(|error| OpenError::Io(path.into(), error.to_string()))?;
        let (writer, history) = (Some(writer), Mutex::new(Some(history)));
        Ok(Self { accounts, writer, history, ..Self::in_memory() })
    }

    /// A ledger that keeps nothing over a restart.
    #[must_use]
    pub fn in_memory() -> Self {
        let (accounts, writer, history, lost, ages) = Default::default();
        Self { accounts, writer, history, lost, ages }
    }

    /// A ledger that keeps nothing over a restart, because its file cannot be used.
    #[must_use]
    pub fn without_file(error: &OpenError) -> Self {
        Self { lost: Some(error.to_string()), ..Self::in_memory() }
    }

    /// Why the file cannot be written now. None: it can.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.writer.as_ref().and_then(Writer::failure).or_else(|| self.lost.clone())
    }

    /// The part of the file that the history is kept in. None: there is no file, or it was taken. The
    /// file is closed when both parts are.
    pub fn take_history(&self) -> Option<HistoryFile> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Writes what is spent, and closes the file. Blocks, for a few seconds at most. What is reserved
    /// counts as spent after the next start. Nothing is reserved any more.
    pub fn close(&self) {
        drop(self.take_history());
        if let Some(writer) = &self.writer {
            writer.close();
        }
    }

    /// The account of a budget, and of a tenant if each has one (else the empty name).
    fn account(&self, budget: &str, tenant: &str) -> Named {
        let name = Name { budget: budget.to_owned(), tenant: tenant.to_owned() };
        let (named, forgotten) = self.accounts.get(name);
        if let Some(writer) = &self.writer {
            writer.forget(forgotten);
        }
        named
    }
}
