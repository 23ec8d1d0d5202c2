//! Tells the decision layer which models changed. Requests and probes report here, because they
//! cannot depend on the layer above them.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

type Listener = Box<dyn Fn() + Send + Sync>;

/// The models of which a deployment changed since the last decision. Kept over reloads. It knows
/// models by id, because a request of an older generation may still add one. Each id is in it at
/// most once, which bounds its size.
#[derive(Default)]
pub struct ChangeNotifier {
    models: Mutex<HashSet<Arc<str>>>,
    listener: OnceLock<Listener>,
}

impl ChangeNotifier {
    /// Calls `listener` from now on when the first model is added after a [`take`](Self::take). The
    /// listener must return at once. A second call has no effect.
    pub fn listen(&self, listener: impl Fn() + Send + Sync + 'static) {
        // One process has one decision thread.
        let _ = self.listener.set(Box::new(listener));
    }

    /// Adds a model.
    pub fn add(&self, model: &Arc<str>) {
        let is_first = {
            let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
            let was_empty = models.is_empty();
            models.insert(Arc::clone(model));
            was_empty
        };
        if is_first && let Some(listener) = self.listener.get() {
            listener();
        }
    }

    /// All models that were added since the last call.
    #[must_use]
    pub fn take(&self) -> HashSet<Arc<str>> {
        std::mem::take(&mut *self.models.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for ChangeNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeNotifier").field("models", &self.models).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    #[test]
    fn the_listener_is_called_once_until_taken() {
        let (changes, calls) = (ChangeNotifier::default(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&calls);
        changes.listen(move || _ = counted.fetch_add(1, Relaxed));
        let [a, b]: [Arc<str>; 2] = ["a", "b"].map(Arc::from);
        [&a, &b, &a].into_iter().for_each(|model| changes.add(model));
        assert_eq!(calls.load(Relaxed), 1);
        assert_eq!(changes.take(), HashSet::from([Arc::clone(&a), b]));
        assert!(changes.take().is_empty());
        changes.add(&a);
        assert_eq!(calls.load(Relaxed), 2);
    }
}
