//! The pieces of the request path with fixed input, shared by all benchmarks.

mod attempt;
mod draw;
mod fleet;
mod scan;
mod stream;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A piece. It must be made and run inside a Tokio runtime with time enabled.
pub(crate) struct Piece {
    /// Kind and size, such as `draw/16`.
    pub(crate) name: String,
    make: Box<dyn Fn() -> Run>,
}

/// Runs a piece once.
pub(crate) type Run = Box<dyn FnMut()>;

impl Piece {
    fn new(name: impl Into<String>, make: impl Fn() -> Run + 'static) -> Self {
        Self { name: name.into(), make: Box::new(make) }
    }

    /// Makes the input of the piece, which must not be measured.
    pub(crate) fn make(&self) -> Run {
        (self.make)()
    }
}

/// All pieces, in the order of the request path.
pub(crate) fn all() -> Vec<Piece> {
    [scan::pieces(), draw::pieces(), attempt::pieces(), stream::pieces()]
        .into_iter()
        .flatten()
        .collect()
}

/// Polls a future that never waits to its end. A runtime's share is not measured.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        // A strategy yields each millisecond, and continues at the next poll.
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}
