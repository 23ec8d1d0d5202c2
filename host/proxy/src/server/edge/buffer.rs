//! Bytes read from a client that neither hyper nor the service has been given yet.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::buffers::{self, Spares};

/// Capacity of a usual buffer, in bytes.
const USUAL: usize = 8 << 10;

thread_local! {
    static SPARES: Spares<Vec<u8>> = const { Spares::new() };
}

/// A buffer that is filled at its end and emptied at its start. It has memory only while it holds
/// something.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Whether a read would find no room.
    pub(super) fn is_full(&self) -> bool {
        self.filled().len() == self.bytes.capacity().max(USUAL)
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.is_empty() {
            self.rest();
        }
    }

    pub(super) fn clear(&mut self) {
        self.start = self.bytes.len();
        self.rest();
    }

    /// Puts bytes into an empty buffer.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.clear();
        self.take_memory();
        self.bytes.extend_from_slice(bytes);
    }

    /// Doubles the room of a full buffer.
    pub(super) fn grow(&mut self) {
        if self.is_full() {
            self.bytes.reserve_exact(self.bytes.capacity());
        }
    }

    /// Reads once into the free room. 0: the client is gone.
    pub(super) fn fill<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        self.take_memory();
        if self.start > 0 && self.bytes.len() == self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let read = pin!(reader.read_buf(&mut self.bytes)).poll(cx);
        if self.is_empty() {
            self.rest();
        }
        read
    }

    fn take_memory(&mut self) {
        if self.bytes.capacity() == 0 {
            self.bytes = buffers::take(&SPARES).unwrap_or_else(|| Vec::with_capacity(USUAL));
        }
    }

    /// Gives back the memory of an empty buffer.
    fn rest(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.start = 0;
        bytes.clear();
        // A buffer that grew for a long head is dropped.
        if bytes.capacity() == USUAL {
            buffers::keep(&SPARES, bytes);
        }
    }
}
