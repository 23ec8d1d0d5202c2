//! How the request path tells the decision layer, which is above it, that something changed.

use std::fmt;
use std::sync::OnceLock;

type Clapper = Box<dyn Fn() + Send + Sync>;

/// Rung when the standing of a deployment changes. Silent until somebody listens.
#[derive(Default)]
pub struct Bell(OnceLock<Clapper>);

impl Bell {
    /// Calls `listener` from now on; it returns at once. The first one stays.
    pub fn listen(&self, listener: impl Fn() + Send + Sync + 'static) {
        // One process has one decision thread.
        let _ = self.0.set(Box::new(listener));
    }

    pub(super) fn ring(&self) {
        if let Some(listener) = self.0.get() {
            listener();
        }
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}
