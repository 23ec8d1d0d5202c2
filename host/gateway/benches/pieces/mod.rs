//! The pieces that a request's path is made of, each on fixed input, for everyone who measures them.

mod attempt;
mod draw;
mod fleet;
mod scan;
mod stream;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A piece. Must be made and run in a tokio runtime with time.
pub(crate) struct Piece {
    /// What it is and of what size, `draw/16`.
    pub(crate) name: String,
    make: Box<dyn Fn() -> Run>,
}

/// Does it once.
pub(crate) type Run = Box<dyn FnMut()>;

impl Piece {
    fn new(name: impl Into<String>, make: impl Fn() -> Run + 'static) -> Self {
        Self { name: name.into(), make: Box::new(make) }
    }

    /// Makes its input, which is not to be measured.
    pub(crate) fn make(&self) -> Run {
        (self.make)()
    }
}

/// All of them, in the order of a request's path.
pub(crate) fn all() -> Vec<Piece> {
    [scan::pieces(), draw::pieces(), attempt::pieces(), stream::pieces()]
        .into_iter()
        .flatten()
        .collect()
}

/// What comes of something that waits for nobody: a runtime's part in it is not measured.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        // A strategy gives the thread back each millisecond, and goes on when it is asked again.
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}
