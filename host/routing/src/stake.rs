//! What a request can cost before it is sent.

mod tokens;

use config::DeploymentConfig;
use contract::Picodollars;
use fleet::{Consumed, Deployment, FleetModel};
use http1::Fields;
use ledger::Stake;

use crate::InferenceEndpoint;
use crate::demand::holds_more;
use crate::facts;

pub use tokens::quota_needs;

/// Tokens of an answer whose usual length is not known. Source: RouteWise (EuroSys '27), which
/// predicts as many.
const USUAL: u64 = 512;
/// Tokens that a chat template may add to a request by itself: today's date, a channel, roles.
const TEMPLATE: u64 = 256;
/// Answers of a request that asks for a number that cannot be read. Source: the largest `n` of OpenAI.
const CHOICES: u64 = 128;

/// What costs depend on, found once for all deployments.
#[derive(Debug, Clone, Copy)]
pub struct Stakes<'a> {
    model: &'a FleetModel,
    /// Tokens that the prompt surely does not pass. None: only the context limits them, because more
    /// goes into the prompt than the text of the request.
    prompt: Option<u64>,
    /// Tokens that it probably has.
    estimate: u64,
    /// Tokens of one answer that the request allows. None: it does not say, or not in a number.
    answer: Option<u64>,
    /// Prompts that it has: the context limits each.
    prompts: u64,
    /// Answers that it asks for.
    answers: u64,
    images: u64,
}

impl<'a> Stakes<'a> {
    /// Reads the request.
    #[must_use]
    pub fn of(
        model: &'a FleetModel,
        endpoint: InferenceEndpoint,
        body: &[u8],
        fields: &Fields,
    ) -> Self {
        let prompt = fields.prompt.clone().and_then(|range| body.get(range)).unwrap_or_default();
        let answer = match endpoint {
            InferenceEndpoint::Embeddings | InferenceEndpoint::Rerank => Some(0),
            _ => facts::largest(body, &fields.max_output).unwrap_or_default(),
        };
        let prompts = match endpoint {
            InferenceEndpoint::Completions | InferenceEndpoint::Embeddings => batch(prompt),
            _ => 1,
        };
        let choices = facts::largest(body, &fields.choices).unwrap_or(Some(CHOICES));
        let size = match endpoint {
            // The query is read with each of the documents.
            InferenceEndpoint::Rerank => {
                prompt.len().saturating_mul(memchr::memchr_iter(b',', body).count())
            }
            _ => 0,
        };
        Self {
            model,
            prompts,
            // A token has at least one byte. What a chat template adds to a message is shorter than
            // the JSON around it.
            prompt: (!grows(endpoint, body, fields))
                .then(|| body.len().saturating_add(size) as u64 + TEMPLATE),
            estimate: facts::prompt_tokens(body, fields),
            answer,
            answers: choices.unwrap_or(1).max(1).saturating_mul(prompts),
            images: if model.charges_images { facts::images(body, fields) } else { 0 },
        }
    }

    /// What the request can cost at a deployment.
    #[must_use]
    pub fn at(&self, deployment: usize) -> Stake {
        let deployment = &self.model.deployments[deployment];
        let context = deployment.config.capability.context_length;
        let contexts = context.saturating_mul(self.prompts);
        let prompt = self.prompt.map_or(contexts, |prompt| prompt.min(contexts));
        let longest = longest_answer(&self.model.config.card, &deployment.config);
        let answer = self.answer.map_or(longest, |answer| answer.min(context));
        let most = Consumed {
            prompt,
            completion: answer.saturating_mul(self.answers),
            images: self.images,
            ..Consumed::default()
        };
        let usual = deployment.usual_answer().unwrap_or(USUAL);
        let expected = Consumed {
            prompt: self.estimate.min(contexts),
            completion: usual.min(answer).saturating_mul(self.answers),
            images: self.images,
            ..Consumed::default()
        };
        let expected = deployment.tariff.cost(expected);
        Stake { most: dearest(deployment, most).max(expected), expected }
    }
}

/// Whether more goes into the prompt than the text of the request: images, files, an earlier
/// conversation, or what tools of the provider find.
fn grows(endpoint: InferenceEndpoint, body: &[u8], fields: &Fields) -> bool {
    let [.., conversation, previous] = &fields.session;
    let is_response = endpoint == InferenceEndpoint::Responses;
    holds_more(body)
        || is_response && (conversation.is_some() || previous.is_some() || fields.tools.is_some())
}

/// The prompts of a request that may have several: the texts, or lists of tokens, of a list.
fn batch(prompt: &[u8]) -> u64 {
    if !prompt.starts_with(b"[") {
        return 1;
    }
    // Each of several is in quotes or brackets, with a comma behind all but the last.
    let is_tokens = !prompt[1..].iter().any(|byte| matches!(byte, b'"' | b'['));
    if is_tokens { 1 } else { memchr::memchr_iter(b',', prompt).count() as u64 + 1 }
}

/// The cost if all of the prompt has the dearest of its prices.
fn dearest(deployment: &Deployment, consumed: Consumed) -> Picodollars {
    let prompt = consumed.prompt;
    let cached = Consumed { cached: prompt, ..consumed };
    let written = Consumed { written: prompt, ..consumed };
    let costs = [consumed, cached, written].map(|consumed| deployment.tariff.cost(consumed));
    costs.into_iter().max().unwrap_or_default()
}

/// Tokens of an answer that a request does not limit: what the model's `max_output_length` says, else
/// the context.
fn longest_answer(card: &config::ModelCard, deployment: &DeploymentConfig) -> u64 {
    let context = deployment.capability.context_length;
    match card.max_output_length {
        0 => context,
        longest => longest.min(context),
    }
}

#[cfg(test)]
mod tests {
    use config::{Config, Pricing};
    use fleet::Fleet;

    use super::*;

    /// What a request can cost, at most and probably, in picodollars.
    fn stake(endpoint: InferenceEndpoint, longest: u64, body: &str) -> (u64, u64) {
        let mut deployment = samples::deployment(1);
        deployment.capability.context_length = 10_000;
        deployment.pricing =
            Pricing { prompt: "1e-12".into(), completion: "1e-6".into(), ..Pricing::default() };
        let mut model = samples::model(vec![deployment]);
        model.card.max_output_length = longest;
        let fleet = Fleet::build(&Config { models: vec![model], ..Config::default() }, None);
        let fields = http1::scan(body.as_bytes()).expect("a good body").fields;
        let Stake { most, expected } =
            Stakes::of(&fleet.models[0], endpoint, body.as_bytes(), &fields).at(0);
        (most.get(), expected.get())
    }

    /// The tokens of prompt and answer that the most stands for.
    fn most(longest: u64, body: &str) -> (u64, u64) {
        let (most, expected) = stake(InferenceEndpoint::ChatCompletions, longest, body);
        assert!(expected <= most, "{body}");
        (most % 1_000_000, most / 1_000_000)
    }

    #[test]
    fn the_most_counts_every_answer_that_may_be_asked_for() {
        let body = |more: &str| format!(r#"{{"model":"m","messages":[]{more}}}"#);
        let size = |more: &str| body(more).len() as u64;
        for (more, longest, answer) in [
            (r#","max_tokens":7"#, 0, 7),
            (r#","max_completion_tokens":7,"n":3"#, 0, 21),
            (r#","max_tokens":7,"best_of":4,"n":2"#, 0, 28),
            (r#","max_tokens":7,"max_completion_tokens":9"#, 0, 9),
            (r#","max_tokens":99999"#, 0, 10_000),
            // Not limited, or by what is no number.
            ("", 0, 10_000),
            ("", 500, 500),
            (r#","max_tokens":null,"n":0"#, 500, 500),
            (r#","max_tokens":-1"#, 500, 500),
            // As lax parsers read them.
            (r#","max_tokens":1,"max_completion_tokens":700.0"#, 0, 700),
            (r#","max_tokens":"7","n":"3""#, 0, 21),
            (r#","max_tokens":7,"n":[]"#, 0, 7 * CHOICES),
        ] {
            assert_eq!(most(longest, &body(more)), (size(more) + TEMPLATE, answer), "{more}");
        }
    }

    #[test]
    fn a_prompt_has_a_token_for_each_byte_at_most_or_fills_the_context() {
        let long = "x".repeat(20_000);
        let text = format!(r#"{{"model":"m","max_tokens":1,"prompt":"{long}"}}"#);
        assert_eq!(most(0, &text).0, 10_000);
        let image = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/a.png"}}]}]}"#;
        assert_eq!(most(0, image).0, 10_000);
        let response = |more: &str| {
            let body = format!(r#"{{"model":"m","max_output_tokens":1,"input":"x"{more}}}"#);
            let (most, _) = stake(InferenceEndpoint::Responses, 0, &body);
            (most % 1_000_000, body.len() as u64)
        };
        let (prompt, size) = response("");
        assert_eq!(prompt, size + TEMPLATE);
        assert_eq!(response(r#","tools":[{"type":"web_search"}]"#).0, 10_000);
        assert_eq!(response(r#","previous_response_id":"resp_1""#).0, 10_000);
    }

    #[test]
    fn each_prompt_of_several_has_its_answers() {
        let of = |prompt: &str| {
            let body = format!(r#"{{"model":"m","prompt":{prompt},"max_tokens":7,"n":2}}"#);
            let (most, _) = stake(InferenceEndpoint::Completions, 0, &body);
            most / 1_000_000
        };
        let cases = [r#""one, two""#, r#"["a","b","c"]"#, "[1,2,3]", "[[1,2],[3]]"];
        // A comma in a list of lists counts as one between prompts.
        assert_eq!(cases.map(of), [14, 42, 14, 42]);
    }

    #[test]
    fn vectors_have_no_answer_and_a_usual_one_is_expected() {
        let body = r#"{"model":"m","input":"four"}"#;
        let (most, _) = stake(InferenceEndpoint::Embeddings, 0, body);
        assert_eq!(most, body.len() as u64 + TEMPLATE);
        let (_, expected) = stake(InferenceEndpoint::ChatCompletions, 0, body);
        assert_eq!(expected / 1_000_000, USUAL);
    }
}
