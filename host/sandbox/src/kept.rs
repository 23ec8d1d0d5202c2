//! Compiled components in memory, so that a reload need not compile a strategy in use.

use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::Component;

/// Unused components that are kept, so that a reload back to an earlier configuration need not
/// compile.
const SPARE: usize = 8;

/// A component in use. It is not evicted while a lease is held.
pub(super) type Lease = Arc<Component>;

/// Components by digest. The last requested is at the end.
#[derive(Default)]
pub(super) struct Kept {
    entries: Vec<Entry>,
    /// Number of loads that have ended.
    loads: u64,
}

struct Entry {
    digest: String,
    component: Lease,
    /// [`Kept::loads`] at its last request.
    asked: u64,
}

impl Kept {
    /// The component with this digest, compiled for this engine.
    pub(super) fn find(&mut self, engine: &Engine, digest: &str) -> Option<Lease> {
        let is_it = |entry: &Entry| {
            entry.digest == digest && Engine::same(entry.component.engine(), engine)
        };
        let at = self.entries.iter().position(is_it)?;
        let entry = self.entries.remove(at);
        Some(self.push(entry.digest, entry.component))
    }

    /// Keeps a component. If another load has kept it meanwhile, returns that one.
    pub(super) fn keep(&mut self, digest: String, component: Component) -> Lease {
        let known = self.find(component.engine(), &digest);
        known.unwrap_or_else(|| self.push(digest, Arc::new(component)))
    }

    fn push(&mut self, digest: String, component: Lease) -> Lease {
        let lease = Arc::clone(&component);
        self.entries.push(Entry { digest, component, asked: self.loads });
        lease
    }

    /// Ends a load: evicts all unused components but [`SPARE`]. Returns those in use, which are
    /// leased or were requested by this load.
    pub(super) fn tidy(&mut self) -> Vec<(String, Engine)> {
        let load = self.loads;
        self.loads += 1;
        let is_used =
            |entry: &Entry| entry.asked == load || Arc::strong_count(&entry.component) > 1;
        let unused = self.entries.iter().filter(|entry| !is_used(entry)).count();
        // Evicts from the front, where the least recently requested are.
        let mut excess = unused.saturating_sub(SPARE);
        self.entries.retain(|entry| {
            let is_evicted = excess > 0 && !is_used(entry);
            excess -= usize::from(is_evicted);
            !is_evicted
        });
        let used = self.entries.iter().filter(|entry| is_used(entry));
        used.map(|Entry { digest, component, .. }| (digest.clone(), component.engine().clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::kept::*;

    struct All {
        kept: Kept,
        engine: Engine,
    }

    impl All {
        fn keep(&mut self, digest: impl ToString) -> Lease {
            let bytes = wat::parse_str("(component)").unwrap();
            let component = Component::from_binary(&self.engine, &bytes).unwrap();
            self.kept.keep(digest.to_string(), component)
        }

        fn finds(&mut self, digest: impl ToString) -> bool {
            self.kept.find(&self.engine, &digest.to_string()).is_some()
        }
    }

    fn empty() -> All {
        All { kept: Kept::default(), engine: Engine::default() }
    }

    #[test]
    fn all_that_a_load_asked_for_stays() {
        let mut all = empty();
        for _ in 0..3 {
            for digest in 0..100 {
                if !all.finds(digest) {
                    drop(all.keep(digest));
                }
            }
            assert_eq!(all.kept.tidy().len(), 100);
        }
        assert_eq!(all.kept.entries.len(), 100);
    }

    #[test]
    fn leased_components_outlive_many_loads() {
        let mut all = empty();
        let leases: Vec<Lease> = (0..100).map(|digest| all.keep(digest)).collect();
        for load in 0..50 {
            drop(all.keep(format!("other {load}")));
            assert!(all.kept.tidy().len() > 100);
        }
        assert!((0..100).all(|digest| all.finds(digest)));
        drop(leases);
    }

    #[test]
    fn unused_components_go_oldest_first() {
        let mut all = empty();
        for digest in 0..20 {
            drop(all.keep(digest));
        }
        all.kept.tidy();
        assert!(all.finds(3));
        assert_eq!(all.kept.tidy().len(), 1);
        assert_eq!(all.kept.entries.len(), SPARE + 1);
        assert!(all.kept.tidy().is_empty());
        assert_eq!(all.kept.entries.len(), SPARE);
        assert!(all.finds(3) && all.finds(19) && !all.finds(12));
    }

    #[test]
    fn another_engine_needs_another_compilation() {
        let mut all = empty();
        drop(all.keep(1));
        let other = Engine::default();
        assert!(all.kept.find(&other, "1").is_none());
    }
}
