//! How much is let in at one time: connections, requests, bytes of bodies. What is beyond a limit is
//! refused at once, so that what was let in is served as if the rest had not come.
//!
//! Counters are shared by all cores. Limits are given with each question, not kept: a reload changes
//! them for whoever comes next.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is in use of something that is limited.
#[derive(Debug, Clone, Default)]
pub struct Quota<C = Arc<AtomicUsize>>(C);

/// A quota as one core has it: its holds count references to it where no other core does.
pub type CoreQuota = Quota<Rc<Arc<AtomicUsize>>>;
/// A part of a [`CoreQuota`].
pub type CoreHold = Hold<Rc<Arc<AtomicUsize>>>;

/// How the holds of a quota share its count.
pub trait Count: Clone {
    /// The count.
    fn count(&self) -> &AtomicUsize;
}

impl Count for Arc<AtomicUsize> {
    fn count(&self) -> &AtomicUsize {
        self
    }
}

impl Count for Rc<Arc<AtomicUsize>> {
    fn count(&self) -> &AtomicUsize {
        self
    }
}

impl Quota {
    /// The same for one core.
    #[must_use]
    pub fn on_core(&self) -> CoreQuota {
        Quota(Rc::new(Arc::clone(&self.0)))
    }
}

impl<C: Count> Quota<C> {
    /// Takes `amount` until the hold is dropped, if no more than `limit` is in use then.
    #[must_use]
    pub fn take(&self, amount: usize, limit: usize) -> Option<Hold<C>> {
        let mut hold = Hold { count: self.0.clone(), amount: 0 };
        hold.grow(amount, limit).then_some(hold)
    }

    /// How much is in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.0.count().load(Ordering::Relaxed)
    }
}

/// A part of a quota, given back when dropped.
#[derive(Debug)]
pub struct Hold<C: Count = Arc<AtomicUsize>> {
    count: C,
    amount: usize,
}

impl<C: Count> Hold<C> {
    /// Takes `more`, if no more than `limit` is in use of the quota then, and says whether it did.
    #[must_use]
    pub fn grow(&mut self, more: usize, limit: usize) -> bool {
        let step = |used: usize| used.checked_add(more).filter(|used| *used <= limit);
        let count = self.count.count();
        let grown = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok();
        if grown {
            self.amount += more;
        }
        grown
    }
}

impl<C: Count> Drop for Hold<C> {
    fn drop(&mut self) {
        self.count.count().fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// What a gateway has let in.
#[derive(Debug, Default)]
pub struct Admission {
    /// Connections of clients.
    pub connections: Quota,
    /// Requests to deployments, from their head to the end of their answer.
    pub requests: Quota,
    /// Bytes of the bodies of requests that may yet be sent to a deployment.
    pub bodies: Quota,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_never_more_than_the_limit() {
        let quota = <Quota>::default();
        let mut first = quota.take(2, 3).expect("room");
        assert!(quota.take(2, 3).is_none());
        assert_eq!(quota.in_use(), 2, "a refusal takes nothing");
        assert!(first.grow(1, 3) && !first.grow(1, 3));
        assert!(quota.take(1, 4).is_some(), "a limit that was raised counts at once");
        drop(first);
        assert_eq!(quota.in_use(), 0);
        assert!(quota.take(usize::MAX, usize::MAX).is_some());
        let _one = quota.take(1, 1).expect("room");
        assert!(quota.take(usize::MAX, usize::MAX).is_none(), "no overflow");
    }

    #[test]
    fn the_cores_share_a_quota() {
        let quota = <Quota>::default();
        let (here, there) = (quota.on_core(), quota.on_core());
        let first = here.take(2, 3).expect("room");
        assert!(there.take(2, 3).is_none() && quota.take(1, 3).is_some());
        drop((here, first));
        assert!(there.take(3, 3).is_some());
    }
}
