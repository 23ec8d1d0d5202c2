//! The budgets of one configuration, and which deployments they cover.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config::{Budget, Config, Each, OnStoreFailure, OnceSpent, Reserve};
use contract::Picodollars;
use jiff::Timestamp;

use crate::Ledger;
use crate::accounts::Named;
use crate::purse::{Line, Purse, Stake};
use crate::rule::Rule;

/// The budgets of one configuration.
#[derive(Debug)]
pub struct Books {
    ledger: Arc<Ledger>,
    budgets: Vec<Arc<Page>>,
    /// For each model, in the order of the configuration.
    models: Vec<Arc<Covered>>,
    pub(crate) on_failure: OnStoreFailure,
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

/// How a budget stands at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: Arc<str>,
    /// What it allows in its window.
    pub amount: Picodollars,
    /// What is spent.
    pub spent: Picodollars,
    /// What is reserved for requests under way.
    pub reserved: Picodollars,
    /// When the window began.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// How far ahead the window begins, because the clock was set back. 0: it has begun.
    pub ahead: Duration,
}

impl Books {
    /// The budgets of a configuration.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, config: &Config) -> Self {
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
        let budgets: Vec<_> = config.budgets.iter().map(page).collect();
        let covered = |model: &config::Model| {
            let deployments: Vec<u64> = model.deployments.iter().map(|one| one.budgets).collect();
            let all = deployments.iter().fold(0, |all, bits| all | bits);
            Arc::new(Covered { all, deployments })
        };
        let models = config.models.iter().map(covered).collect();
        Self { ledger, budgets, models, on_failure: config.ledger.on_store_failure }
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
        let now = Timestamp::now();
        let standing = |page: &Arc<Page>| {
            let named = page.account.as_ref()?;
            let balance = named.account.balance(&page.rule, now);
            page.watch(named, now);
            Some(Standing {
                name: Arc::clone(&page.name),
                amount: page.rule.amount,
                spent: balance.spent,
                reserved: balance.reserved,
                start: balance.window.start,
                end: balance.window.end,
                ahead: balance.window.start.duration_since(now).try_into().unwrap_or_default(),
            })
        };
        self.budgets.iter().filter_map(standing).collect()
    }

    /// Why the ledger's file cannot be written now. None: it can.
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
