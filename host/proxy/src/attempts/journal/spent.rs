//! What an attempt took and cost, as far as the upstream tells it, else as an estimate.

use answers::Usage;
use config::Cancel;
use contract::{Ending, Picodollars};
use fleet::{Consumed, Deployment, RequestSignals};
use ledger::{Charge, Reservation, Spending, Stake};
use routing::{AskedAnswers, facts};

use super::super::request::Request;
use super::{End, Journal};

/// Bytes of an answer per token. Used for a plain answer that tells no usage.
const BYTES: u64 = 4;

impl Journal {
    /// Records what the cost of a request depends on, as far as its model has prices for it. `signals`:
    /// what is known of it already.
    pub(in super::super) fn asked_for(
        &mut self,
        request: &Request,
        signals: Option<&RequestSignals>,
    ) {
        let (body, fields) = (&request.body, &request.scan.fields);
        let model = &request.snapshot.generation.fleet.models[request.model];
        let known = signals.and_then(|signals| signals.prompt_tokens);
        self.prompt_tokens = known.map_or_else(|| facts::prompt_tokens(body, fields), u64::from);
        if model.charges_images {
            self.images = facts::images(body, fields);
        }
        if model.bills_cancelled {
            self.answers = Some(AskedAnswers::of(model, request.endpoint, body, fields));
        }
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
        let rule = deployment.config.cancel.filter(|_| end.is_cut && sent);
        let usage = match rule {
            Some(rule) => Some(self.usage_of_cut(deployment, rule, answered)),
            None => self.usage_of(end, answered, sent),
        };
        if let Some(money) = money {
            let is_known = || !self.may_be_dear_sound(deployment);
            let stops = usage.filter(|_| rule.is_some_and(|rule| self.stops(rule)) && is_known());
            let paid = Paid {
                answered,
                sent,
                cost: usage.map(|usage| (self.cost(deployment, &usage), usage.is_estimated)),
                answer: stops.map(|usage| {
                    deployment.tariff.completion.saturating_mul(usage.completion_tokens)
                }),
            };
            let stake = money.stake();
            money.settle(settlement(end, paid, stake));
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
        let saved = match spending {
            Spending::Answered if !deployment.alternatives.is_empty() => {
                deployment.tariff.saved(self.amounts(&usage), &deployment.alternatives)
            }
            _ => Picodollars::ZERO,
        };
        let charge = Charge {
            spending,
            is_estimated: usage.is_estimated,
            tokens: [
                usage.prompt_tokens,
                usage.cached_tokens.unwrap_or(0),
                usage.completion_tokens,
                usage.reasoning_tokens.unwrap_or(0),
            ],
            cost,
            saved,
        };
        deployment.meters.costs.add(self.billed.as_ref(), &charge);
        cost
    }

    /// The cost of an attempt with this usage.
    #[inline]
    pub(super) fn cost(&self, deployment: &Deployment, usage: &Usage) -> Picodollars {
        deployment.tariff.cost(self.amounts(usage))
    }

    /// What an attempt with this usage took.
    #[inline]
    fn amounts(&self, usage: &Usage) -> Consumed {
        Consumed {
            prompt: usage.prompt_tokens,
            cached: usage.cached_tokens.unwrap_or(0),
            written: usage.cache_write_tokens.unwrap_or(0),
            completion: usage.completion_tokens,
            audio: usage.audio_tokens.unwrap_or(0),
            audio_output: usage.audio_output_tokens.unwrap_or(0),
            images: self.images,
        }
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
        // Providers bill no errors, although the engine may have worked in vain.
        let is_paid = sent && end.waste.is_some() && !end.is_error();
        is_paid.then(|| estimate(0))
    }

    /// Whether a provider with this rule stops at once. The end of an answer that is no stream shows
    /// late that nobody wants it, so providers finish and bill it.
    fn stops(&self, rule: Cancel) -> bool {
        rule == Cancel::Stops && self.stream
    }

    /// Whether the answer may have sound with a price of its own. An event has any number of its tokens.
    fn may_be_dear_sound(&self, deployment: &Deployment) -> bool {
        let has_price = deployment.tariff.audio_output.is_some();
        has_price && self.answers.is_some_and(|answers| answers.may_be_sound())
    }

    /// What an attempt took whose answer was cut, by the rule of its provider. All of it is an
    /// estimate, because usage that was told before the end may have grown.
    fn usage_of_cut(&self, deployment: &Deployment, rule: Cancel, answered: bool) -> Usage {
        let nothing = Usage { prompt_tokens: self.prompt_tokens, ..Usage::default() };
        // What was told so far is that of the attempt whose answer the client got.
        let (told, produced) = if answered { (self.usage, self.produced) } else { (None, 0) };
        let usage = told.unwrap_or(nothing);
        let whole = match self.stops(rule) {
            true => 0,
            false => self.answers.map_or(0, |answers| answers.probable(deployment)),
        };
        let completion_tokens = usage.completion_tokens.max(produced).max(whole);
        Usage { completion_tokens, is_estimated: true, ..usage }
    }
}

/// What is known of an attempt when budgets pay it.
struct Paid {
    /// The client got its answer, or a part of it.
    answered: bool,
    /// Its request was written.
    sent: bool,
    /// The cost of its usage, and whether that is an estimate.
    cost: Option<(Picodollars, bool)>,
    /// The cost of its answer so far, if its provider stopped there.
    answer: Option<Picodollars>,
}

/// What an attempt takes from budgets, of what it could cost at most.
#[inline]
fn settlement(end: &End, paid: Paid, stake: Stake) -> Picodollars {
    let Paid { answered, sent, cost, answer } = paid;
    match (end.ending, cost) {
        (Ending::Ok, Some((cost, false))) => cost,
        (Ending::ClientError | Ending::Refused, _) => Picodollars::ZERO,
        // Providers bill no errors.
        _ if !sent || !answered && end.is_error() => Picodollars::ZERO,
        // What was told before the end, or is estimated, may be too low: nothing that may have been
        // paid is left in a budget.
        (_, cost) => {
            let least = answer.map_or(stake.most, |answer| stake.prompt.saturating_add(answer));
            cost.map_or(least, |(cost, _)| cost.max(least))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(ending: Ending, status: Option<u16>) -> End {
        End { outcome: "x".into(), ending, status, waste: None, is_cut: false }
    }

    fn stake() -> Stake {
        let [prompt, most] = [4, 9].map(Picodollars::new);
        Stake { prompt, most, expected: most }
    }

    #[test]
    fn budgets_pay_what_is_known_nothing_for_errors_and_else_all_that_was_reserved() {
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
            let paid = Paid { answered, sent, cost: usage, answer: None };
            let settled = settlement(&end(ending, status), paid, stake());
            assert_eq!(settled, expected, "{ending:?} {status:?} {answered} {sent} {usage:?}");
        }
        let cost = Some((Picodollars::new(20), false));
        let paid = Paid { answered: true, sent: true, cost, answer: None };
        let broken = settlement(&end(Ending::Broken, None), paid, stake());
        assert_eq!(broken, Picodollars::new(20), "more than was reserved");
    }

    #[test]
    fn a_stream_that_stops_takes_its_prompt_and_what_came() {
        let estimate = |cost| Some((Picodollars::new(cost), true));
        for (cost, answer, expected) in [(3, 2, 6), (3, 0, 4), (8, 2, 8), (30, 26, 30)] {
            let answer = Some(Picodollars::new(answer));
            let paid = Paid { answered: true, sent: true, cost: estimate(cost), answer };
            let settled = settlement(&end(Ending::Cancelled, None), paid, stake());
            assert_eq!(settled, Picodollars::new(expected), "{cost}");
        }
    }
}
