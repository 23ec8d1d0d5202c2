//! What is recorded of one attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::Outcome;

use super::table::Known;
use super::{DeploymentSignals, RequestSignals};

/// The speed of a shorter answer, in tokens, says little.
const FEWEST_TOKENS: u64 = 8;
/// In seconds. A stream that comes whole within this time was held back on its way.
const SHORTEST: f64 = 0.01;

/// The tokens of an answer, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerTokens {
    /// Tokens of the prompt that came from the deployment's cache, as it reports.
    pub cached: Option<u64>,
    /// Tokens of the answer: as reported, or the number of content events of a stream.
    pub completion: Option<u64>,
    /// True for a stream. The time from first byte to end of other answers says nothing.
    pub is_stream: bool,
}

/// One attempt, as it is recorded for signals. A dropped trace takes back what it counted in.
#[derive(Debug)]
pub struct Trace {
    signals: Arc<DeploymentSignals>,
    sent: Instant,
    request: Option<Arc<RequestSignals>>,
    /// Tokens that it has in the backlog of its deployment.
    backlog: u64,
    /// The part of its prompt that was proven to be cached when it was sent.
    expected: Known,
    begun: Option<Instant>,
    answer: AnswerTokens,
}

impl Trace {
    pub(super) fn new(signals: Arc<DeploymentSignals>, sent: Instant) -> Self {
        let (request, backlog, expected, begun, answer) = Default::default();
        Self { signals, sent, request, backlog, expected, begun, answer }
    }

    /// Notes which request is sent.
    pub fn carry(&mut self, request: &Arc<RequestSignals>) {
        let Some(records) = self.signals.records.get() else { return };
        // Asked before the prompt is noted: else all of it would be known.
        let cached = records.prefixes.tokens(request, self.sent);
        self.expected = records.prefixes.sent(request, self.sent);
        let uncached = request.prompt_tokens.map_or(0.0, f64::from) - cached.max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast saturates, and at most a u32"
        )]
        let uncached = uncached.max(0.0).round() as u64;
        self.backlog = uncached;
        records.backlog.fetch_add(uncached, Ordering::Relaxed);
        self.request = Some(Arc::clone(request));
    }

    /// Records the first byte of the answer for the client.
    pub fn begin(&mut self, now: Instant) {
        if self.begun.is_some() {
            return;
        }
        self.begun = Some(now);
        self.leave_backlog();
        self.signals.first_byte(now.saturating_duration_since(self.sent), now);
        if let Some((request, records)) = self.request.as_ref().zip(self.signals.records.get()) {
            records.prefixes.begun(request, now);
        }
    }

    /// Notes the tokens of the answer, which count if it ends well.
    pub fn tell(&mut self, answer: AnswerTokens) {
        self.answer = answer;
    }

    /// Records the outcome of the attempt, which gives its place back.
    pub fn settle(self, outcome: &Outcome, now: Instant) {
        let Some(records) = self.signals.records.get() else { return };
        records.settled.note(now);
        if matches!(outcome, Outcome::Limited { .. }) {
            // It held its place only until it was refused.
            records.refused.note(now);
            return;
        }
        let held = millis(self.sent, now);
        records.held.add(held);
        if outcome.is_good() == Some(true) {
            records.duration.add(held);
            self.answered(now);
        }
    }

    /// Ends an attempt without an outcome: its client left, or is at fault.
    pub fn end(self, now: Instant) {
        if let Some(records) = self.signals.records.get() {
            records.held.add(millis(self.sent, now));
        }
    }

    /// Records the tokens of a whole answer.
    fn answered(&self, now: Instant) {
        let AnswerTokens { cached, completion, is_stream } = self.answer;
        let Some(records) = self.signals.records.get() else { return };
        if let Some((request, cached)) = self.request.as_ref().zip(cached) {
            records.prefixes.reported(request, self.expected, cached, self.signals.side);
        }
        let Some(tokens) = completion else { return };
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 tokens")]
        let [all, later] = [tokens as f64, tokens.saturating_sub(1) as f64];
        self.signals.model.completion.add(all);
        // The first token came with the first byte.
        if let Some(begun) = self.begun.filter(|_| is_stream && tokens >= FEWEST_TOKENS) {
            let took = now.saturating_duration_since(begun).as_secs_f64();
            if took >= SHORTEST {
                records.speed.add(later / took);
            }
        }
    }

    fn leave_backlog(&mut self) {
        if let Some(records) = self.signals.records.get() {
            let tokens = std::mem::take(&mut self.backlog);
            records.backlog.fetch_sub(tokens, Ordering::Relaxed);
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.leave_backlog();
        // The engine may have read nothing of a prompt that it did not begin to answer.
        if self.begun.is_none()
            && let Some((request, records)) = self.request.as_ref().zip(self.signals.records.get())
        {
            records.prefixes.unanswered(request);
        }
    }
}

fn millis(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}
