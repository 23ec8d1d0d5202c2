//! Bytes read from a client that hyper has not been given yet.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// What one read may take, and what a connection keeps.
const KEPT: usize = 8 << 10;

/// A buffer that is filled at its end and emptied at its start.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; KEPT], start: 0, end: 0 }
    }

    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether a read would find no room.
    pub(super) fn is_full(&self) -> bool {
        self.end - self.start == self.bytes.len()
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            // What a long head needed is given back.
            if self.bytes.len() > KEPT {
                self.bytes = vec![0; KEPT];
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.consume(self.end - self.start);
    }

    /// Puts bytes into an empty buffer.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.clear();
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.end = bytes.len();
    }

    /// Makes room where there is none.
    pub(super) fn grow(&mut self) {
        if self.is_full() {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
    }

    /// Reads once into the room there is. 0: the client is gone.
    pub(super) fn fill<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        if self.start > 0 && self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let mut room = ReadBuf::new(&mut self.bytes[self.end..]);
        let polled = Pin::new(reader).poll_read(cx, &mut room);
        let read = room.filled().len();
        self.end += read;
        polled.map_ok(|()| read)
    }
}
