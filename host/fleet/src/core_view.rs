//! One core's view of the board. A request takes the snapshot without touching memory that other
//! cores write to.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::{Board, Snapshot};

/// A snapshot that requests of one core hold. The `Rc` counts them on that core, so that the
/// requests of all cores do not contend for one reference count.
pub type Held = Rc<Arc<Snapshot>>;

/// The view of one core. Its own reference is weak, so that it does not keep a replaced snapshot
/// alive.
#[derive(Debug)]
pub struct CoreView {
    board: Arc<Board>,
    last: RefCell<Weak<Arc<Snapshot>>>,
}

impl CoreView {
    /// A view of `board`.
    #[must_use]
    pub fn of(board: Arc<Board>) -> Self {
        Self { board, last: RefCell::default() }
    }

    /// The current snapshot. All requests share one `Rc` until the board has a new snapshot.
    #[must_use]
    pub fn now(&self) -> Held {
        let now = self.board.peek();
        let mut last = self.last.borrow_mut();
        if let Some(last) = last.upgrade().filter(|last| Arc::ptr_eq(last, &now)) {
            return last;
        }
        let held = Rc::new(Arc::clone(&now));
        *last = Rc::downgrade(&held);
        held
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{Fleet, Generation};
    use config::Config;

    fn snapshot() -> Snapshot {
        let config = Config::default();
        let (fleet, strategies) = (Fleet::build(&config, None), Vec::new());
        let generation =
            Generation { config, fleet, strategies, books: None, loaded_at: SystemTime::now() };
        let (routes, strategy_states) = Default::default();
        Snapshot { generation: Arc::new(generation), routes, strategy_states }
    }

    #[test]
    fn requests_share_a_snapshot_and_keep_it_when_there_is_a_new_one() {
        let board = Arc::new(Board::new(snapshot()));
        let view = CoreView::of(Arc::clone(&board));
        let first = view.now();
        assert!(Rc::ptr_eq(&first, &view.now()));
        board.publish(snapshot());
        let second = view.now();
        assert!(!Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&second, &board.snapshot()));
        assert!(Rc::ptr_eq(&second, &view.now()));
    }

    #[test]
    fn a_replaced_snapshot_lives_until_released() {
        let board = Arc::new(Board::new(snapshot()));
        let view = CoreView::of(Arc::clone(&board));
        let request = view.now();
        let replaced = Arc::downgrade(&request);
        board.publish(snapshot());
        assert!(board.release(), "a request uses it");
        drop(request);
        assert_eq!(replaced.strong_count(), 1, "the core does not drop it");
        assert!(!board.release());
        assert_eq!(replaced.strong_count(), 0);
    }
}
