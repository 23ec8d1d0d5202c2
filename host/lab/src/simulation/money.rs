//! The budgets of one simulated gateway: the gateway's own ledger, in simulated time and without a
//! file.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use config::{Budget, Each};
use contract::{Column, Picodollars};
use fleet::Consumed;
use ledger::{Books, Clock, Payer, Purse, Stake};

use crate::replayed::BEGIN;

use super::scenario::{Scenario, Site};
use super::workload::Request;

/// Tokens of an answer whose usual length is not known, as in the gateway.
const USUAL: u64 = 512;
/// Tokens that a chat template may add to a prompt, as in the gateway.
const TEMPLATE: u64 = 256;
/// Bytes of a token. The gateway reserves a token for each byte of a request.
const BYTES: u64 = 4;

/// The budgets of one gateway.
pub(super) struct Money<'a> {
    scenario: &'a Scenario,
    books: Arc<Books>,
    /// Microseconds since 1970.
    time: Arc<AtomicI64>,
}

/// A budget, and the tenant whose own it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pot<'a> {
    pub(super) budget: &'a Budget,
    /// The tenant of a budget of each tenant.
    pub(super) payer: Payer<'a>,
}

impl<'a> Money<'a> {
    /// None: the scenario has no budgets.
    pub(super) fn new(scenario: &'a Scenario) -> Option<Self> {
        if scenario.budgets.is_empty() {
            return None;
        }
        let time = Arc::default();
        let covered = [scenario.sites.iter().map(|site| site.budgets).collect()];
        let clock = Clock::Set(Arc::clone(&time));
        let books = Arc::new(Books::simulated(&scenario.budgets, covered, clock));
        let money = Self { scenario, books, time };
        money.set(Duration::ZERO);
        Some(money)
    }

    /// Sets the time since the start of the simulation.
    pub(super) fn set(&self, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let micros = BEGIN.saturating_mul(1_000).saturating_add(micros);
        self.time.store(i64::try_from(micros).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// What a request may spend. None: no budget counts for it. `usual`: tokens that answers of a
    /// deployment usually have.
    pub(super) fn purse(
        &self,
        request: &Request,
        usual: impl Fn(usize) -> Option<u64>,
    ) -> Option<Purse> {
        let stake = |at: usize| {
            let longest = self.scenario.max_output_length.map(u64::from);
            stake(request, &self.scenario.sites[at], longest, usual(at))
        };
        self.books.purse(0, request.tenant.as_deref(), stake)
    }

    /// The value of a signal of a budget.
    pub(super) fn signal(&self, column: &Column, payer: Payer<'_>) -> f64 {
        let budget = column.budget.as_deref();
        budget.map_or(f64::NAN, |budget| self.books.signal(column.signal, budget, payer))
    }

    /// What is spent in the window under way.
    pub(super) fn spent(&self, pot: &Pot<'_>) -> Picodollars {
        let standing = self.books.standing(&pot.budget.name, pot.payer);
        standing.map_or(Picodollars::ZERO, |standing| standing.spent)
    }
}

impl<'a> Pot<'a> {
    /// All that a scenario has.
    pub(super) fn all(scenario: &'a Scenario) -> Vec<Self> {
        let mut tenants: Vec<_> =
            scenario.kinds.iter().map(|kind| kind.tenant.as_deref()).collect();
        tenants.sort_unstable();
        tenants.dedup();
        let of = |budget: &'a Budget| -> Vec<Self> {
            let payers = match budget.each {
                Some(Each::Tenant) => tenants.iter().copied().map(Payer::Tenant).collect(),
                None => vec![Payer::Anybody],
            };
            payers.into_iter().map(|payer| Self { budget, payer }).collect()
        };
        scenario.budgets.iter().flat_map(of).collect()
    }
}

/// What a request can cost at a deployment. The same rule as the gateway's, which knows the bytes of a
/// request and not its tokens.
fn stake(request: &Request, site: &Site, longest: Option<u64>, usual: Option<u64>) -> Stake {
    let context = site.place.context_length;
    let prompt = u64::from(request.prompt);
    let allowed = request.max_tokens.map(u64::from).or(longest).unwrap_or(context).min(context);
    let cost = |prompt: u64, completion: u64| {
        site.tariff.cost(Consumed {
            prompt: prompt.min(context),
            completion,
            ..Consumed::default()
        })
    };
    let expected = cost(prompt, usual.unwrap_or(USUAL).min(allowed));
    let [prompt, most] = [0, allowed].map(|answer| cost(prompt * BYTES + TEMPLATE, answer));
    Stake { prompt, most: most.max(expected), expected }
}
