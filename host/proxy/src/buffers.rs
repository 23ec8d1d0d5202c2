//! Spare buffers that the connections of a core share. Most connections wait most of the time and
//! hold no buffer. The next connection that reads gets a buffer that is still in the processor's
//! cache.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Most spare buffers of one kind per core.
const KEPT: usize = 8;

/// The spare buffers of one kind on one core, as a `thread_local!`.
pub(crate) struct Spares<T>(RefCell<Vec<T>>);

impl<T> Spares<T> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }
}

/// Takes the buffer that was kept last. None: there is none, or the thread is ending.
pub(crate) fn take<T>(of: &'static LocalKey<Spares<T>>) -> Option<T> {
    of.try_with(|spares| spares.0.borrow_mut().pop()).ok().flatten()
}

/// Keeps a buffer for others, or drops it if there are enough.
pub(crate) fn keep<T>(of: &'static LocalKey<Spares<T>>, memory: T) {
    // Fails only while the thread ends. The buffer is dropped then.
    let _ = of.try_with(|spares| {
        let mut spares = spares.0.borrow_mut();
        if spares.len() < KEPT {
            spares.push(memory);
        }
    });
}
