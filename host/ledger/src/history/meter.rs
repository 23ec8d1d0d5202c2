//! What attempts at one deployment took and cost, by tenant. Requests on all cores add to it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::tally::{Cell, Charge, Tally};

/// Sums of the attempts at one deployment. Each attempt adds to one cell: that of its tenant, or that
/// of all requests without one. So the sums of tenants and of deployments are always the same.
#[derive(Debug, Default)]
pub struct Meter {
    unnamed: Cell,
    /// Of the tenants that [`Tenants`](super::Tenants) knows, and a few that it has just given up.
    tenants: RwLock<HashMap<Arc<str>, Cell>>,
    /// Sums of cells that were given up.
    retired: Cell,
}

impl Meter {
    /// Counts an attempt that has ended. A tenant is named by [`Tenants`](super::Tenants), so that
    /// there are few.
    pub fn add(&self, tenant: Option<&Arc<str>>, charge: &Charge) {
        let Some(tenant) = tenant else { return self.unnamed.add(charge) };
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = tenants.get(tenant) {
            return cell.add(charge);
        }
        drop(tenants);
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.entry(Arc::clone(tenant)).or_default().add(charge);
    }

    /// The sums since the start of the gateway.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = self.unnamed.tally();
        // No cell is given up meanwhile, so none is missed.
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        total.add(&self.retired.tally());
        tenants.values().for_each(|cell| total.add(&cell.tally()));
        total
    }

    /// Tells what was added since the last call. One thread at a time may call it.
    pub(super) fn fold(&self, mut tell: impl FnMut(Option<&Arc<str>>, Tally)) {
        let mut told = |tenant: Option<&Arc<str>>, new: Tally| {
            if !new.is_zero() {
                tell(tenant, new);
            }
        };
        told(None, self.unnamed.fold());
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.iter().for_each(|(tenant, cell)| told(Some(tenant), cell.fold()));
    }

    /// Gives up the cells of tenants that are not known any more. What was not folded yet is kept.
    pub(super) fn retire(&self, is_known: impl Fn(&str) -> bool) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|tenant, cell| {
            let keeps = is_known(tenant) || !cell.is_folded();
            if !keeps {
                self.retired.absorb(&cell.tally());
            }
            keeps
        });
    }
}

#[cfg(test)]
mod tests {
    use contract::Picodollars;

    use super::super::tally::{Spending, TokenKind};
    use super::*;

    const CHARGE: Charge = Charge {
        spending: Spending::Answered,
        is_estimated: false,
        tokens: [4, 3, 2, 1],
        cost: Picodollars::new(5),
        saved: Picodollars::ZERO,
    };

    #[test]
    fn a_tenant_that_is_given_up_stays_in_the_total_and_is_folded_once() {
        let (meter, acme) = (Meter::default(), Arc::from("acme"));
        meter.add(None, &CHARGE);
        meter.add(Some(&acme), &CHARGE);
        meter.retire(|_| false);
        let folded = || {
            let mut folded = Vec::new();
            meter.fold(|tenant, new| folded.push((tenant.cloned(), new.cost(Spending::Answered))));
            folded
        };
        let five = Picodollars::new(5);
        assert_eq!(folded(), [(None, five), (Some(Arc::clone(&acme)), five)], "not folded yet");
        meter.retire(|_| false);
        assert!(folded().is_empty() && meter.tenants.read().is_ok_and(|all| all.is_empty()));
        meter.add(Some(&acme), &CHARGE);
        assert_eq!(folded(), [(Some(acme), five)]);
        assert_eq!(meter.total().tokens(TokenKind::Prompt, false), 12);
    }
}
