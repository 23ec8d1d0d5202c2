//! What an attempt took and cost, as far as the upstream tells it, else as an estimate.

use answers::Usage;
use contract::{Ending, Picodollars};
use fleet::{Consumed, Deployment, DeploymentMeters, Spending, TokenKind};

use ledger::Reservation;

use super::{End, Journal};

/// Bytes of an answer per token. Used for a plain answer that tells no usage.
const BYTES: u64 = 4;

impl Journal {
    /// Records the estimated tokens of the prompt, and the images in it.
    pub(in super::super) fn prompted(&mut self, tokens: u64, images: u64) {
        (self.prompt_tokens, self.images) = (tokens, images);
    }

    /// Records the usage that the upstream has reported so far, and the events of content.
    pub(crate) fn used(&mut self, usage: Option<Usage>, events: u32) {
        self.usage = usage;
        self.produced = events.into();
    }

    /// Records that a plain answer is whole, and that so many bytes of it are still to be sent.
    pub(in super::super) fn plain_answer(&mut self, bytes: usize) {
        let bytes = self.response_bytes + bytes as u64;
        // Vectors and ranks have no tokens.
        let is_text = !matches!(self.path, "/v1/embeddings" | "/v1/rerank");
        self.produced = if is_text { bytes / BYTES } else { 0 };
    }

    /// Counts what an attempt took, and returns its cost. `answered`: the client got its answer, or
    /// a part of it. `sent`: its request was written.
    pub(super) fn charge(
        &mut self,
        deployment: &Deployment,
        end: &End,
        answered: bool,
        sent: bool,
        money: Option<Reservation>,
    ) -> Picodollars {
        let Some(usage) = self.usage_of(end, answered, sent) else {
            money.into_iter().for_each(|money| money.settle(Picodollars::ZERO));
            return Picodollars::ZERO;
        };
        if answered {
            self.consumed = Some(usage);
        }
        let cost = self.cost(deployment, &usage);
        if let Some(money) = money {
            let is_error = |status: u16| !(200..300).contains(&status);
            let most = money.most();
            money.settle(match usage.is_estimated {
                false => cost,
                // Providers bill no errors.
                true if !answered && end.status.is_some_and(is_error) => Picodollars::ZERO,
                // An estimate may be too low: nothing that may have been paid is left in a budget.
                true => most.max(cost),
            });
        }
        let spending = match end.ending {
            Ending::Ok => Spending::Answered,
            Ending::Hedged => Spending::Hedged,
            _ => Spending::Wasted,
        };
        deployment.meters.spent(spending, cost);
        count(&deployment.meters, &usage);
        cost
    }

    /// The cost of an attempt with this usage.
    #[inline]
    pub(super) fn cost(&self, deployment: &Deployment, usage: &Usage) -> Picodollars {
        deployment.tariff.cost(Consumed {
            prompt: usage.prompt_tokens,
            cached: usage.cached_tokens.unwrap_or(0),
            written: usage.cache_write_tokens.unwrap_or(0),
            completion: usage.completion_tokens,
            images: self.images,
        })
    }

    /// What an attempt took. None: nothing that anybody pays for, because it was refused, or failed
    /// before the engine worked on it.
    #[inline]
    fn usage_of(&self, end: &End, answered: bool, sent: bool) -> Option<Usage> {
        let estimate = |completion_tokens| Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens,
            is_estimated: true,
            ..Usage::default()
        };
        if answered {
            let is_answer = end.ending != Ending::ClientError;
            return is_answer.then(|| self.usage.unwrap_or_else(|| estimate(self.produced)));
        }
        (sent && end.waste.is_some()).then(|| estimate(0))
    }
}

#[inline]
fn count(meters: &DeploymentMeters, usage: &Usage) {
    let add = |kind, tokens| meters.consumed(kind, usage.is_estimated, tokens);
    add(TokenKind::Prompt, usage.prompt_tokens);
    add(TokenKind::Cached, usage.cached_tokens.unwrap_or(0));
    add(TokenKind::Completion, usage.completion_tokens);
    add(TokenKind::Reasoning, usage.reasoning_tokens.unwrap_or(0));
}
