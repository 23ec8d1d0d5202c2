//! Money: what budgets allow, what is reserved for requests under way, and what was spent, over
//! reloads, restarts and crashes.
//!
//! ```text
//! Ledger (one for the process) -> Books (budgets of one configuration) -> Purse (of one request)
//!        |                                                                  | reserves, settles
//!        +- accounts: spent, reserved, leased                               v
//!        +- writer -> store: leases on disk, ahead of what is spent      Reservation
//! ```

mod account;
mod books;
mod clock;
mod purse;
mod rule;
mod standing;
mod store;
#[cfg(test)]
mod tests;
mod window;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use account::Account;
use store::{Name, Store};
use writer::{Named, Writer};

pub use books::Books;
pub use clock::Clock;
pub use purse::{Purse, Refused, Reservation, Stake};
pub use standing::{Payer, Standing};
pub use store::OpenError;
pub use window::Window;

/// Accounts of tenants that are kept at one time. A request of one more counts for the account of
/// those without a name, so that made-up names take no memory and spend no more.
const TENANTS: usize = 100_000;

/// The accounts of all budgets of this process, and the file that they are kept in. Budgets come and
/// go with configurations; an account stays, under the name of its budget.
#[derive(Debug)]
pub struct Ledger {
    accounts: Mutex<HashMap<Arc<Name>, Arc<Account>>>,
    /// None: nothing is kept over a restart.
    writer: Option<Writer>,
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
        let account = |(name, entry)| (Arc::new(name), Arc::new(Account::kept(entry)));
        let accounts = Mutex::new(kept.into_iter().map(account).collect());
        let writer = Writer::start(store);
        let writer = writer.map_err(|error| OpenError::Io(path.into(), error.to_string()))?;
        Ok(Self { accounts, writer: Some(writer), ..Self::in_memory() })
    }

    /// A ledger that keeps nothing over a restart.
    #[must_use]
    pub fn in_memory() -> Self {
        let (accounts, writer, lost, ages) = Default::default();
        Self { accounts, writer, lost, ages }
    }

    /// A ledger that keeps nothing over a restart, because its file cannot be used.
    #[must_use]
    pub fn without_file(error: &OpenError) -> Self {
        Self { lost: Some(error.to_string()), ..Self::in_memory() }
    }

    /// Why the file could not be written at the last attempt. None: it could.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.writer.as_ref().and_then(Writer::failure).or_else(|| self.lost.clone())
    }

    /// Writes what is spent, and closes the file. Blocks. What is reserved counts as spent after the
    /// next start.
    pub fn close(&self) {
        let Some(writer) = &self.writer else { return };
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |(name, account): (&Arc<Name>, &Arc<Account>)| Named {
            name: Arc::clone(name),
            account: Arc::clone(account),
        };
        let all = accounts.iter().map(named).collect();
        drop(accounts);
        writer.close(all);
    }

    /// The account of a budget, and of a tenant if each has one (else the empty name).
    fn account(&self, budget: &str, tenant: &str) -> Named {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |tenant: &str| Name { budget: budget.to_owned(), tenant: tenant.to_owned() };
        let mut key = name(tenant);
        if accounts.len() >= TENANTS && !accounts.contains_key(&key) {
            key = name("");
        }
        if let Some((name, account)) = accounts.get_key_value(&key) {
            return Named { name: Arc::clone(name), account: Arc::clone(account) };
        }
        let named = Named { name: Arc::new(key), account: Arc::default() };
        accounts.insert(Arc::clone(&named.name), Arc::clone(&named.account));
        named
    }
}
