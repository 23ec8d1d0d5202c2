//! Idle connections of one core, by origin; the most recently used first.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Origin;

use super::connection::Connection;

/// Idle connections kept for one origin.
const MOST: usize = 256;

#[derive(Debug)]
pub(super) struct Pool {
    shelves: RefCell<HashMap<Origin, Rc<Shelf>>>,
    swept: Cell<Instant>,
    idle: Duration,
}

impl Pool {
    /// A pool whose connections are idle for at most `idle`.
    pub(super) fn new(idle: Duration) -> Self {
        Self { shelves: RefCell::default(), swept: Cell::new(Instant::now()), idle }
    }

    /// The connections to one origin.
    pub(super) fn shelf(&self, origin: &Origin) -> Rc<Shelf> {
        let mut shelves = self.shelves.borrow_mut();
        let now = Instant::now();
        if now.duration_since(self.swept.get()) >= self.idle {
            self.swept.set(now);
            shelves.retain(|_, shelf| {
                shelf.expire(now);
                Rc::strong_count(shelf) > 1 || !shelf.connections.borrow().is_empty()
            });
        }
        if let Some(shelf) = shelves.get(origin) {
            return Rc::clone(shelf);
        }
        let shelf = Rc::new(Shelf { connections: RefCell::default(), idle: self.idle });
        shelves.insert(origin.clone(), Rc::clone(&shelf));
        shelf
    }
}

/// The idle connections to one origin. A connection in use holds on to the shelf it goes back to.
#[derive(Debug)]
pub(super) struct Shelf {
    /// The longest idle first.
    connections: RefCell<Vec<(Instant, Connection)>>,
    idle: Duration,
}

impl Shelf {
    /// A connection that is open as far as is known, idle for less than `at_most`.
    pub(super) fn take(&self, cx: &mut Context<'_>, at_most: Duration) -> Option<Connection> {
        let now = Instant::now();
        let at_most = at_most.min(self.idle);
        let mut connections = self.connections.borrow_mut();
        let fresh = |idle: &mut (Instant, Connection)| now.duration_since(idle.0) < at_most;
        while let Some((_, mut connection)) = connections.pop_if(fresh) {
            if connection.is_quiet(cx) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection that waits for nothing.
    pub(super) fn put(&self, mut connection: Connection) {
        let now = Instant::now();
        self.expire(now);
        let mut connections = self.connections.borrow_mut();
        if connections.len() < MOST {
            connection.rest();
            connections.push((now, connection));
        }
    }

    fn expire(&self, now: Instant) {
        let mut connections = self.connections.borrow_mut();
        let expired = |idle: &(Instant, Connection)| now.duration_since(idle.0) >= self.idle;
        if connections.first().is_some_and(expired) {
            let fresh = connections.partition_point(expired);
            connections.drain(..fresh);
        }
    }
}
