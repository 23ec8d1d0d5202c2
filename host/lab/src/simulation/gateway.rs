//! A simulated gateway: what it knows of the deployments, and its strategy.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Instant;

use contract::SignalSet;
use fleet::{Budget, HedgeBudget, ModelSignals, PrefixIndex, Ramp, Rate};

use super::Asked;
use super::decide::Decisions;
use super::money::Money;
use super::run::Held;
use super::scenario::Scenario;
use super::site::Site;

/// One gateway.
pub(super) struct Gateway<'a> {
    /// The deployments, as it sees them.
    pub(super) sites: Vec<Site<'a>>,
    pub(super) decisions: Decisions<'a>,
    /// The budget of further attempts.
    pub(super) budget: Budget,
    /// The budget of second attempts.
    pub(super) hedges: HedgeBudget,
    /// Requests for the model.
    pub(super) rate: Rate,
    /// Requests that the strategy holds, in the order in which they began to wait.
    pub(super) held: VecDeque<Held>,
    /// The budgets of money. None: there are none.
    pub(super) money: Option<Money<'a>>,
}

impl<'a> Gateway<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        (strategy, surroundings): Asked<'a>,
        signals: SignalSet,
        epoch: Instant,
    ) -> Self {
        let shared = <(Arc<ModelSignals>, Arc<PrefixIndex>)>::default();
        let site = |numbered| Site::new(numbered, scenario, epoch, shared.clone(), signals);
        Self {
            sites: (0..).zip(&scenario.sites).map(site).collect(),
            decisions: Decisions::new(strategy, surroundings, scenario.fallback.standby),
            budget: Budget::new(epoch),
            hedges: HedgeBudget::default(),
            rate: Rate::new(Ramp::WINDOW, epoch),
            held: VecDeque::new(),
            money: Money::new(scenario),
        }
    }
}

/// A deployment at a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) gateway: usize,
    pub(super) site: usize,
}

/// All gateways.
pub(super) struct Gateways<'a>(pub(super) Vec<Gateway<'a>>);

impl<'a> Index<usize> for Gateways<'a> {
    type Output = Gateway<'a>;

    fn index(&self, gateway: usize) -> &Gateway<'a> {
        &self.0[gateway]
    }
}

impl<'a> IndexMut<usize> for Gateways<'a> {
    fn index_mut(&mut self, gateway: usize) -> &mut Gateway<'a> {
        &mut self.0[gateway]
    }
}

impl<'a> Index<At> for Gateways<'a> {
    type Output = Site<'a>;

    fn index(&self, at: At) -> &Site<'a> {
        &self.0[at.gateway].sites[at.site]
    }
}

impl<'a> IndexMut<At> for Gateways<'a> {
    fn index_mut(&mut self, at: At) -> &mut Site<'a> {
        &mut self.0[at.gateway].sites[at.site]
    }
}
