//! What one attempt takes from the quotas of its deployment.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use super::ToldQuota;
use super::line::{Line, Taken};

/// What an attempt takes from quotas. Its end settles it, once. Dropped without an end, all that was
/// taken counts as used, or nothing of it if the attempt was not made.
#[derive(Debug)]
pub struct QuotaHold {
    holdings: Vec<Holding>,
    /// When the attempt began.
    began: Instant,
    stage: AtomicU8,
}

/// What was taken from one quota.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) line: Arc<Line>,
    pub(super) taken: Taken,
}

/// What an attempt has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaUse {
    /// It was not sent: nothing.
    Unsent,
    /// A request and so many tokens.
    Tokens(u64),
    /// A request and at least so many tokens. It may be all that was reserved.
    AtLeast(u64),
}

/// The stages of a hold: the attempt is not made yet, is under way, or has ended.
const TAKEN: u8 = 0;
const ARMED: u8 = 1;
const SETTLED: u8 = 2;

impl QuotaHold {
    pub(super) fn new(lines: usize, began: Instant) -> Self {
        Self { holdings: Vec::with_capacity(lines), began, stage: AtomicU8::new(TAKEN) }
    }

    pub(super) fn add(&mut self, holding: Holding) {
        self.holdings.push(holding);
    }

    /// Records that the attempt is made.
    pub(crate) fn arm(&self) {
        self.stage.store(ARMED, Ordering::Relaxed);
    }

    /// Ends the attempt. Later calls change nothing.
    pub(super) fn settle(&self, used: QuotaUse, now: Instant) {
        if self.stage.swap(SETTLED, Ordering::Relaxed) == SETTLED {
            return;
        }
        for Holding { line, taken } in &self.holdings {
            match used {
                QuotaUse::Unsent => line.give_back(*taken),
                QuotaUse::Tokens(tokens) => line.settle(*taken, tokens, false, now),
                QuotaUse::AtLeast(tokens) => line.settle(*taken, tokens, true, now),
            }
        }
    }

    /// Records what the answer to the attempt tells. Of several headers of one quota, the tightest
    /// counts: Anthropic tells tokens of prompts, of answers and of both.
    pub(super) fn tell(&self, told: &[ToldQuota], now: Instant) {
        for (at, Holding { line, taken }) in self.holdings.iter().enumerate() {
            let own = told.iter().filter(|told| self.line_of(told) == Some(at));
            let tightest = own.min_by_key(|told| (told.remaining, Reverse(told.reset)));
            if let Some(told) = tightest {
                line.tell(told, *taken, self.began, now);
            }
        }
    }

    /// The quota that a header is about. One that names its window belongs to the quota of that
    /// window, any other one to the first of its unit.
    fn line_of(&self, told: &ToldQuota) -> Option<usize> {
        let is_of_unit = |holding: &Holding| {
            matches!(holding.taken, Taken::Sent(..)) && holding.line.quota.unit == told.unit
        };
        let is_same =
            |holding: &Holding| is_of_unit(holding) && Some(holding.line.quota.per) == told.per;
        let exact = self.holdings.iter().position(is_same);
        exact.or_else(|| self.holdings.iter().position(is_of_unit))
    }
}

impl Drop for QuotaHold {
    fn drop(&mut self) {
        let used = match *self.stage.get_mut() {
            TAKEN => QuotaUse::Unsent,
            _ => QuotaUse::AtLeast(0),
        };
        self.settle(used, crate::now());
    }
}
