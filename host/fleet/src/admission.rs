//! Limits on concurrent connections, requests and body bytes. Anything beyond a limit is refused at
//! once, so that admitted requests are served as if the rest had not come.
//!
//! All cores share the counters. The caller passes the limit with each call, so that a reload
//! applies to the next request.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts how much of a limited resource is in use.
#[derive(Debug, Clone, Default)]
pub struct Quota<C = Arc<AtomicUsize>>(C);

/// One core's handle to a quota. Its holds clone an `Rc` of that core, so that cores do not contend
/// for one reference count.
pub type CoreQuota = Quota<Rc<Arc<AtomicUsize>>>;
/// A part of a [`CoreQuota`], given back when dropped.
pub type CoreHold = Hold<Rc<Arc<AtomicUsize>>>;

/// A handle through which a quota and its holds share one count.
pub trait Count: Clone {
    /// The amount in use.
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
    /// A handle to the same count for one core.
    #[must_use]
    pub fn on_core(&self) -> CoreQuota {
        Quota(Rc::new(Arc::clone(&self.0)))
    }
}

impl<C: Count> Quota<C> {
    /// Takes `amount` until the hold is dropped. None if that would exceed `limit`.
    #[must_use]
    pub fn take(&self, amount: usize, limit: usize) -> Option<Hold<C>> {
        let mut hold = Hold { count: self.0.clone(), amount: 0 };
        hold.grow(amount, limit).then_some(hold)
    }

    /// The amount in use.
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
    /// Takes `more` in addition. Returns false and takes nothing if the quota would exceed `limit`.
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

/// The quotas of one gateway.
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
