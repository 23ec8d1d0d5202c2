//! The accounts of all budgets, by name. An account that nobody needs any more is forgotten. So a tenant
//! who comes once takes memory and disk only for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::account::{Account, Entry};
use crate::store::Name;

/// Accounts of tenants that are kept at one time. A request of one more counts for the account of
/// those without a name, so that made-up names take no memory and spend no more.
const TENANTS: usize = 100_000;
/// Accounts that are looked at for each new one. More than one, so that there are ever fewer.
const LOOKS: usize = 4;
/// How long the window of an account is over before it is forgotten, by a clock that nobody sets. The
/// machine's clock may be wrong for a while, and must not bring money back.
const GRACE: Duration = Duration::from_secs(3_600);

/// An account with its name.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) name: Arc<Name>,
    pub(crate) account: Arc<Account>,
}

/// All accounts.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_name: HashMap<Arc<Name>, Arc<Account>>,
    /// All of them, in the order in which they are looked at.
    round: VecDeque<Seen>,
    closed: bool,
}

/// An account as it was when it was last looked at.
#[derive(Debug)]
struct Seen {
    name: Arc<Name>,
    /// Since when its window is over, and which one. None: it was not.
    over: Option<(Instant, i64)>,
}

impl Accounts {
    pub(crate) fn of(kept: Vec<(Name, Entry)>) -> Self {
        let accounts = Self::default();
        let mut known = accounts.lock();
        for (name, entry) in kept {
            known.insert(Arc::new(name), Arc::new(Account::kept(entry)));
        }
        drop(known);
        accounts
    }

    /// The account of this name, and names of other accounts that are forgotten now.
    pub(crate) fn get(&self, name: Name) -> (Named, Vec<Arc<Name>>) {
        self.get_at(name, Instant::now(), Timestamp::now())
    }

    fn get_at(&self, name: Name, now: Instant, clock: Timestamp) -> (Named, Vec<Arc<Name>>) {
        let mut known = self.lock();
        if let Some(named) = known.find(&name) {
            return (named, Vec::new());
        }
        let forgotten = known.forget(now, clock);
        let name = match known.by_name.len() < TENANTS {
            true => name,
            false => Name { tenant: String::new(), ..name },
        };
        let named = match known.find(&name) {
            Some(named) => named,
            None => known.insert(Arc::new(name), Arc::default()),
        };
        (named, forgotten)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Named> {
        let known = self.lock();
        let named = |(name, account): (&Arc<Name>, &Arc<Account>)| Named {
            name: Arc::clone(name),
            account: Arc::clone(account),
        };
        known.by_name.iter().map(named).collect()
    }

    /// Ends all reservations to come.
    pub(crate) fn close(&self) {
        let mut known = self.lock();
        known.closed = true;
        known.by_name.values().for_each(|account| account.close());
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn find(&self, name: &Name) -> Option<Named> {
        let (name, account) = self.by_name.get_key_value(name)?;
        Some(Named { name: Arc::clone(name), account: Arc::clone(account) })
    }

    fn insert(&mut self, name: Arc<Name>, account: Arc<Account>) -> Named {
        if self.closed {
            account.close();
        }
        self.by_name.insert(Arc::clone(&name), Arc::clone(&account));
        self.round.push_back(Seen { name: Arc::clone(&name), over: None });
        Named { name, account }
    }

    /// Looks at the next few accounts, and removes those that nobody needs. Returns their names.
    fn forget(&mut self, now: Instant, clock: Timestamp) -> Vec<Arc<Name>> {
        let mut forgotten = Vec::new();
        for _ in 0..LOOKS.min(self.round.len()) {
            let Some(Seen { name, over: before }) = self.round.pop_front() else { break };
            let account = self.by_name.get(&name);
            // Nobody else has it, and nobody can get it while all are locked.
            let alone = account.filter(|account| Arc::strong_count(account) == 1);
            let over = alone.and_then(|account| account.over(clock)).map(|window| match before {
                Some((since, same)) if same == window => (since, window),
                _ => (now, window),
            });
            if over.is_some_and(|(since, _)| now.saturating_duration_since(since) >= GRACE) {
                self.by_name.remove(&name);
                forgotten.push(name);
            } else {
                self.round.push_back(Seen { name, over });
            }
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use contract::Picodollars;

    use super::*;

    fn name(tenant: &str) -> Name {
        Name { budget: "each".to_owned(), tenant: tenant.to_owned() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn kept(tenant: &str, end: i64) -> (Name, Entry) {
        (name(tenant), Entry { start: end - 60, end, lease: Picodollars::new(1) })
    }

    fn tenants(accounts: &Accounts) -> Vec<String> {
        let mut names: Vec<_> =
            accounts.all().iter().map(|named| named.name.tenant.clone()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_account_is_forgotten_once_its_window_was_over_long_enough() {
        let accounts = Accounts::of(vec![kept("old", 100), kept("now", 1_000_000)]);
        let start = Instant::now();
        let held = accounts.get_at(name("held"), start, at(500)).0;
        let get = |tenant, after: Duration| {
            let (_, forgotten) = accounts.get_at(name(tenant), start + after, at(500));
            forgotten.iter().map(|name| name.tenant.clone()).collect::<Vec<_>>()
        };
        assert_eq!(get("a", GRACE - Duration::from_secs(1)), [""; 0], "it may come back");
        assert_eq!(get("old", GRACE), [""; 0], "one that is known looks at none");
        assert_eq!(get("b", GRACE), ["old"]);
        // `a` was never used, and is over since it was first looked at.
        assert_eq!(tenants(&accounts), ["a", "b", "held", "now"]);
        assert_eq!(get("c", GRACE * 2 - Duration::from_secs(1)), [""; 0]);
        assert_eq!(get("d", GRACE * 2), ["a"]);
        assert_eq!(get("e", GRACE * 9), ["b"], "not the one that a request holds");
        drop(held);
        for (at, tenant) in ["f", "g", "h", "i"].into_iter().enumerate() {
            get(tenant, GRACE * (10 + 2 * at as u32));
        }
        assert!(!tenants(&accounts).contains(&"held".to_owned()));
        assert!(tenants(&accounts).contains(&"now".to_owned()));
    }

    #[test]
    fn a_window_in_between_begins_the_wait_anew() {
        let accounts = Accounts::default();
        let start = Instant::now();
        let look = |tenant, after| accounts.get_at(name(tenant), start + after, at(500));
        let mut known = accounts.lock();
        let account =
            Arc::new(Account::kept(Entry { start: 0, end: 60, lease: Picodollars::new(1) }));
        known.insert(Arc::new(name("x")), account);
        drop(known);
        look("a", Duration::ZERO);
        let mut known = accounts.lock();
        let later = Entry { start: 60, end: 120, lease: Picodollars::new(1) };
        *known.by_name.get_mut(&name("x")).unwrap() = Arc::new(Account::kept(later));
        drop(known);
        assert!(look("b", GRACE).1.is_empty());
        let forgotten = look("c", GRACE * 2).1;
        assert!(forgotten.contains(&Arc::new(name("x"))), "{forgotten:?}");
    }

    #[test]
    fn made_up_names_share_the_account_of_nobody_until_others_are_forgotten() {
        let accounts = Accounts::default();
        let start = Instant::now();
        let get = |at_tenant: usize, after| {
            accounts.get_at(name(&at_tenant.to_string()), start + after, at(500)).0
        };
        let first: Vec<_> = (0..TENANTS).map(|at| get(at, Duration::ZERO)).collect();
        assert_eq!(get(TENANTS, Duration::ZERO).name.tenant, "");
        assert_eq!(accounts.all().len(), TENANTS + 1, "and that one");
        drop(first);
        // Each looks at four: once at all to see them over, and once to forget them.
        for at in 0..TENANTS / 2 {
            get(TENANTS + at, GRACE * (1 + at as u32 / (TENANTS as u32 / 4)));
        }
        assert!(accounts.all().len() < TENANTS / 2 + 2, "{}", accounts.all().len());
    }
}
