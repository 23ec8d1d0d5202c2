//! What serving threads borrow for a call and give back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Idle instances of a strategy, on a shelf for each serving thread.
///
/// A thread takes the one that it used last: the memory of an instance is then in the caches of the
/// thread's core. An instance that changes cores with each call costs several times as much as one
/// that stays.
pub(super) struct Idle<T> {
    shelves: Box<[Shelf<T>]>,
}

/// Two shelves share no cache line, also where lines are fetched in pairs.
#[repr(align(128))]
struct Shelf<T>(Mutex<Vec<T>>);

impl<T> Idle<T> {
    /// One item a shelf.
    pub(super) fn of(items: impl IntoIterator<Item = T>) -> Self {
        Self { shelves: items.into_iter().map(|item| Shelf(Mutex::new(vec![item]))).collect() }
    }

    /// The one that this thread gave back last, else one of another shelf. `None` if all are in use.
    pub(super) fn take(&self) -> Option<T> {
        let (before, own) = self.shelves.split_at(self.own());
        own.iter().chain(before).find_map(|shelf| shelf.lock().pop())
    }

    /// Gives back one that this thread took.
    pub(super) fn give_back(&self, item: T) {
        if let Some(shelf) = self.shelves.get(self.own()) {
            shelf.lock().push(item);
        }
    }

    /// Adds one in place of a lost one. Threads that have one of their own find it last.
    pub(super) fn add(&self, item: T) {
        if let Some(shelf) = self.shelves.last() {
            shelf.lock().push(item);
        }
    }

    /// The shelf of this thread.
    fn own(&self) -> usize {
        NUMBER.with(|&number| number) % self.shelves.len().max(1)
    }
}

impl<T> Shelf<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Number of this thread among those that ever took something: serving threads, which live as
    /// long as the process. So none of them shares a shelf where there is one for each.
    static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::thread;

    use super::*;

    /// What `act` returns on a thread of its own.
    fn elsewhere<T: Send>(act: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(act).join().unwrap())
    }

    #[test]
    fn a_thread_takes_what_it_gave_back_though_another_gave_back_later() {
        // More shelves than the tests of this process have threads.
        let idle = Idle::of(0..10_000);
        let own = idle.take().unwrap();
        let (other, again) = elsewhere(|| {
            let other = idle.take().unwrap();
            idle.give_back(own);
            (other, idle.take().unwrap())
        });
        assert_eq!(again, own);
        idle.give_back(other);
        elsewhere(|| idle.give_back(own));
        assert_eq!(idle.take(), Some(other));
    }

    #[test]
    fn all_can_be_taken_by_one_thread_and_those_added_too() {
        let idle = Idle::of([1, 2, 3]);
        let mut taken: Vec<_> = std::iter::from_fn(|| idle.take()).collect();
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 3]);
        elsewhere(|| idle.add(4));
        assert_eq!((idle.take(), idle.take()), (Some(4), None));
    }
}
