//! How many requests stall, of those that are answered.

/// Stalls below the last good level lower the limit once they are one in so many answers, and at
/// least two. A single slow prompt is no sign of a full engine.
const ANSWERS: u32 = 10;

/// Good answers and stalls since the limit last fell for stalls.
#[derive(Debug, Default)]
pub(super) struct StallRate {
    answers: u32,
    stalls: u32,
}

impl StallRate {
    /// Counts a good answer.
    pub(super) fn answer(&mut self) {
        self.answers = self.answers.saturating_add(1);
    }

    /// Counts a stall.
    pub(super) fn stall(&mut self) {
        self.stalls = self.stalls.saturating_add(1);
    }

    /// True if the stalls are too many for slow prompts.
    pub(super) fn is_high(&self) -> bool {
        self.stalls >= 2 && self.stalls.saturating_mul(ANSWERS) >= self.answers
    }
}
