//! The length of answers, learnt by the length of prompts.

/// Bins of prompt lengths, each twice as wide as the one before.
pub const BINS: usize = 20;
/// Tokens of an answer while nothing is known.
const UNKNOWN: f64 = 512.0;
/// Answers without which a mean is not known.
const SAMPLES: f64 = 3.0;
/// Answers that a mean remembers: older ones count half as much after as many again.
const REMEMBERED: f64 = 1024.0;

/// A mean of answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    /// Answers.
    pub count: f64,
    /// Their tokens together.
    pub total: f64,
}

impl Mean {
    fn add(&mut self, tokens: f64) {
        if self.count >= REMEMBERED {
            (self.count, self.total) = (self.count / 2.0, self.total / 2.0);
        }
        (self.count, self.total) = (self.count + 1.0, self.total + tokens);
    }

    fn get(self) -> Option<f64> {
        (self.count >= SAMPLES).then(|| self.total / self.count)
    }
}

/// What is known of a model's answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lengths {
    /// All answers.
    pub all: Mean,
    /// Those to prompts of 1, 2 to 3, 4 to 7 tokens and so on.
    pub bins: [Mean; BINS],
}

impl Lengths {
    /// Learns from an answer. One without tokens is none.
    pub fn add(&mut self, prompt: u32, answer: u32) {
        if answer > 0 {
            self.all.add(f64::from(answer));
            self.bins[bin(prompt)].add(f64::from(answer));
        }
    }

    /// Tokens of the answer to a prompt of so many tokens, if that is known.
    #[must_use]
    pub fn expect(&self, prompt: Option<u32>) -> f64 {
        let of_bin = prompt.and_then(|prompt| self.bins[bin(prompt)].get());
        of_bin.or(self.all.get()).unwrap_or(UNKNOWN)
    }
}

fn bin(prompt: u32) -> usize {
    let log = prompt.checked_ilog2().unwrap_or_default();
    usize::try_from(log).map_or(BINS - 1, |log| log.min(BINS - 1))
}
