//! The values of the contract in the words of this version.

use std::collections::HashMap;
use std::time::Duration;

use contract::{
    EndedAttempt, Ending, Modalities, Place, Price, RawHedge, RawPlan, RawVerdict, RawWeights,
    Side, WhenFull,
};

use super::generated::exports::hybrid::routing::{learning, request_policy};
use super::generated::hybrid::routing::types;

/// The tags of some places: a list of borrowed strings for each.
pub(super) fn tags(places: &[Place]) -> Vec<Vec<&str>> {
    places.iter().map(|place| place.tags.iter().map(String::as_str).collect()).collect()
}

/// The models of some places, each once, and the places with the index of their model and their
/// `tags`.
pub(super) fn places<'a>(
    places: &'a [Place],
    tags: &'a [Vec<&'a str>],
) -> (Vec<&'a str>, Vec<types::Place<'a>>) {
    let (mut models, mut known) = (Vec::new(), HashMap::new());
    let mut converted = Vec::with_capacity(places.len());
    for (place, tags) in places.iter().zip(tags) {
        let model = *known.entry(&*place.model).or_insert_with(|| {
            models.push(&*place.model);
            u32::try_from(models.len() - 1).unwrap_or(u32::MAX)
        });
        converted.push(types::Place {
            name: &place.name,
            model,
            side: match place.side {
                Side::Local => types::Side::Local,
                Side::Remote => types::Side::Remote,
            },
            weight: place.weight,
            capacity: place.capacity,
            price: place.price.map(Into::into),
            context_length: place.context_length,
            takes: modalities(place.takes),
            tools: place.tools,
            tags,
        });
    }
    (models, converted)
}

pub(super) fn modalities(modalities: Modalities) -> types::Modalities {
    let mut flags = types::Modalities::empty();
    for (one, flag) in [
        (Modalities::IMAGE, types::Modalities::IMAGE),
        (Modalities::AUDIO, types::Modalities::AUDIO),
        (Modalities::VIDEO, types::Modalities::VIDEO),
    ] {
        if modalities.has(one) {
            flags |= flag;
        }
    }
    flags
}

/// Whole milliseconds, the largest number if there are more.
pub(super) fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn exact_milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl From<Price> for types::Price {
    fn from(Price { prompt, cached, completion }: Price) -> Self {
        Self { prompt, cached, completion }
    }
}

fn weights(weights: types::Weights) -> RawWeights {
    RawWeights { local: weights.local, remote: weights.remote }
}

impl From<request_policy::Verdict> for RawVerdict {
    fn from(verdict: request_policy::Verdict) -> Self {
        match verdict {
            request_policy::Verdict::Route(plan) => Self::Route(RawPlan {
                weights: weights(plan.weights),
                tiers: plan.tiers.map(|tiers| (tiers.local, tiers.remote)),
                when_full: match plan.when_full {
                    request_policy::WhenFull::AsConfigured => WhenFull::AsConfigured,
                    request_policy::WhenFull::Next => WhenFull::Next,
                    request_policy::WhenFull::Wait(ms) => {
                        WhenFull::Wait(Duration::from_millis(ms.into()))
                    }
                },
                hedge: plan.hedge.map(|hedge| RawHedge {
                    after: hedge.after,
                    weights: weights(hedge.weights),
                    max_cost: hedge.max_cost,
                }),
                reason: plan.reason,
            }),
            request_policy::Verdict::Hold(ms) => Self::Hold(ms),
            request_policy::Verdict::Refuse(request_policy::Refusal { retry_after, reason }) => {
                Self::Refuse { retry_after, reason }
            }
        }
    }
}

impl From<&EndedAttempt> for learning::Attempt {
    fn from(attempt: &EndedAttempt) -> Self {
        Self {
            deployment: attempt.deployment,
            request: attempt.request,
            session: attempt.session,
            tenant: attempt.tenant,
            ending: match attempt.ending {
                Ending::Ok => learning::Ending::Ok,
                Ending::ClientError => learning::Ending::ClientError,
                Ending::Cancelled => learning::Ending::Cancelled,
                Ending::Refused => learning::Ending::Refused,
                Ending::Stalled => learning::Ending::Stalled,
                Ending::Failed => learning::Ending::Failed,
                Ending::TimedOut => learning::Ending::TimedOut,
                Ending::Broken => learning::Ending::Broken,
                Ending::Hedged => learning::Ending::Hedged,
            },
            status: attempt.status,
            queued: exact_milliseconds(attempt.queued),
            first_byte: attempt.first_byte.map_or(f64::NAN, exact_milliseconds),
            total: exact_milliseconds(attempt.total),
            probability: attempt.probability,
            prompt_tokens: attempt.prompt_tokens,
            cached_tokens: attempt.cached_tokens,
            completion_tokens: attempt.completion_tokens,
            reasoning_tokens: attempt.reasoning_tokens,
            cost: attempt.cost.unwrap_or(f64::NAN),
        }
    }
}
