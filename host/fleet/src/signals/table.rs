//! The blocks of prompts that one deployment was sent, without a lock.
//!
//! A table is a cache with sets of eight entries, each set one line of the processor's cache. A new
//! block takes the place of the least recently used one of its set. An entry is one word, so that a
//! lookup reads at most one line, and cores that write at once at worst lose an entry.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Entries of a set.
const WAYS: usize = 8;
/// Resolution of the time of last use.
const TICK: Duration = Duration::from_millis(250);
/// An entry: 40 bits of the block's hash, [`PROVEN`], and the tick of its last use. The tick wraps
/// after 24 days: see [`age`].
const TAG: u64 = !0 << 24;
/// The deployment has begun to answer a prompt with this block.
const PROVEN: u64 = 1 << 23;
const STAMP: u64 = PROVEN - 1;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// The blocks of one deployment.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[Set]>,
    /// Entries that were last used in this tick or before are forgotten. 0: none.
    horizon: AtomicU64,
}

/// The beginning of a prompt that a table has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Its length.
    pub(super) blocks: usize,
    /// The tick in which its last block was last used. 0 if there is none.
    pub(super) used: u64,
}

/// The number of ticks from `start` to `now`, at least 1.
pub(super) fn tick(start: Instant, now: Instant) -> u64 {
    let passed = now.saturating_duration_since(start);
    u64::try_from(passed.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX - 1) + 1
}

/// Ticks since an entry was last used. An entry that looks older than 12 days is taken for new:
/// another core, whose clock was read later, has just written it.
fn age(word: u64, now: u64) -> u64 {
    let age = now.wrapping_sub(word) & STAMP;
    if age > STAMP / 2 { 0 } else { age }
}

impl Table {
    /// Bytes of an entry.
    pub(super) const ENTRY: usize = size_of::<Set>() / WAYS;

    /// An empty table for about so many blocks.
    pub(super) fn new(blocks: usize) -> Self {
        let sets = (0..blocks.div_ceil(WAYS).max(1)).map(|_| Set::default()).collect();
        Self { sets, horizon: AtomicU64::new(0) }
    }

    /// The most blocks that it holds.
    pub(super) fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// The longest beginning of a prompt whose last block it has. `proven`: only blocks that the
    /// deployment has begun to answer count.
    ///
    /// Hashes are chained and a prompt's first blocks are used at least as often as later ones, so
    /// a block that is found stands for all before it, and a binary search finds the end. A block
    /// that its set has lost is covered by the next one.
    pub(super) fn known(&self, hashes: &[u64], proven: bool, now: u64) -> Known {
        let find = |at: usize| {
            let word = self.find(*hashes.get(at)?, now)?;
            (!proven || word & PROVEN != 0).then_some(word)
        };
        let near = |at: usize| {
            find(at).map(|word| (at, word)).or_else(|| find(at + 1).map(|word| (at + 1, word)))
        };
        let Some(mut last) = near(0) else { return Known::default() };
        let mut end = hashes.len() - 1;
        if let Some(word) = find(end) {
            (last, end) = ((end, word), end + 1);
        }
        while last.0 + 1 < end {
            let middle = usize::midpoint(last.0 + 1, end);
            match near(middle) {
                Some(found) if found.0 < end => last = found,
                _ => end = middle,
            }
        }
        Known { blocks: last.0 + 1, used: now.saturating_sub(age(last.1, now)) }
    }

    /// Notes that a prompt with these blocks was sent, or that its answer has begun (`proven`). Of a
    /// prompt that would fill more than half of the table, only the beginning is noted.
    pub(super) fn note(&self, hashes: &[u64], proven: bool, now: u64) {
        let most = (self.capacity() / 2).max(1);
        // Backwards, so that the end of a prompt is forgotten before its beginning, as in engines.
        for hash in hashes.iter().take(most).rev() {
            self.touch(*hash, proven, now);
        }
    }

    /// Takes back blocks that were noted, as far as they are not proven.
    pub(super) fn take_back(&self, hashes: &[u64]) {
        for hash in hashes {
            for entry in &self.set(*hash).0 {
                let word = entry.load(Ordering::Relaxed);
                if word & TAG == hash & TAG && word & PROVEN == 0 {
                    entry.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    /// Forgets what was last used in this tick or before.
    pub(super) fn forget_until(&self, tick: u64) {
        self.horizon.fetch_max(tick, Ordering::Relaxed);
    }

    /// Adds the entries of another table, as far as they fit.
    pub(super) fn copy(&self, other: &Self, now: u64) {
        self.forget_until(other.horizon.load(Ordering::Relaxed));
        for entry in other.sets.iter().flat_map(|set| &set.0) {
            let word = entry.load(Ordering::Relaxed);
            if word != 0 {
                self.put(word, now);
            }
        }
    }

    fn touch(&self, hash: u64, proven: bool, now: u64) {
        let new = hash & TAG | now & STAMP | if proven { PROVEN } else { 0 };
        for entry in &self.set(hash).0 {
            let word = entry.load(Ordering::Relaxed);
            if word & TAG == hash & TAG && word != 0 {
                // What was forgotten is no proof any more.
                let kept = if self.is_live(word, now) { word & PROVEN } else { 0 };
                if new | kept != word {
                    entry.store(new | kept, Ordering::Relaxed);
                }
                return;
            }
        }
        self.put(new, now);
    }

    /// Puts an entry in the place of an empty one, or of the least recently used one.
    fn put(&self, new: u64, now: u64) {
        let set = self.set(new);
        let mut place = (&set.0[0], 0);
        let _ = set.0.iter().try_for_each(|entry| {
            let word = entry.load(Ordering::Relaxed);
            if word == 0 {
                place.0 = entry;
                return ControlFlow::Break(());
            }
            let age = age(word, now);
            if age > place.1 {
                place = (entry, age);
            }
            ControlFlow::Continue(())
        });
        place.0.store(new, Ordering::Relaxed);
    }

    fn find(&self, hash: u64, now: u64) -> Option<u64> {
        #[cfg(test)]
        PROBES.with(|probes| probes.set(probes.get() + 1));
        let mut words = self.set(hash).0.iter().map(|entry| entry.load(Ordering::Relaxed));
        words.find(|word| word & TAG == hash & TAG && self.is_live(*word, now))
    }

    fn is_live(&self, word: u64, now: u64) -> bool {
        let horizon = self.horizon.load(Ordering::Relaxed);
        word != 0 && (horizon == 0 || age(word, now) < now.saturating_sub(horizon))
    }

    /// The set of a hash, or of an entry: both begin with the same bits.
    fn set(&self, hash: u64) -> &Set {
        let at = (((hash >> 32) * self.sets.len() as u64) >> 32) as usize;
        &self.sets[at]
    }
}

#[cfg(test)]
thread_local! {
    /// Lookups of one block by this thread.
    pub(super) static PROBES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
#[path = "table_tests.rs"]
pub(super) mod tests;
