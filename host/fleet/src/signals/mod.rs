//! The signals that the host itself knows: numbers of a deployment, a model or a request that
//! strategies ask for by name ([`contract::Signal`] lists them).
//!
//! Nothing is recorded and no memory is taken until a strategy asks ([`FleetModel::want`]). From
//! then on each attempt at a deployment of the model carries a [`Trace`], which records it. The
//! live path keeps it in the [`Permit`](crate::Permit), the simulator in its attempts.
//!
//! Memory of a deployment whose strategy asks: about 300 bytes; 3.4 KiB each for quantiles over one
//! and over 15 minutes, from the first sample on; and a [table](prefixes) of prompt prefixes, whose
//! total is bounded.

mod average;
mod known;
mod prefixes;
mod sketch;
mod table;
#[cfg(test)]
mod tests;
mod trace;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use contract::{Side, Signal, SignalSet};

use average::Average;
use prefixes::DeploymentPrefixes;
use sketch::Sketch;

pub use known::{Prices, SignalSource};
pub use prefixes::PrefixIndex;
pub use trace::{AnswerTokens, Trace};

use super::{FleetModel, Rate};

/// Window of the share of refused attempts.
const RECENT: Duration = Duration::from_secs(60);
/// Sub-windows of the quantiles over one minute, and over 15.
const SUB_WINDOWS: [Duration; 2] = [Duration::from_secs(6), Duration::from_secs(90)];

/// What is recorded, as bits of [`ModelSignals::wanted`]: anything, quantiles over one minute and
/// over 15, and what depends on requests.
const TRACED: u8 = 1;
const QUANTILES: [u8; 2] = [2, 4];
const REQUEST: u8 = 8;

/// The part of a request that signals depend on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequestSignals {
    /// Tokens of the prompt, estimated. None if it has no prompt.
    pub prompt_tokens: Option<u32>,
    /// Limit on the tokens of the answer, if the request sets one.
    pub max_output_tokens: Option<u32>,
    /// Hashes of the prompt's first block, its first two, and so on.
    pub prefixes: Vec<u64>,
    /// Tokens of each block, estimated.
    pub block_tokens: u32,
    /// Tokens before the first block: instructions and tools. Whoever has a block has these.
    pub head_tokens: u32,
}

impl RequestSignals {
    /// Estimated tokens of the prompt's first blocks, and of what is before them.
    pub(super) fn tokens_of(&self, blocks: usize) -> f64 {
        if blocks == 0 {
            return 0.0;
        }
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        let tokens = f64::from(self.head_tokens) + f64::from(blocks) * f64::from(self.block_tokens);
        tokens.min(self.prompt_tokens.map_or(f64::INFINITY, f64::from))
    }
}

/// What the deployments of a model share. Kept over reloads.
#[derive(Debug, Default)]
pub struct ModelSignals {
    /// What is recorded.
    wanted: AtomicU8,
    /// The next number of `model.sequence`.
    sequence: AtomicU64,
    /// Tokens of whole answers.
    completion: Average,
}

impl ModelSignals {
    /// The next number: 0, 1, 2 and so on.
    fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    fn wants(&self, bit: u8) -> bool {
        self.wanted.load(Ordering::Relaxed) & bit != 0
    }
}

/// What is recorded of one deployment. Kept over reloads.
#[derive(Debug)]
pub struct DeploymentSignals {
    side: Side,
    model: Arc<ModelSignals>,
    index: Arc<PrefixIndex>,
    /// Made when a strategy asks for the first time.
    records: OnceLock<Box<Records>>,
}

/// The records of one deployment.
#[derive(Debug)]
struct Records {
    /// When recording began. All windows count from here, so that a simulation can be repeated.
    start: Instant,
    /// Attempts that were settled, and those of them that were refused because it was full.
    settled: Rate,
    refused: Rate,
    /// Milliseconds from sending a request to the end of its good answer.
    duration: Average,
    /// Tokens a second of one streamed answer.
    speed: Average,
    /// Milliseconds for which an attempt that was not refused holds its place.
    held: Average,
    /// Estimated uncached prompt tokens of attempts without a first byte.
    backlog: AtomicU64,
    /// First bytes of the last minute, and of the last 15.
    first_bytes: [OnceLock<Box<Sketch>>; 2],
    prefixes: DeploymentPrefixes,
}

impl DeploymentSignals {
    /// Starts without records.
    #[must_use]
    pub fn new(side: Side, model: Arc<ModelSignals>, index: Arc<PrefixIndex>) -> Self {
        Self { side, model, index, records: OnceLock::new() }
    }

    /// Records from now on what these signals need, and frees the memory of prompt prefixes if none
    /// of them does. All deployments of the model record the same.
    pub fn want(&self, signals: SignalSet, now: Instant) {
        let wanted = bits(signals);
        self.model.wanted.store(wanted, Ordering::Relaxed);
        if wanted != 0 {
            self.records.get_or_init(|| Box::new(Records::new(&self.index, now)));
        }
        if let Some(records) = self.records.get() {
            records.prefixes.want(wanted & REQUEST != 0);
        }
    }

    /// The trace of an attempt that is sent now. None if no strategy asks for anything recorded.
    #[must_use]
    pub fn trace(self: &Arc<Self>, sent: Instant) -> Option<Box<Trace>> {
        let is_wanted = self.model.wants(TRACED) && self.records.get().is_some();
        is_wanted.then(|| Box::new(Trace::new(Arc::clone(self), sent)))
    }

    /// True if a wanted signal depends on the request: see [`Trace::carry`].
    #[must_use]
    pub fn wants_requests(&self) -> bool {
        self.model.wants(REQUEST)
    }

    /// Forgets which prompts it has: the engine was restarted, or is out of use.
    pub fn forget_prefixes(&self) {
        if let Some(records) = self.records.get() {
            records.prefixes.forget();
        }
    }

    /// Sets the size of the engine's cache in blocks of the host, 512 bytes of a prompt each. Without it
    /// the index keeps 4,096.
    pub fn set_cache_blocks(&self, blocks: u32, now: Instant) {
        if let Some(records) = self.records.get() {
            records.prefixes.resize(blocks, now);
        }
    }

    fn first_byte(&self, took: Duration, now: Instant) {
        let Some(records) = self.records.get() else { return };
        for (at, length) in SUB_WINDOWS.into_iter().enumerate() {
            if self.model.wants(QUANTILES[at]) {
                let new = || Box::new(Sketch::new(length, records.start));
                records.first_bytes[at].get_or_init(new).record(took, now);
            }
        }
    }
}

impl Records {
    fn new(index: &Arc<PrefixIndex>, now: Instant) -> Self {
        Self {
            start: now,
            settled: Rate::new(RECENT, now),
            refused: Rate::new(RECENT, now),
            duration: Average::default(),
            speed: Average::default(),
            held: Average::default(),
            backlog: AtomicU64::new(0),
            first_bytes: Default::default(),
            prefixes: DeploymentPrefixes::new(Arc::clone(index), now),
        }
    }
}

impl FleetModel {
    /// Records from now on what these signals need: those that the model's strategy and its
    /// candidate ask for. Must be called for each model after each load, also if they ask for none.
    pub fn want(&self, signals: SignalSet, now: Instant) {
        self.signals.wanted.store(bits(signals), Ordering::Relaxed);
        for deployment in &self.deployments {
            deployment.signals.want(signals, now);
        }
    }

    /// True if a wanted signal depends on the request, so that its [`RequestSignals`] are needed.
    #[must_use]
    pub fn wants_requests(&self) -> bool {
        self.signals.wants(REQUEST)
    }

    /// The value of a signal of the model. Each call takes the next number of `model.sequence`, so a
    /// question to a strategy must make only one. NaN for signals of deployments.
    #[must_use]
    pub fn global(&self, signal: Signal) -> f64 {
        match signal {
            #[expect(clippy::cast_precision_loss, reason = "2^53 requests take long")]
            Signal::ModelSequence => self.signals.next() as f64,
            _ => f64::NAN,
        }
    }
}

/// What must be recorded for these signals.
fn bits(signals: SignalSet) -> u8 {
    use Signal as S;
    let any = |of: &[Signal]| of.iter().any(|signal| signals.contains(*signal));
    let mut bits = 0;
    if any(&[S::RefusedRate, S::DurationMean, S::TokensPerSecond, S::LineWait]) {
        bits |= TRACED;
    }
    if any(&[S::FirstByteP50, S::FirstByteP90, S::FirstByteP99]) {
        bits |= TRACED | QUANTILES[0];
    }
    if any(&[S::FirstByteP50Long, S::FirstByteP90Long, S::FirstByteP99Long]) {
        bits |= TRACED | QUANTILES[1];
    }
    if any(&[S::PrefillBacklog, S::PrefixTokens, S::RequestCost]) {
        bits |= TRACED | REQUEST;
    }
    bits
}
