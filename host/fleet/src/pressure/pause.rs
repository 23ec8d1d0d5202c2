//! The pause of a deployment that refuses a request while nothing else is out.

use std::time::{Duration, Instant};

use contract::Side;

use super::refused_level::REQUESTS;
use super::sharing::Sharing;

/// The first pause. It doubles up to [`longest`].
const FIRST: Duration = Duration::from_millis(100);

/// Nothing was out, and the deployment still refused: others keep it full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    step: Duration,
    until: Instant,
    /// Requests since the refusal.
    requests: u32,
}

impl Pause {
    /// The pause after a refusal. `before`: the pause that preceded it without a good answer.
    pub(super) fn again(before: Option<Self>, sharing: &Sharing, now: Instant) -> Self {
        let step = before.map_or(FIRST, |pause| (pause.step * 2).min(longest(sharing.side)));
        Self { step, until: now + sharing.jittered(step, now), requests: 0 }
    }

    /// When the pause ends. None: it is over, or a local deployment has missed enough requests to
    /// be tried again.
    pub(super) fn closed(&self, side: Side, now: Instant) -> Option<Instant> {
        let is_due = now >= self.until || (side == Side::Local && self.requests >= REQUESTS);
        (!is_due).then_some(self.until)
    }

    /// Counts a request.
    pub(super) fn count(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }
}

/// The longest pause. A refusal by a local deployment costs little, its owner wants it full, and the
/// place that another gateway offers is free for no longer than an answer takes.
fn longest(side: Side) -> Duration {
    match side {
        Side::Local => Duration::from_secs(1),
        Side::Remote => Duration::from_secs(30),
    }
}
