//! What one request may spend.

use std::sync::Arc;
use std::time::Duration;

use config::{OnStoreFailure, OnceSpent, Reserve};
use contract::Picodollars;
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use crate::account::Answer;
use crate::accounts::Named;
use crate::books::{Books, Covered, Page};

/// When a client may ask again whose reservation does not fit beside those of others.
const SOON: Duration = Duration::from_secs(1);

/// The budgets that count for one request, and what it can cost at each deployment.
#[derive(Debug, Clone)]
pub struct Purse {
    books: Arc<Books>,
    covered: Arc<Covered>,
    lines: Vec<Arc<Line>>,
    stakes: Vec<Stake>,
}

/// What a request can cost at a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stake {
    /// The most.
    pub most: Picodollars,
    /// The most of it that its prompt alone can cost.
    pub prompt: Picodollars,
    /// What it probably costs.
    pub expected: Picodollars,
}

/// An account of one of these budgets.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) bit: u64,
    pub(crate) page: Arc<Page>,
    pub(crate) account: Named,
}

/// Why money was not reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The budget.
    pub budget: Arc<str>,
    /// When the client may ask again: the end of the budget's window, or soon where requests under
    /// way hold the rest.
    pub retry_after: Duration,
    /// True if the file of the ledger failed, rather than that the money is spent.
    pub by_store: bool,
    /// What the budget says of requests that it has too little for.
    pub then: OnceSpent,
}

/// Money that is reserved for one attempt. Dropped, all of it counts as spent.
#[derive(Debug)]
pub struct Reservation {
    books: Arc<Books>,
    /// The accounts, and how much is reserved in each.
    lines: Vec<(Arc<Line>, Picodollars)>,
    stake: Stake,
    /// What counts as spent if it is dropped: nothing until all of it is reserved.
    at_drop: Picodollars,
}

impl Purse {
    pub(crate) fn new(
        books: Arc<Books>,
        covered: Arc<Covered>,
        lines: Vec<Arc<Line>>,
        stakes: Vec<Stake>,
    ) -> Self {
        Self { books, covered, lines, stakes }
    }

    /// The budgets, as bits, that have less left than the request costs at the cheapest deployment that
    /// they cover, and the first of them. A request does not go where one of them counts.
    #[must_use]
    pub fn short(&self) -> (u64, Option<Refused>) {
        let now = self.books.now();
        let (mut short, mut first) = (0, None);
        for line in &self.lines {
            let covered = self.covered.deployments.iter().zip(&self.stakes);
            let covered = covered.filter(|(bits, _)| *bits & line.bit != 0);
            let costs = covered.map(|(_, stake)| line.amount(*stake));
            let Some(least) = costs.min() else { continue };
            let balance = line.account.account.balance(&line.page.rule, now);
            let total = balance.spent.saturating_add(balance.reserved).saturating_add(least);
            if total > line.page.rule.amount {
                short |= line.bit;
                line.page.watch(&line.account, now);
                let alone = balance.spent.saturating_add(least) > line.page.rule.amount;
                let until = alone.then_some(balance.window.end);
                first.get_or_insert_with(|| line.refused(until, now));
            }
        }
        (short, first)
    }

    /// Whether a request is refused whose budgets of these bits have too little left.
    #[must_use]
    pub fn refuses(&self, short: u64) -> bool {
        let refuses = |line: &&Arc<Line>| line.page.then == OnceSpent::Refuse;
        self.lines.iter().filter(refuses).any(|line| line.bit & short != 0)
    }

    /// The longest time that the request waits for deployments that budgets of these bits, which have
    /// too little left, do not cover. None: no budget says so.
    #[must_use]
    pub fn holds(&self, short: u64) -> Option<Duration> {
        let time = |line: &Arc<Line>| match line.page.then {
            OnceSpent::Hold(time) if line.bit & short != 0 => Some(time),
            _ => None,
        };
        self.lines.iter().filter_map(time).max()
    }

    /// The budgets that cover a deployment, as bits.
    #[must_use]
    pub fn covering(&self, deployment: usize) -> u64 {
        let own = self.lines.iter().fold(0, |bits, line| bits | line.bit);
        own & self.covered.deployments.get(deployment).copied().unwrap_or_default()
    }

    /// Reserves the most that an attempt at this deployment can cost, in all of its budgets or in none.
    /// Waits for the disk if a lease is too small. None: no budget covers the deployment.
    ///
    /// # Errors
    /// If a budget has too little left, or its file failed.
    pub async fn reserve(&self, deployment: usize) -> Result<Option<Reservation>, Refused> {
        let Some(mut reserved) = self.nothing(deployment) else { return Ok(None) };
        for (line, amount) in self.parts(deployment) {
            let made = self.reserve_in(line, amount).await;
            reserved = reserved.with(line, amount, made)?;
        }
        Ok(Some(reserved.whole()))
    }

    /// Like [`reserve`](Self::reserve), for an attempt that is made only if it can be made now: a lease
    /// that is too small refuses it.
    ///
    /// # Errors
    /// Likewise.
    pub fn reserve_now(&self, deployment: usize) -> Result<Option<Reservation>, Refused> {
        let Some(mut reserved) = self.nothing(deployment) else { return Ok(None) };
        for (line, amount) in self.parts(deployment) {
            let made = match self.ask(line, amount, self.books.is_unleased()) {
                Ok(true) => Ok(()),
                Ok(false) => Err(line.refused(None, self.books.now())),
                Err(refused) => Err(refused),
            };
            reserved = reserved.with(line, amount, made)?;
        }
        Ok(Some(reserved.whole()))
    }

    /// A reservation without any part yet. None: no budget covers the deployment.
    fn nothing(&self, deployment: usize) -> Option<Reservation> {
        let (lines, at_drop) = Default::default();
        let reserved =
            |stake| Reservation { books: Arc::clone(&self.books), lines, stake, at_drop };
        (self.covering(deployment) != 0).then(|| reserved(self.stakes[deployment]))
    }

    /// The accounts that an attempt at this deployment costs, and what it reserves in each.
    fn parts(&self, deployment: usize) -> impl Iterator<Item = (&Arc<Line>, Picodollars)> {
        let (bits, stake) = (self.covering(deployment), self.stakes[deployment]);
        let lines = self.lines.iter().filter(move |line| line.bit & bits != 0);
        lines.map(move |line| (line, line.amount(stake)))
    }

    async fn reserve_in(&self, line: &Line, amount: Picodollars) -> Result<(), Refused> {
        let until = Instant::now() + self.books.patience();
        loop {
            // Created before the account is asked: a lease that comes between is not missed.
            let leased = line.account.account.leased.notified();
            if self.ask(line, amount, self.books.is_unleased())? {
                return Ok(());
            }
            if timeout_at(until, leased).await.is_err() {
                // As while the file has failed.
                let is_allowed = self.books.on_failure == OnStoreFailure::Allow;
                return match is_allowed && self.ask(line, amount, true)? {
                    true => Ok(()),
                    false => Err(line.failed()),
                };
            }
        }
    }

    /// Asks one account. `unleased`: its lease does not matter. Returns false if its lease is too small:
    /// a larger one is then asked for.
    fn ask(&self, line: &Line, amount: Picodollars, unleased: bool) -> Result<bool, Refused> {
        let (account, now) = (&line.account.account, self.books.now());
        match account.reserve(&line.page.rule, amount, unleased, now) {
            Answer::Reserved { low } => {
                if low {
                    self.books.ask(&line.account);
                }
                Ok(true)
            }
            Answer::Spent { until } => Err(line.refused(Some(until), now)),
            Answer::Taken => Err(line.refused(None, now)),
            Answer::Closed => Err(line.failed()),
            Answer::Unleased => {
                self.books.ask(&line.account);
                match self.books.is_stuck() {
                    true => Err(line.failed()),
                    false => Ok(false),
                }
            }
        }
    }
}

impl Line {
    /// What is reserved of a stake.
    fn amount(&self, stake: Stake) -> Picodollars {
        match self.page.reserve {
            Reserve::Maximum => stake.most,
            Reserve::Expected => stake.expected,
        }
    }

    /// `until`: when the window ends, if what is spent leaves too little.
    fn refused(&self, until: Option<Timestamp>, now: Timestamp) -> Refused {
        let retry_after = match until {
            Some(until) => until.duration_since(now).try_into().unwrap_or(SOON).max(SOON),
            None => SOON,
        };
        Refused {
            budget: Arc::clone(&self.page.name),
            retry_after,
            by_store: false,
            then: self.page.then,
        }
    }

    fn failed(&self) -> Refused {
        Refused {
            budget: Arc::clone(&self.page.name),
            retry_after: SOON,
            by_store: true,
            then: self.page.then,
        }
    }
}

impl Reservation {
    /// What the attempt can cost.
    #[must_use]
    pub fn stake(&self) -> Stake {
        self.stake
    }

    /// Spends what the attempt has cost, and takes the rest back.
    pub fn settle(mut self, cost: Picodollars) {
        self.spend(cost);
    }

    /// Adds a part, or gives all parts back if it could not be made.
    fn with(
        mut self,
        line: &Arc<Line>,
        amount: Picodollars,
        made: Result<(), Refused>,
    ) -> Result<Self, Refused> {
        match made {
            Ok(()) => {
                self.lines.push((Arc::clone(line), amount));
                Ok(self)
            }
            Err(refused) => {
                self.settle(Picodollars::ZERO);
                Err(refused)
            }
        }
    }

    fn whole(mut self) -> Self {
        self.at_drop = self.stake.most;
        self
    }

    fn spend(&mut self, cost: Picodollars) {
        let now = self.books.now();
        for (line, reserved) in self.lines.drain(..) {
            let Line { page, account, .. } = &*line;
            let warns = account.account.settle(&page.rule, reserved, cost, now);
            if warns {
                let tenant = page.tenant_of(account);
                tracing::warn!(budget = &*page.name, tenant, "most of a budget is spent");
            }
            if account.account.wanted().is_some() {
                self.books.ask(account);
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.spend(self.at_drop);
    }
}
