//! The tenants that costs are counted for by name. Their number is bounded, because clients choose
//! their names.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Tenants that have a name of their own in an hour.
const MOST: usize = 100;
/// In bytes. A longer name counts as one of the others.
const LONGEST: usize = 128;
/// The name of all tenants beyond [`MOST`].
pub(super) const OTHERS: &str = "other";

/// Names of tenants.
#[derive(Debug)]
pub struct Tenants {
    /// By name, whether it was used since the last turn.
    names: RwLock<HashMap<Arc<str>, AtomicBool>>,
    others: Arc<str>,
}

impl Default for Tenants {
    fn default() -> Self {
        Self { names: RwLock::default(), others: OTHERS.into() }
    }
}

impl Tenants {
    /// The name that a tenant's costs are counted under: its own, or `other`.
    #[must_use]
    pub fn name(&self, tenant: &str) -> Arc<str> {
        if tenant.len() > LONGEST || tenant == OTHERS {
            return Arc::clone(&self.others);
        }
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, is_used)) = names.get_key_value(tenant) {
            is_used.store(true, Ordering::Relaxed);
            return Arc::clone(name);
        }
        if names.len() >= MOST {
            return Arc::clone(&self.others);
        }
        drop(names);
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MOST && !names.contains_key(tenant) {
            return Arc::clone(&self.others);
        }
        let name: Arc<str> = tenant.into();
        names.insert(Arc::clone(&name), AtomicBool::new(true));
        name
    }

    /// Whether it has a name of its own.
    pub(super) fn is_known(&self, name: &str) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        name == OTHERS || names.contains_key(name)
    }

    /// Makes room for new names: forgets those that were not used since the turn before.
    pub(super) fn turn(&self) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, is_used| is_used.swap(false, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_those_not_used_make_room() {
        let tenants = Tenants::default();
        for number in 0..MOST {
            assert_eq!(&*tenants.name(&number.to_string()), number.to_string());
        }
        assert_eq!(&*tenants.name("late"), OTHERS);
        assert_eq!(&*tenants.name(&"x".repeat(LONGEST + 1)), OTHERS);
        tenants.turn();
        assert_eq!((&*tenants.name("7"), &*tenants.name("late")), ("7", OTHERS));
        tenants.turn();
        assert_eq!((&*tenants.name("7"), &*tenants.name("late")), ("7", "late"));
        assert!(tenants.is_known("7") && tenants.is_known(OTHERS) && !tenants.is_known("8"));
    }
}
