//! The close of a connection whose client may still be sending.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;

/// How much is read and dropped: twice the default of `limits.body_mib`.
const BYTES: usize = 64 << 20;
/// For how long it is read, and until the client has been silent for how long: nginx's
/// `lingering_time` and `lingering_timeout`.
const TIME: Duration = Duration::from_secs(30);
const SILENT: Duration = Duration::from_secs(5);

/// What has been read since the answer ended. A connection that is closed with unread bytes is
/// reset, and many clients report their failed write in place of the answer.
#[derive(Debug)]
pub(super) struct Closing {
    since: Instant,
    /// When the client last sent something.
    heard: Instant,
    bytes: usize,
}

impl Closing {
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self { since: now, heard: now, bytes: 0 }
    }

    /// Reads and drops the client's input until it ends or one of the bounds is reached.
    pub(super) fn poll_drop_input(&mut self, link: &Link, cx: &mut Context<'_>) -> Poll<()> {
        let mut source = link.source.borrow_mut();
        while self.bytes < BYTES {
            source.buffer.clear();
            match source.fill(cx) {
                Poll::Ready(Ok(bytes @ 1..)) => {
                    self.bytes += bytes;
                    self.heard = Instant::now();
                }
                Poll::Ready(_) => break,
                Poll::Pending if link.is_past(self.due(), cx) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn due(&self) -> Instant {
        (self.since + TIME).min(self.heard + SILENT)
    }
}
