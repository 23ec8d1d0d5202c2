//! What waits to be used again by the thread that used it last.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Threads that have asked so far.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// Things that wait, on a shelf for each of a few threads: the memory and the stack that an instance uses are in the
/// cache of the core that used it last, and would be fetched from there by any other.
pub(super) struct Idle<T> {
    shelves: Box<[Mutex<Vec<T>>]>,
}

impl<T> Idle<T> {
    /// With as many shelves as things.
    pub(super) fn new(things: Vec<T>) -> Self {
        let mut shelves: Vec<_> = things.into_iter().map(|thing| Mutex::new(vec![thing])).collect();
        if shelves.is_empty() {
            shelves.push(Mutex::default());
        }
        Self { shelves: shelves.into() }
    }

    /// What this thread gave back last, else what another did. None: nothing waits.
    pub(super) fn take(&self) -> Option<T> {
        (0..self.shelves.len()).find_map(|step| self.shelf(step).pop())
    }

    /// Gives a thing back, or one more.
    pub(super) fn give(&self, thing: T) {
        self.shelf(0).push(thing);
    }

    /// This thread's shelf, or that so many steps further.
    fn shelf(&self, step: usize) -> MutexGuard<'_, Vec<T>> {
        // At the end of a thread any will do.
        let thread = THREAD.try_with(|thread| *thread).unwrap_or_default();
        let shelf = &self.shelves[thread.wrapping_add(step) % self.shelves.len()];
        shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Idle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").field("shelves", &self.shelves.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::thread;

    use super::*;

    #[test]
    fn each_thread_has_its_own_back() {
        let idle = Idle::new(vec![1, 2, 3]);
        let ours = idle.take().unwrap();
        thread::scope(|scope| {
            let theirs = scope.spawn(|| {
                let theirs = idle.take().unwrap();
                idle.give(theirs);
                assert_eq!(idle.take(), Some(theirs));
                theirs
            });
            idle.give(theirs.join().unwrap());
        });
        idle.give(ours);
        assert_eq!(idle.take(), Some(ours));
    }

    #[test]
    fn what_waits_is_found_wherever_it_is() {
        let idle = Idle::new(vec![1, 2, 3]);
        let mut all: Vec<_> = std::iter::from_fn(|| idle.take()).collect();
        all.sort_unstable();
        assert_eq!((all, idle.take()), (vec![1, 2, 3], None));
        thread::scope(|scope| scope.spawn(|| idle.give(4)).join().unwrap());
        assert_eq!(idle.take(), Some(4));
        assert_eq!(Idle::<u8>::new(Vec::new()).take(), None);
    }
}
