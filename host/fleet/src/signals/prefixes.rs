//! The index of prompt prefixes: which deployment likely has which prompt's beginning in its cache.
//!
//! There is one index in the host. All cores and strategies share it. Each deployment of a model
//! whose strategy asks has a [`Table`] of the blocks that it was sent, as large as its engine's
//! cache. All tables together take at most 128 MiB.
//!
//! Answers that report `cached_tokens` correct the index. Expected are only blocks of prompts that
//! the deployment had begun to answer before: of two prompts sent together, neither is cached for
//! the other. If an answer reports less than half of what was expected:
//!
//! - All blocks are forgotten that were last used no later than the expected ones. An engine gives
//!   up what was not used for longest, so those are gone, too.
//! - A moving average of the reported share of the expected tokens falls. It scales all that is
//!   told of the deployment, so that an engine without a prefix cache soon counts as having nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;

use contract::Side;

use super::RequestSignals;
use super::average::Average;
use super::table::{Known, Table, tick};

/// Blocks of a deployment whose engine does not tell the size of its cache: half a million tokens
/// in blocks of 512 bytes, 32 KiB of memory.
const DEFAULT_BLOCKS: u32 = 4096;
/// Most blocks of one deployment, 2 MiB of memory.
const MOST_BLOCKS: u32 = 1 << 18;
/// Least blocks of a deployment, however many there are.
const LEAST_BLOCKS: usize = 64;
/// Entries of all tables together, 128 MiB of memory.
const MOST_ENTRIES: usize = (128 << 20) / Table::ENTRY;
/// Expectations below this say nothing: engines cache whole blocks of their own.
const LEAST_EXPECTED: f64 = 256.0;
/// The same for remote deployments, in tokens. APIs cache no prompt below 1,024 tokens, and 128
/// tokens at a time.
const LEAST_EXPECTED_REMOTE: f64 = 1152.0;

/// The memory that the tables of all deployments share.
#[derive(Debug, Default)]
pub struct PrefixIndex {
    /// Deployments that have or may get a table.
    deployments: AtomicUsize,
    /// Entries of all tables.
    entries: AtomicUsize,
}

/// One deployment's part of the index.
#[derive(Debug)]
pub(super) struct DeploymentPrefixes {
    index: Arc<PrefixIndex>,
    /// Times of last use count from here.
    start: Instant,
    /// A strategy asks for it.
    is_wanted: AtomicBool,
    /// Made for the first prompt that is sent.
    table: ArcSwapOption<Granted>,
    /// Size of the engine's cache, in blocks.
    blocks: AtomicU32,
    /// Moving average of the reported share of the expected tokens, 0 to 1.
    share: Average,
}

/// A table, and the memory that it takes of the index.
#[derive(Debug)]
struct Granted {
    table: Table,
    index: Arc<PrefixIndex>,
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.index.entries.fetch_sub(self.table.capacity(), Ordering::Relaxed);
    }
}

impl PrefixIndex {
    /// Memory of all tables, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.load(Ordering::Relaxed) * Table::ENTRY
    }

    /// A table for `blocks` blocks, or a smaller one if there are many deployments. None if the
    /// memory is used up.
    fn grant(self: &Arc<Self>, blocks: u32) -> Option<Granted> {
        let fair = (MOST_ENTRIES / self.deployments.load(Ordering::Relaxed).max(1)) & !7;
        let table = Table::new((blocks as usize).min(fair).max(LEAST_BLOCKS));
        let before = self.entries.fetch_add(table.capacity(), Ordering::Relaxed);
        let granted = Granted { table, index: Arc::clone(self) };
        (before + granted.table.capacity() <= MOST_ENTRIES).then_some(granted)
    }
}

impl DeploymentPrefixes {
    pub(super) fn new(index: Arc<PrefixIndex>, start: Instant) -> Self {
        Self {
            index,
            start,
            is_wanted: AtomicBool::new(false),
            table: ArcSwapOption::empty(),
            blocks: AtomicU32::new(DEFAULT_BLOCKS),
            share: Average::of(1.0),
        }
    }

    /// Whether prompts are noted. If not, the memory is freed.
    pub(super) fn want(&self, wanted: bool) {
        if self.is_wanted.swap(wanted, Ordering::Relaxed) != wanted {
            match wanted {
                true => self.index.deployments.fetch_add(1, Ordering::Relaxed),
                false => self.index.deployments.fetch_sub(1, Ordering::Relaxed),
            };
            self.forget();
        }
    }

    /// Forgets all prompts: the engine was restarted, or is out of use.
    pub(super) fn forget(&self) {
        self.table.store(None);
        self.share.set(1.0);
    }

    /// Sets the size of the engine's cache in blocks. What is known stays, as far as it fits.
    pub(super) fn resize(&self, blocks: u32, now: Instant) {
        let blocks = blocks.clamp(1, MOST_BLOCKS);
        if self.blocks.swap(blocks, Ordering::Relaxed) == blocks {
            return;
        }
        if let Some(old) = &*self.table.load() {
            let new = self.index.grant(blocks);
            if let Some(new) = &new {
                new.table.copy(&old.table, tick(self.start, now));
            }
            self.table.store(new.map(Arc::new));
        }
    }

    /// Tokens of the prompt that the deployment likely has in its cache. NaN if prompts are not
    /// noted.
    pub(super) fn tokens(&self, request: &RequestSignals, now: Instant) -> f64 {
        if !self.is_wanted.load(Ordering::Relaxed) {
            return f64::NAN;
        }
        request.tokens_of(self.known(request, false, now).blocks) * self.share.get()
    }

    /// Notes a prompt that is sent. Returns what was proven of it before.
    pub(super) fn sent(&self, request: &RequestSignals, now: Instant) -> Known {
        if !self.is_wanted.load(Ordering::Relaxed) || request.prefixes.is_empty() {
            return Known::default();
        }
        let known = self.known(request, true, now);
        let held = self.table.load();
        match &*held {
            Some(held) => held.table.note(&request.prefixes, false, tick(self.start, now)),
            None => {
                let Some(new) = self.index.grant(self.blocks.load(Ordering::Relaxed)) else {
                    return known;
                };
                new.table.note(&request.prefixes, false, tick(self.start, now));
                // Another core may have made one meanwhile. Then one prompt is not noted.
                self.table.compare_and_swap(&*held, Some(Arc::new(new)));
            }
        }
        known
    }

    /// Notes that the answer to a prompt has begun, so that the engine has read it.
    pub(super) fn begun(&self, request: &RequestSignals, now: Instant) {
        self.with(|table| table.note(&request.prefixes, true, tick(self.start, now)));
    }

    /// Takes back a prompt that was sent and not answered.
    pub(super) fn unanswered(&self, request: &RequestSignals) {
        self.with(|table| table.take_back(&request.prefixes));
    }

    /// Compares the cached tokens that an answer reports with what was `expected` when its request
    /// was sent.
    pub(super) fn reported(
        &self,
        request: &RequestSignals,
        expected: Known,
        cached: u64,
        side: Side,
    ) {
        let tokens = request.tokens_of(expected.blocks);
        let least = match side {
            Side::Local => LEAST_EXPECTED,
            Side::Remote => LEAST_EXPECTED_REMOTE,
        };
        if tokens < least {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 tokens")]
        let share = (cached as f64 / tokens).min(1.0);
        self.share.add(share);
        if share < 0.5 {
            self.with(|table| table.forget_until(expected.used));
        }
    }

    fn known(&self, request: &RequestSignals, proven: bool, now: Instant) -> Known {
        let known = |table: &Table| table.known(&request.prefixes, proven, tick(self.start, now));
        self.with(known).unwrap_or_default()
    }

    fn with<T>(&self, act: impl FnOnce(&Table) -> T) -> Option<T> {
        self.table.load().as_ref().map(|held| act(&held.table))
    }
}

impl Drop for DeploymentPrefixes {
    fn drop(&mut self) {
        self.want(false);
    }
}

#[cfg(test)]
#[path = "prefixes_tests.rs"]
mod tests;
