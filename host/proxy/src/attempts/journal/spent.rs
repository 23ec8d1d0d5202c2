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
        let usage = self.usage_of(end, answered, sent);
        if let Some(money) = money {
            let cost = usage.map(|usage| (self.cost(deployment, &usage), usage.is_estimated));
            let most = money.most();
            money.settle(settlement(end, answered, sent, cost, most));
        }
        let Some(usage) = usage else { return Picodollars::ZERO };
        if answered {
            self.consumed = Some(usage);
        }
        let cost = self.cost(deployment, &usage);
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
    pub(super) fn usage_of(&self, end: &End, answered: bool, sent: bool) -> Option<Usage> {
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
/// What an attempt takes from budgets. `cost` is that of its usage, and whether that is an estimate.
/// `most` is what was reserved.
fn settlement(
    end: &End,
    answered: bool,
    sent: bool,
    cost: Option<(Picodollars, bool)>,
    most: Picodollars,
) -> Picodollars {
    let is_error = |status: u16| !(200..300).contains(&status);
    match (end.ending, cost) {
        (Ending::Ok, Some((cost, false))) => cost,
        (Ending::ClientError | Ending::Refused, _) => Picodollars::ZERO,
        // Providers bill no errors.
        _ if !sent || !answered && end.status.is_some_and(is_error) => Picodollars::ZERO,
        // What was told before the end, or is estimated, may be too low: nothing that may have been
        // paid is left in a budget.
        (_, cost) => cost.map_or(most, |(cost, _)| cost.max(most)),
    }
}

fn count(meters: &DeploymentMeters, usage: &Usage) {
    let add = |kind, tokens| meters.consumed(kind, usage.is_estimated, tokens);
    add(TokenKind::Prompt, usage.prompt_tokens);
    add(TokenKind::Cached, usage.cached_tokens.unwrap_or(0));
    add(TokenKind::Completion, usage.completion_tokens);
    add(TokenKind::Reasoning, usage.reasoning_tokens.unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_pay_what_is_known_nothing_for_errors_and_else_all_that_was_reserved() {
        let end = |ending, status| End { outcome: "x".into(), ending, status, waste: None };
        let [told, cost, most] = [3, 5, 9].map(Picodollars::new);
        let nothing = Picodollars::ZERO;
        for (ending, status, answered, sent, usage, expected) in [
            (Ending::Ok, None, true, true, Some((cost, false)), cost),
            (Ending::Ok, None, true, true, Some((cost, true)), most),
            // Usage that was told before the end may grow.
            (Ending::Cancelled, None, true, true, Some((told, false)), most),
            (Ending::Broken, None, true, true, Some((told, false)), most),
            (Ending::Hedged, None, false, true, None, most),
            (Ending::TimedOut, None, false, true, None, most),
            (Ending::Failed, None, false, true, None, most),
            (Ending::Failed, None, false, false, None, nothing),
            (Ending::Failed, Some(500), false, true, Some((told, true)), nothing),
            (Ending::Refused, Some(429), false, true, None, nothing),
            (Ending::ClientError, Some(400), true, true, None, nothing),
        ] {
            let settled = settlement(&end(ending, status), answered, sent, usage, most);
            assert_eq!(settled, expected, "{ending:?} {status:?} {answered} {sent} {usage:?}");
        }
        let over = Some((Picodollars::new(20), false));
        let broken = settlement(&end(Ending::Broken, None), true, true, over, most);
        assert_eq!(broken, Picodollars::new(20), "more than was reserved");
    }
}
