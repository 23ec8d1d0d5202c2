//! Memory that the connections of a core take turns with: most of them wait most of the time and hold nothing, and
//! what reads again finds memory that is still in the cache.

use std::cell::RefCell;
use std::thread::LocalKey;

/// What is kept of it.
const KEPT: usize = 8;

/// The memory of one kind that a core keeps, as a `thread_local!`.
pub(crate) struct Spares<T>(RefCell<Vec<T>>);

impl<T> Spares<T> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }
}

/// What was kept last. None: there is nothing, or the thread ends.
pub(crate) fn take<T>(of: &'static LocalKey<Spares<T>>) -> Option<T> {
    of.try_with(|spares| spares.0.borrow_mut().pop()).ok().flatten()
}

/// Keeps this for others, or drops it where there is enough.
pub(crate) fn keep<T>(of: &'static LocalKey<Spares<T>>, memory: T) {
    // At the end of a thread it is dropped.
    let _ = of.try_with(|spares| {
        let mut spares = spares.0.borrow_mut();
        if spares.len() < KEPT {
            spares.push(memory);
        }
    });
}
