//! Requests that were given up because they got no first byte in time.
//!
//! Closing a connection does not stop an engine at once: llama.cpp's server looks for clients that
//! have left once a second. Until then what was given up takes the engine's places.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long an engine works on for a client that has left.
const WORKS_ON: Duration = Duration::from_secs(1);
/// Most requests that are remembered.
const MOST: usize = 256;

/// The requests that were given up lately.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    /// When the engine stops working on each, the earliest first.
    until: VecDeque<Instant>,
    /// The last of these times.
    last: Option<Instant>,
}

impl GivenUp {
    /// A request is given up.
    pub(super) fn add(&mut self, now: Instant) {
        if self.until.len() < MOST {
            self.until.push_back(now + WORKS_ON);
        }
        self.last = Some(now + WORKS_ON);
    }

    /// The number of them that still take places, and when the first of these becomes free. None:
    /// there are none.
    pub(super) fn alive(&mut self, now: Instant) -> Option<(u32, Instant)> {
        while self.until.front().is_some_and(|until| *until <= now) {
            self.until.pop_front();
        }
        let next = *self.until.front()?;
        Some((u32::try_from(self.until.len()).unwrap_or(u32::MAX), next))
    }

    /// True if none is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// True if a request that was sent at `sent` may have waited behind one of them.
    pub(super) fn delayed(&self, sent: Instant) -> bool {
        self.last.is_some_and(|last| sent < last)
    }
}
