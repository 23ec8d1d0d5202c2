//! How many tokens a request can take before it is sent.

use config::QuotaUnit;
use fleet::{FleetModel, QuotaNeeds};
use http1::Fields;

use crate::InferenceEndpoint;

use super::{Stakes, USUAL};

/// More tokens than any quota has: counts of larger numbers would overflow.
const MOST: u64 = 1 << 60;

/// What a request needs of the quotas of its model's deployments. None: they have no quota.
#[must_use]
pub fn quota_needs(
    model: &FleetModel,
    endpoint: InferenceEndpoint,
    body: &[u8],
    fields: &Fields,
) -> Option<QuotaNeeds> {
    match model.quotas? {
        QuotaUnit::Requests => Some(QuotaNeeds::default()),
        QuotaUnit::Tokens => Some(Stakes::of(model, endpoint, body, fields).tokens()),
    }
}

impl Stakes<'_> {
    /// The tokens of prompt and answers together, at whichever deployment takes most.
    fn tokens(&self) -> QuotaNeeds {
        let each = (0..self.model.deployments.len()).map(|at| self.tokens_at(at));
        each.fold(QuotaNeeds::default(), |all, one| QuotaNeeds {
            most: all.most.max(one.most),
            expected: all.expected.max(one.expected),
        })
    }

    fn tokens_at(&self, at: usize) -> QuotaNeeds {
        let (card, deployment) = (&self.model.config.card, &self.model.deployments[at]);
        let context = deployment.config.capability.context_length;
        // Lengths that are defaults say nothing of what the deployment takes.
        let within = |tokens: u64, length: u64| {
            if card.has_lengths { tokens.min(length) } else { tokens }
        };
        let contexts = context.saturating_mul(self.prompts);
        let prompt = self.prompt.map_or(contexts, |prompt| within(prompt, contexts));
        let count = self.answers.count;
        let answer = self.answers.limit.map_or(context, |limit| within(limit, context));
        let most = prompt.saturating_add(answer.saturating_mul(count));
        // A prompt and its answer share one context.
        let most = within(most, context.saturating_mul(count.max(self.prompts)));
        let usual = deployment.usual_answer().unwrap_or(USUAL).min(answer);
        let expected = self.estimate.saturating_add(usual.saturating_mul(count));
        QuotaNeeds { most: most.min(MOST), expected: expected.min(most).min(MOST) }
    }
}

#[cfg(test)]
mod tests {
    use config::{Config, Period, Quota, QuotaSource, TimeZone};
    use fleet::Fleet;

    use super::*;

    fn needs(unit: QuotaUnit, has_lengths: bool, body: &str) -> Option<QuotaNeeds> {
        let mut deployment = samples::deployment(1);
        deployment.capability.context_length = 1_000;
        let (per, source, time_zone) = (Period::Day, QuotaSource::Counted, TimeZone::default());
        deployment.quotas = vec![Quota { unit, amount: 9, per, source, time_zone }];
        let mut model = samples::model(vec![deployment]);
        (model.card.max_output_length, model.card.has_lengths) = (100, has_lengths);
        let fleet = Fleet::build(&Config { models: vec![model], ..Config::default() }, None);
        let fields = http1::scan(body.as_bytes()).expect("a good body").fields;
        let endpoint = InferenceEndpoint::ChatCompletions;
        quota_needs(&fleet.models[0], endpoint, body.as_bytes(), &fields)
    }

    #[test]
    fn tokens_are_those_of_prompt_and_answers_in_one_context() {
        let body = |more: &str| format!(r#"{{"model":"m","messages":[]{more}}}"#);
        let long = format!(r#","user":"{}""#, "x".repeat(2_000));
        for (more, has_lengths, answers) in [
            (r#","max_tokens":7"#, true, 7),
            (r#","max_tokens":7,"n":3"#, true, 21),
            ("", true, 100),
            ("", false, 100),
            (r#","max_tokens":5000"#, false, 5_000),
        ] {
            let body = body(more);
            let most = body.len() as u64 + super::super::TEMPLATE + answers;
            let needs = needs(QuotaUnit::Tokens, has_lengths, &body).expect("tokens");
            assert_eq!(needs.most, most, "{more}");
            assert!(needs.expected <= most && needs.expected >= answers.min(USUAL), "{more}");
        }
        for (more, most) in [(&*long, 1_000), (r#","max_tokens":5000"#, 1_000)] {
            assert_eq!(needs(QuotaUnit::Tokens, true, &body(more)).expect("tokens").most, most);
        }
        let many =
            needs(QuotaUnit::Tokens, true, &body(r#","n":1000000000000000000"#)).expect("tokens");
        assert_eq!(many.most, MOST, "no overflow");
    }

    #[test]
    fn requests_have_no_tokens_to_count() {
        let body = r#"{"model":"m","messages":[]}"#;
        assert_eq!(needs(QuotaUnit::Requests, true, body), Some(QuotaNeeds::default()));
    }
}
