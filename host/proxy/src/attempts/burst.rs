//! Lets other requests of the core in between, when an upstream sends faster than its answer is
//! read. Tokio does so only after 128 reads, which may be 8 MiB of hostile events.

use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::task::yield_now;

/// In bytes. Reading so many takes at most a millisecond, whatever is in them.
const MOST: usize = 16 * 1024;
/// In bytes. The fixed cost of one chunk.
const CHUNK: usize = 256;

/// Counts the bytes that one task has read without a pause.
#[derive(Debug, Default)]
pub(super) struct Burst(usize);

impl Burst {
    /// Counts a chunk that is read.
    pub(super) fn note(&mut self, length: usize) {
        self.0 += length + CHUNK;
    }

    /// Starts anew after a wait.
    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }

    /// Waits for the other tasks of the core, if it is time.
    pub(super) async fn pause(&mut self) {
        if self.0 > MOST {
            self.0 = 0;
            yield_now().await;
        }
    }

    /// Like [`pause`](Self::pause).
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 > MOST {
            self.0 = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// Cuts a chunk to what is read without a pause. Returns the rest of it.
pub(super) fn cut(chunk: &mut Bytes) -> Bytes {
    chunk.split_off(chunk.len().min(MOST))
}
