//! Idle connections of one core, by origin; the most recently used first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::time::Instant;

use crate::config::Origin;

use super::{IDLE, Sender};

/// Idle connections kept for one origin.
const MOST: usize = 256;

#[derive(Debug, Default, Clone)]
pub(super) struct Pool {
    idle: Rc<RefCell<HashMap<Origin, Vec<Idle>>>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Pool {
    /// A connection that is open as far as is known.
    pub(super) fn take(&self, origin: &Origin) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(origin)?;
        // The oldest stand first: what is too old is at the front.
        let fresh = list.partition_point(|idle| idle.since.elapsed() >= IDLE);
        list.drain(..fresh);
        while let Some(Idle { sender, .. }) = list.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Ties a connection in use to the pool it goes back to.
    pub(super) fn lease(&self, origin: Origin, sender: Sender) -> Lease {
        Lease { pool: self.clone(), origin, sender }
    }

    fn put(&self, origin: Origin, sender: Sender) {
        let mut idle = self.idle.borrow_mut();
        let list = idle.entry(origin).or_default();
        list.retain(|idle| idle.since.elapsed() < IDLE && !idle.sender.is_closed());
        if list.len() < MOST {
            list.push(Idle { sender, since: Instant::now() });
        }
    }
}

/// A connection whose answer is still coming.
#[derive(Debug)]
pub(in super::super) struct Lease {
    pool: Pool,
    origin: Origin,
    sender: Sender,
}

impl Lease {
    /// Gives the connection back. For an answer whose body has ended: the connection becomes ready
    /// as soon as its driver has noticed that too.
    pub(in super::super) fn release(self) {
        let Self { pool, origin, mut sender } = self;
        if sender.is_ready() {
            return pool.put(origin, sender);
        }
        tokio::task::spawn_local(async move {
            if sender.ready().await.is_ok() {
                pool.put(origin, sender);
            }
        });
    }
}
