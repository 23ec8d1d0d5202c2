//! Idle connections of one core, by origin. The most recently used one is taken first.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::Context;
use std::time::Duration;

use foldhash::HashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use config::Origin;

use super::connection::Connection;

/// Most idle connections kept for one origin.
const MOST: usize = 256;

/// How often expired connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Pool {
    shelves: RefCell<HashMap<Origin, Rc<Shelf>>>,
    /// Notified when a connection is kept.
    kept: Rc<Notify>,
}

impl Pool {
    /// The shelf of an origin. Its connections are kept unused for at most `idle` from now on.
    pub(super) fn shelf(&self, origin: &Origin, idle: Duration) -> Rc<Shelf> {
        let mut shelves = self.shelves.borrow_mut();
        if let Some(shelf) = shelves.get(origin) {
            shelf.idle.set(idle);
            return Rc::clone(shelf);
        }
        let kept = Rc::clone(&self.kept);
        let shelf = Shelf { connections: RefCell::default(), idle: Cell::new(idle), kept };
        let shelf = Rc::new(shelf);
        shelves.insert(origin.clone(), Rc::clone(&shelf));
        shelf
    }

    /// Closes expired connections. True if any connection is left.
    fn expire(&self) -> bool {
        let now = Instant::now();
        let mut shelves = self.shelves.borrow_mut();
        shelves.retain(|_, shelf| {
            shelf.expire(now);
            // A shelf stays while a request under way holds it, because its connection returns to
            // it.
            Rc::strong_count(shelf) > 1 || !shelf.connections.borrow().is_empty()
        });
        shelves.values().any(|shelf| !shelf.connections.borrow().is_empty())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.kept.notify_one();
    }
}

/// Closes expired connections of a pool until the pool is dropped. It sleeps while the pool is
/// empty.
pub(super) async fn sweep(pool: Weak<Pool>) {
    while let Some(kept) = pool.upgrade().map(|pool| Rc::clone(&pool.kept)) {
        kept.notified().await;
        while pool.upgrade().is_some_and(|pool| pool.expire()) {
            tokio::time::sleep(SWEEP).await;
        }
    }
}

/// The idle connections to one origin. A connection in use holds the shelf that it goes back to.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Sorted: the longest idle one is first.
    connections: RefCell<Vec<(Instant, Connection)>>,
    idle: Cell<Duration>,
    kept: Rc<Notify>,
}

impl Shelf {
    /// Takes a connection that has been idle for less than `at_most` by `now`, and is open as far
    /// as is known.
    pub(super) fn take(
        &self,
        cx: &mut Context<'_>,
        now: Instant,
        at_most: Duration,
    ) -> Option<Connection> {
        let at_most = at_most.min(self.idle.get());
        let mut connections = self.connections.borrow_mut();
        let fresh = |idle: &mut (Instant, Connection)| now.duration_since(idle.0) < at_most;
        while let Some((_, mut connection)) = connections.pop_if(fresh) {
            if connection.is_quiet(cx) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps an idle connection for the next request, or closes it if there are enough.
    pub(super) fn put(&self, mut connection: Connection) {
        let now = Instant::now();
        self.expire(now);
        let mut connections = self.connections.borrow_mut();
        if connections.len() < MOST && !self.idle.get().is_zero() {
            connection.rest();
            connections.push((now, connection));
            self.kept.notify_one();
        }
    }

    fn expire(&self, now: Instant) {
        let mut connections = self.connections.borrow_mut();
        let expired = |idle: &(Instant, Connection)| now.duration_since(idle.0) >= self.idle.get();
        if connections.first().is_some_and(expired) {
            let fresh = connections.partition_point(expired);
            connections.drain(..fresh);
        }
    }
}
