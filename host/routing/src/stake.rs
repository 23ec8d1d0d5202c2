//! What a request can cost before it is sent.

use config::DeploymentConfig;
use contract::Picodollars;
use fleet::{Consumed, Deployment, FleetModel};
use http1::Fields;
use ledger::Stake;

use crate::InferenceEndpoint;
use crate::demand::holds_media;
use crate::facts;

/// Tokens of an answer whose usual length is not known. Source: RouteWise (EuroSys '27), which
/// predicts as many.
const USUAL: u64 = 512;

/// What costs depend on, found once for all deployments.
#[derive(Debug, Clone, Copy)]
pub struct Stakes<'a> {
    model: &'a FleetModel,
    /// Tokens that the prompt surely does not pass. None: only the context limits them, because it
    /// holds more than text.
    prompt: Option<u64>,
    /// Tokens that it probably has.
    estimate: u64,
    /// Tokens of one answer that the request allows.
    answer: Option<u64>,
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
            _ => facts::largest(body, &fields.max_output),
        };
        Self {
            model,
            // A token has at least one byte. What a chat template adds to a message is shorter than
            // the JSON around it.
            prompt: (!holds_media(prompt)).then_some(body.len() as u64),
            estimate: facts::prompt_tokens(body, fields),
            answer,
            answers: facts::largest(body, &fields.choices).unwrap_or(1).max(1),
            images: if model.charges_images { facts::images(body, fields) } else { 0 },
        }
    }

    /// What the request can cost at a deployment.
    #[must_use]
    pub fn at(&self, deployment: usize) -> Stake {
        let deployment = &self.model.deployments[deployment];
        let context = deployment.config.capability.context_length;
        let prompt = self.prompt.map_or(context, |prompt| prompt.min(context));
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
            prompt: self.estimate.min(context),
            completion: usual.min(answer).saturating_mul(self.answers),
            images: self.images,
            ..Consumed::default()
        };
        let expected = deployment.tariff.cost(expected);
        Stake { most: dearest(deployment, most).max(expected), expected }
    }
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
