//! The board as one core sees it: a request takes a snapshot without touching what other cores write to.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::{Board, Snapshot};

/// A snapshot that requests of one core hold. They count themselves, where no other core does: all requests of all
/// cores would else go by one count of references.
pub type Held = Rc<Arc<Snapshot>>;

/// The board as one core sees it.
#[derive(Debug)]
pub struct View {
    board: Arc<Board>,
    seen: RefCell<Held>,
}

impl View {
    /// A view of `board`.
    #[must_use]
    pub fn of(board: Arc<Board>) -> Rc<Self> {
        let seen = RefCell::new(Rc::new(board.snapshot()));
        Rc::new(Self { board, seen })
    }

    /// The current snapshot.
    pub fn now(&self) -> Held {
        let mut seen = self.seen.borrow_mut();
        let now = self.board.peek();
        if !Arc::ptr_eq(&now, &seen) {
            *seen = Rc::new(Arc::clone(&now));
        }
        Rc::clone(&seen)
    }

    /// Lets go of each snapshot that is replaced, for as long as the view is there: a core without requests would
    /// else keep what nobody uses.
    pub async fn follow(view: Weak<Self>) {
        let Some(mut published) = view.upgrade().map(|view| view.board.published()) else {
            return;
        };
        while let Some(view) = view.upgrade() {
            view.now();
            drop(view);
            if published.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tokio::runtime::{Builder, LocalOptions};
    use tokio::time::timeout;

    use super::*;
    use crate::config::Config;
    use crate::fleet::{Fleet, Generation};

    fn snapshot() -> Snapshot {
        let config = Config::default();
        let (fleet, strategies) = (Fleet::build(&config, None), Vec::new());
        let generation = Generation { config, fleet, strategies, loaded_at: SystemTime::now() };
        let (routes, strategy_errors) = Default::default();
        Snapshot { generation: Arc::new(generation), routes, strategy_errors }
    }

    #[test]
    fn a_request_keeps_its_snapshot_and_the_next_one_has_the_new_one() {
        let board = Arc::new(Board::new(snapshot()));
        let view = View::of(Arc::clone(&board));
        let first = view.now();
        board.publish(snapshot());
        let second = view.now();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &board.snapshot()) && Rc::ptr_eq(&second, &view.now()));
    }

    #[test]
    fn a_core_without_requests_lets_go_of_what_is_replaced() {
        let options = LocalOptions::default();
        let runtime =
            Builder::new_current_thread().enable_time().build_local(options).expect("a runtime");
        let board = Arc::new(Board::new(snapshot()));
        let view = View::of(Arc::clone(&board));
        let first = Arc::downgrade(&board.snapshot());
        // Published before it is followed, and after.
        runtime.spawn_local(View::follow(Rc::downgrade(&view)));
        for _ in 0..2 {
            let old = Arc::downgrade(&board.snapshot());
            board.publish(snapshot());
            let gone = async {
                while old.strong_count() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            let gone = runtime.block_on(async { timeout(Duration::from_secs(20), gone).await });
            gone.expect("nobody holds it");
        }
        assert_eq!(first.strong_count(), 0);
    }
}
