//! What a request can cost before it is sent.

mod tokens;

use std::ops::Range;

use config::DeploymentConfig;
use fleet::{Consumed, Deployment, FleetModel};
use http1::{Costly, Fields};
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

/// The answers that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedAnswers {
    /// Tokens of one answer that the request allows or, where it does not say so in a number, the model.
    /// None: only the context limits it.
    limit: Option<u64>,
    /// Answers that it asks for.
    count: u64,
    /// More than text may go into the prompt, and so may sound into the answers.
    may_be_sound: bool,
}

/// What costs depend on, found once for all deployments.
#[derive(Debug, Clone, Copy)]
pub struct Stakes<'a> {
    model: &'a FleetModel,
    /// Tokens that the prompt surely does not pass. None: only the context limits them, because more
    /// goes into the prompt than the text of the request.
    prompt: Option<u64>,
    /// Tokens that it probably has.
    estimate: u64,
    /// Prompts that it has: the context limits each.
    prompts: u64,
    answers: AskedAnswers,
    images: u64,
}

impl AskedAnswers {
    /// Reads the request. Where parsers read different values, the largest counts.
    #[must_use]
    pub fn of(
        model: &FleetModel,
        endpoint: InferenceEndpoint,
        body: &[u8],
        fields: &Fields,
    ) -> Self {
        let prompts = prompts(endpoint, body, fields);
        let longest = Some(model.config.card.max_output_length).filter(|longest| *longest > 0);
        let limit = match endpoint {
            InferenceEndpoint::Embeddings | InferenceEndpoint::Rerank => Some(0),
            _ => limit(body, fields).or(longest),
        };
        let count = choices(body, fields).max(1).saturating_mul(prompts);
        Self { limit, count, may_be_sound: grows(endpoint, body, fields) }
    }

    /// Whether the answers may have sound.
    #[must_use]
    pub fn may_be_sound(&self) -> bool {
        self.may_be_sound
    }

    /// Tokens of all answers that a deployment probably gives.
    #[must_use]
    pub fn probable(&self, deployment: &Deployment) -> u64 {
        let usual = deployment.usual_answer().unwrap_or(USUAL);
        usual.min(self.longest(&deployment.config)).saturating_mul(self.count)
    }

    /// Tokens of the longest answer that a deployment can give.
    fn longest(&self, deployment: &DeploymentConfig) -> u64 {
        let context = deployment.capability.context_length;
        self.limit.map_or(context, |limit| limit.min(context))
    }
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
        let size = match endpoint {
            // The query is read with each of the documents.
            InferenceEndpoint::Rerank => {
                let query = match fields.rivals.has(Costly::Prompt) {
                    true => body.len(),
                    false => text(body, fields.prompt.as_ref()).len(),
                };
                query.saturating_mul(memchr::memchr_iter(b',', body).count())
            }
            _ => 0,
        };
        let answers = AskedAnswers::of(model, endpoint, body, fields);
        Self {
            model,
            prompts: prompts(endpoint, body, fields),
            // A token has at least one byte. What a chat template adds to a message is shorter than
            // the JSON around it.
            prompt: (!answers.may_be_sound)
                .then(|| body.len().saturating_add(size) as u64 + TEMPLATE),
            estimate: facts::prompt_tokens(body, fields),
            answers,
            images: if model.charges_images { images(body, fields) } else { 0 },
        }
    }

    /// What the request can cost at a deployment.
    #[must_use]
    pub fn at(&self, deployment: usize) -> Stake {
        let deployment = &self.model.deployments[deployment];
        let context = deployment.config.capability.context_length;
        let contexts = context.saturating_mul(self.prompts);
        let prompt = self.prompt.map_or(contexts, |prompt| prompt.min(contexts));
        let answer = self.answers.longest(&deployment.config);
        let asked = Consumed { prompt, images: self.images, ..Consumed::default() };
        let most = Consumed { completion: answer.saturating_mul(self.answers.count), ..asked };
        let expected = Consumed {
            prompt: self.estimate.min(contexts),
            completion: self.answers.probable(deployment),
            ..asked
        };
        let expected = deployment.tariff.cost(expected);
        let sound = self.answers.may_be_sound;
        Stake {
            prompt: deployment.tariff.most(asked, sound),
            most: deployment.tariff.most(most, sound).max(expected),
            expected,
        }
    }
}

/// Tokens of one answer, by the largest limit that a parser may read. None: one may read none.
fn limit(body: &[u8], fields: &Fields) -> Option<u64> {
    // Servers in Go read 0 like a limit that is not given.
    let is_limit = |limit: &u64| *limit > 0;
    let known = facts::largest(body, &fields.max_output)?.filter(is_limit)?;
    let mut rivals = fields.rivals.of(Costly::MaxOutput)?;
    rivals.try_fold(known, |largest, at| {
        let rival = facts::count(body.get(at)?).filter(is_limit)?;
        Some(largest.max(rival))
    })
}

/// Answers to each prompt, by the largest number that a parser may read.
fn choices(body: &[u8], fields: &Fields) -> u64 {
    let known = facts::largest(body, &fields.choices).unwrap_or(Some(CHOICES)).unwrap_or(1);
    let Some(rivals) = fields.rivals.of(Costly::Choices) else { return known.max(CHOICES) };
    rivals.fold(known, |largest, at| match text(body, Some(&at)) {
        b"null" => largest,
        value => largest.max(facts::count(value).unwrap_or(CHOICES)),
    })
}

/// The prompts of a request: the largest number that a parser may read.
fn prompts(endpoint: InferenceEndpoint, body: &[u8], fields: &Fields) -> u64 {
    if !matches!(endpoint, InferenceEndpoint::Completions | InferenceEndpoint::Embeddings) {
        return 1;
    }
    let known = batch(text(body, fields.prompt.as_ref()));
    match fields.rivals.of(Costly::Prompt) {
        Some(rivals) => rivals.fold(known, |most, at| most.max(batch(text(body, Some(&at))))),
        // There is no more than one behind each comma.
        None => memchr::memchr_iter(b',', body).count() as u64 + 1,
    }
}

/// The images in a prompt. With several prompts, of which only one is read, those of all.
fn images(body: &[u8], fields: &Fields) -> u64 {
    let prompt = match fields.rivals.has(Costly::Prompt) {
        true => body,
        false => text(body, fields.prompt.as_ref()),
    };
    // Parsers that ignore case do it in the names of parts, too.
    facts::images_in(&prompt.to_ascii_lowercase())
}

fn text<'b>(body: &'b [u8], at: Option<&Range<usize>>) -> &'b [u8] {
    at.and_then(|at| body.get(at.clone())).unwrap_or_default()
}

/// Whether more goes into the prompt than the text of the request: images, files, an earlier
/// conversation, or what tools of the provider find.
fn grows(endpoint: InferenceEndpoint, body: &[u8], fields: &Fields) -> bool {
    let [.., conversation, previous] = &fields.session;
    let is_response = endpoint == InferenceEndpoint::Responses;
    let is_given = conversation.is_some() || previous.is_some() || fields.tools.is_some();
    let may_be = [Costly::Conversation, Costly::Tools].map(|kind| fields.rivals.has(kind));
    holds_more(body) || is_response && (is_given || may_be.contains(&true))
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

#[cfg(test)]
#[path = "stake_tests.rs"]
mod tests;
