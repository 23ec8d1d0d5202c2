//! A byte queue for the part of an answer that is held back.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// In bytes. A shorter piece is copied to the end of the piece before it. A separate piece costs
/// about 100 bytes of memory, and an upstream may send each byte in a chunk of its own.
const SHORT: usize = 512;
/// In bytes. Short pieces are merged up to this size.
const COLLECTED: usize = 64 * 1024;

/// A queue of pieces. Merging short pieces bounds its overhead.
#[derive(Debug, Default)]
pub(super) struct Held {
    pieces: VecDeque<Bytes>,
    /// Merged short pieces. They come after all of `pieces`.
    short: BytesMut,
    /// Total length of `pieces` and `short`.
    bytes: usize,
}

impl Held {
    /// How many bytes are held.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends a piece. Copies it only if it is short.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        // The first piece is never copied: most answers come in one piece.
        if piece.len() < SHORT && self.bytes > piece.len() {
            self.short.extend_from_slice(&piece);
            if self.short.len() >= COLLECTED {
                self.close();
            }
        } else if !piece.is_empty() {
            self.close();
            self.pieces.push_back(piece);
        }
    }

    /// Removes and returns the first piece.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if self.pieces.is_empty() {
            self.close();
        }
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }

    /// Removes the bytes behind the first `length`.
    pub(super) fn truncate(&mut self, length: usize) {
        while self.bytes > length {
            let excess = self.bytes - length;
            if !self.short.is_empty() {
                let kept = self.short.len().saturating_sub(excess);
                self.bytes -= self.short.len() - kept;
                self.short.truncate(kept);
            } else if let Some(mut last) = self.pieces.pop_back() {
                let kept = last.len().saturating_sub(excess);
                self.bytes -= last.len() - kept;
                last.truncate(kept);
                if kept > 0 {
                    self.pieces.push_back(last);
                }
            } else {
                return;
            }
        }
    }

    /// A copy of the bytes at these positions.
    pub(super) fn copy(&self, at: Range<usize>) -> Vec<u8> {
        let (mut copy, mut start) = (Vec::with_capacity(at.len()), 0);
        for piece in self.pieces.iter().map(|piece| &piece[..]).chain([&self.short[..]]) {
            let end = start + piece.len();
            let (from, to) = (at.start.max(start), at.end.min(end));
            if from < to {
                copy.extend_from_slice(&piece[from - start..to - start]);
            }
            start = end;
        }
        copy
    }

    /// Removes and returns all bytes. Copies them only if there are several pieces.
    pub(super) fn gather(&mut self) -> Bytes {
        self.close();
        let size = std::mem::take(&mut self.bytes);
        let mut pieces = std::mem::take(&mut self.pieces);
        match pieces.len() {
            0 => Bytes::new(),
            1 => pieces.swap_remove_front(0).unwrap_or_default(),
            _ => {
                let mut all = BytesMut::with_capacity(size);
                pieces.into_iter().for_each(|piece| all.extend_from_slice(&piece));
                all.freeze()
            }
        }
    }

    /// Moves the merged short pieces to `pieces`.
    fn close(&mut self) {
        if !self.short.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.short).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_piece_is_not_copied() {
        let piece = Bytes::from_static(b"{}");
        let mut held = Held::default();
        held.push(Bytes::new());
        held.push(piece.clone());
        let all = held.gather();
        assert_eq!((all.as_ptr(), all.len()), (piece.as_ptr(), piece.len()));
        assert!(held.is_empty() && held.pop().is_none());
    }

    #[test]
    fn a_mebibyte_of_single_bytes_is_a_few_pieces() {
        let mut held = Held::default();
        (0..1 << 20).for_each(|_| held.push(Bytes::from_static(b"x")));
        let count = std::iter::from_fn(|| held.pop()).map(|piece| piece.len()).collect::<Vec<_>>();
        assert_eq!(count.iter().sum::<usize>(), 1 << 20);
        assert!(count.len() <= (1 << 20) / COLLECTED + 2, "{count:?}");
    }

    #[test]
    fn only_short_pieces_behind_the_first_are_copied() {
        let sizes = [1, SHORT - 1, SHORT, SHORT - 1, SHORT];
        let pieces = sizes.map(|size| Bytes::from(vec![b'x'; size]));
        let mut held = Held::default();
        pieces.iter().for_each(|piece| held.push(piece.clone()));
        for (i, piece) in pieces.iter().enumerate() {
            let next = held.pop().expect("a piece");
            assert_eq!(next.len(), piece.len());
            let is_copy = next.as_ptr() != piece.as_ptr();
            assert_eq!(is_copy, i > 0 && piece.len() < SHORT, "{i}");
        }
        assert!(held.is_empty());
    }

    #[test]
    fn short_pieces_are_merged_up_to_the_limit() {
        let mut held = Held::default();
        (0..=COLLECTED / 256 + 1).for_each(|_| held.push(Bytes::from_static(&[b'x'; 256])));
        let sizes: Vec<usize> =
            std::iter::from_fn(|| held.pop()).map(|piece| piece.len()).collect();
        assert_eq!(sizes, [256, COLLECTED, 256]);
    }

    proptest! {
        #[test]
        fn bytes_go_out_as_they_came(steps in proptest::collection::vec((0usize..2000, 0u8..4), 0..200)) {
            let (mut held, mut came, mut went) = (Held::default(), Vec::new(), Vec::new());
            for (step, (size, what)) in steps.into_iter().enumerate() {
                match what {
                    0 => went.extend_from_slice(&held.pop().unwrap_or_default()),
                    1 if size < 100 => went.extend_from_slice(&held.gather()),
                    2 => {
                        let kept = held.len().saturating_sub(size);
                        held.truncate(kept);
                        came.truncate(went.len() + kept);
                    }
                    _ => {
                        came.resize(came.len() + size, step as u8);
                        held.push(Bytes::from(vec![step as u8; size]));
                    }
                }
                prop_assert_eq!(held.len(), came.len() - went.len());
                let middle = held.len() / 3..held.len() - held.len() / 3;
                let want = &came[went.len() + middle.start..went.len() + middle.end];
                prop_assert_eq!(held.copy(middle.clone()), want);
            }
            went.extend_from_slice(&held.gather());
            prop_assert_eq!(went, came);
        }
    }
}
