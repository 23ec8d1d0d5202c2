//! The budgets of one configuration, and which deployments they cover.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config::{Budget, Config, Each, OnStoreFailure, OnceSpent, Reserve};
use jiff::Timestamp;

use crate::Ledger;
use crate::accounts::Named;
use crate::clock::Clock;
use crate::purse::{Line, Purse, Stake};
use crate::rule::Rule;
use crate::standing::{Payer, Standing};

/// The budgets of one configuration.
#[derive(Debug)]
pub struct Books {
    ledger: Arc<Ledger>,
    budgets: Vec<Arc<Page>>,
    /// For each model, in the order of the configuration.
    models: Vec<Arc<Covered>>,
    pub(crate) on_failure: OnStoreFailure,
    clock: Clock,
}

/// One budget.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) name: Arc<str>,
    pub(crate) rule: Rule,
    pub(crate) then: OnceSpent,
    pub(crate) reserve: Reserve,
    tenant: Option<String>,
    each: Option<Each>,
    /// Its account. None: each tenant has its own.
    account: Option<Named>,
}

/// The budgets that count for the deployments of a model, as sets of bits.
#[derive(Debug, Default)]
pub(crate) struct Covered {
    all: u64,
    /// For each deployment.
    pub(crate) deployments: Vec<u64>,
}

impl Books {
    /// The budgets of a configuration.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, config: &Config) -> Self {
        let covered = |model: &config::Model| {
            model.deployments.iter().map(|deployment| deployment.budgets).collect()
        };
        let covered = config.models.iter().map(covered);
        let on_failure = config.ledger.on_store_failure;
        Self::covering(ledger, &config.budgets, covered, on_failure)
    }

    /// Budgets in simulated time, which nothing keeps. `covered`: for each deployment of each model the
    /// budgets that cover it, as bits.
    #[must_use]
    pub fn simulated(
        budgets: &[Budget],
        covered: impl IntoIterator<Item = Vec<u64>>,
        clock: Clock,
    ) -> Self {
        let ledger = Arc::new(Ledger::in_memory());
        let books = Self::covering(ledger, budgets, covered, OnStoreFailure::default());
        Self { clock, ..books }
    }

    fn covering(
        ledger: Arc<Ledger>,
        budgets: &[Budget],
        covered: impl IntoIterator<Item = Vec<u64>>,
        on_failure: OnStoreFailure,
    ) -> Self {
        let age = ledger.ages.fetch_add(1, Ordering::Relaxed) + 1;
        let page = |budget: &Budget| {
            let account = match budget.each {
                Some(Each::Tenant) => None,
                None => Some(ledger.account(&budget.name, "")),
            };
            Arc::new(Page {
                name: budget.name.as_str().into(),
                rule: Rule::of(budget, age),
                then: budget.then,
                reserve: budget.reserve,
                tenant: budget.of.tenant.clone(),
                each: budget.each,
                account,
            })
        };
        let budgets: Vec<_> = budgets.iter().map(page).collect();
        let covered_of = |deployments: Vec<u64>| {
            let all = deployments.iter().fold(0, |all, bits| all | bits);
            Arc::new(Covered { all, deployments })
        };
        let models = covered.into_iter().map(covered_of).collect();
        Self { ledger, budgets, models, on_failure, clock: Clock::Machine }
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The purse of a request of this tenant. None: no budget counts for it. `stake` says what it can
    /// cost at a deployment of the model.
    #[must_use]
    pub fn purse(
        self: &Arc<Self>,
        model: usize,
        tenant: Option<&str>,
        stake: impl Fn(usize) -> Stake,
    ) -> Option<Purse> {
        let covered = self.models.get(model).filter(|covered| covered.all != 0)?;
        let tenant = tenant.unwrap_or_default();
        let mut lines = Vec::new();
        for (at, page) in self.budgets.iter().enumerate() {
            let counts = page.tenant.as_deref().is_none_or(|only| only == tenant);
            if covered.all & 1 << at == 0 || !counts {
                continue;
            }
            let account = match &page.account {
                Some(account) => account.clone(),
                None => self.ledger.account(&page.name, tenant),
            };
            lines.push(Arc::new(Line { bit: 1 << at, page: Arc::clone(page), account }));
        }
        if lines.is_empty() {
            return None;
        }
        let stakes = (0..covered.deployments.len()).map(stake).collect();
        Some(Purse::new(Arc::clone(self), Arc::clone(covered), lines, stakes))
    }

    /// How the budgets stand that are no tenant's own.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let now = self.now();
        let standing =
            |page: &Arc<Page>| page.account.as_ref().map(|named| page.standing(named, now));
        self.budgets.iter().filter_map(standing).collect()
    }

    /// How the budget of this name stands for a payer. None: there is none, or it does not count for
    /// the payer. Of a budget of each tenant, it is that of the payer.
    #[must_use]
    pub fn standing(&self, budget: &str, payer: Payer<'_>) -> Option<Standing> {
        let page = self.budgets.iter().find(|page| *page.name == *budget)?;
        let own;
        let named = match (&page.account, payer) {
            (Some(named), Payer::Anybody) => named,
            (Some(named), Payer::Tenant(tenant)) => {
                let only = page.tenant.as_deref();
                only.is_none_or(|only| Some(only) == tenant).then_some(named)?
            }
            (None, Payer::Anybody) => return None,
            (None, Payer::Tenant(tenant)) => {
                own = self.ledger.account(&page.name, tenant.unwrap_or_default());
                &own
            }
        };
        Some(page.standing(named, self.now()))
    }

    /// Why the ledger's file could not be written at the last attempt. None: it could.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.ledger.failure()
    }

    /// Asks for a larger lease. Nothing is asked for in a ledger without a file.
    pub(crate) fn ask(&self, named: &Named) {
        if let Some(writer) = &self.ledger.writer {
            writer.ask(named);
        }
    }

    /// How long a reservation waits for a lease.
    pub(crate) fn patience(&self) -> Duration {
        self.ledger.writer.as_ref().map_or(Duration::ZERO, |writer| writer.patience.write)
    }

    /// Whether reservations may be made without a lease: there is no file, or it failed and the
    /// configuration allows it.
    pub(crate) fn is_unleased(&self) -> bool {
        match &self.ledger.writer {
            None => true,
            Some(writer) => self.on_failure == OnStoreFailure::Allow && writer.has_failed(),
        }
    }

    /// Whether the file failed, and nothing may be reserved without it.
    pub(crate) fn is_stuck(&self) -> bool {
        let has_failed = self.ledger.writer.as_ref().is_some_and(|writer| writer.has_failed());
        has_failed && self.on_failure == OnStoreFailure::Refuse
    }
}

impl Page {
    fn standing(&self, named: &Named, now: Timestamp) -> Standing {
        let balance = named.account.balance(&self.rule, now);
        self.watch(named, now);
        Standing {
            name: Arc::clone(&self.name),
            amount: self.rule.amount,
            spent: balance.spent,
            reserved: balance.reserved,
            start: balance.window.start,
            end: balance.window.end,
            ahead: balance.window.start.duration_since(now).try_into().unwrap_or_default(),
        }
    }

    /// The tenant of one of its accounts. None: it has one for all.
    pub(crate) fn tenant_of<'n>(&self, named: &'n Named) -> Option<&'n str> {
        self.each.is_some().then_some(&*named.name.tenant)
    }

    /// Tells once that the window of one of its accounts lies in the future.
    pub(crate) fn watch(&self, named: &Named, now: Timestamp) {
        if named.account.tells_ahead(now) {
            let balance = named.account.balance(&self.rule, now);
            tracing::error!(
                budget = &*self.name,
                tenant = self.tenant_of(named),
                until = %balance.window.end,
                "the clock was set back: what this budget has spent counts on until its window ends. \
                 If the clock was wrong before, give the budget another name to begin anew"
            );
        }
    }
}
