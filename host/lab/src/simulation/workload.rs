//! The requests of a scenario. They are generated once and are the same for every strategy.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use routing::facts::tenant;

use contract::{Facts, Needs};
use fleet::RequestSignals;

use super::random::{Stream, exponential, mix, stream};
use super::scenario::{Arrivals, Kind, Recorded, Scenario, TRACE_BLOCK};

/// Maximum number of requests of one scenario.
const MAX_REQUESTS: usize = 1_000_000;
/// Tokens per hashed block of a prompt. The gateway's blocks have 512 bytes.
const BLOCK: u32 = 128;
/// Maximum number of hashes of a prompt that strategies are told, as in the gateway.
const BLOCKS: u32 = 64;
/// The same in the gateway's index of prompts.
const INDEXED: u32 = 1024;
/// Names of the random streams. See [`stream`].
const ARRIVALS: u64 = 1;
const REQUESTS: u64 = 2;

/// One request of the workload.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// Time of its arrival.
    pub(super) at: Duration,
    /// Index of its kind in the scenario.
    pub(super) kind: usize,
    /// Number of its conversation.
    pub(super) session: u64,
    /// Tokens of the system prompt. They are a part of `prompt`.
    pub(super) system: u32,
    /// Tokens of the prompt, at least 1.
    pub(super) prompt: u32,
    /// Tokens of the answer, at least 1.
    pub(super) output: u32,
    pub(super) stream: bool,
    pub(super) tenant: Option<String>,
    /// The limit on tokens of the answer that it sets.
    pub(super) max_tokens: Option<u32>,
    /// As in a trace: a hash for each block of 512 prompt tokens and all before it. If there are
    /// none, what prompts share is decided by `kind`, `system` and `session`.
    pub(super) blocks: Arc<[u64]>,
}

/// The scenario exceeds the maximum number of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the scenario has more than {MAX_REQUESTS} requests: make it shorter, or its rates smaller"
)]
pub struct TooMany;

/// All requests of a scenario in order of arrival.
pub(super) fn requests(scenario: &Scenario) -> Result<Vec<Request>, TooMany> {
    let mut requests = match &scenario.arrivals {
        Arrivals::Recorded(recorded) => {
            let within = recorded.iter().take_while(|request| request.at < scenario.duration);
            let mut conversations = Conversations::default();
            let request = |(number, recorded): (u64, &Recorded)| {
                let (kind, mut rng) = draw_kind(scenario, number);
                let session = conversations.of(number, recorded);
                let output = scenario.kinds[kind].output.count(1, &mut rng);
                let max_tokens = scenario.kinds[kind].max_tokens;
                let longest = scenario.longest_answer(max_tokens);
                Request {
                    at: recorded.at,
                    kind,
                    session,
                    system: scenario.kinds[kind].system.min(recorded.prompt),
                    prompt: recorded.prompt,
                    output: recorded.output.unwrap_or(output).clamp(1, longest),
                    stream: recorded.stream,
                    tenant: scenario.kinds[kind].tenant.clone(),
                    max_tokens,
                    blocks: Arc::clone(&recorded.blocks),
                }
            };
            (0..).zip(within).map(request).collect()
        }
        Arrivals::Rate { .. } => by_rate(scenario)?,
    };
    // The sort is stable, so that requests of the same time stay in the order of their sessions.
    requests.sort_by_key(|request| request.at);
    Ok(requests)
}

fn by_rate(scenario: &Scenario) -> Result<Vec<Request>, TooMany> {
    let mut requests = Vec::new();
    let (peak, mut rng) = (scenario.arrivals.peak(), stream(scenario.seed, &[ARRIVALS]));
    let (mut at, mut session) = (0.0, 0);
    if peak == 0.0 {
        return Ok(requests);
    }
    loop {
        // Thinning: draws arrivals at the largest rate, and keeps each with the probability
        // `current rate / largest rate`.
        at += exponential(1.0 / peak, &mut rng);
        let when = super::random::seconds(at);
        if when >= scenario.duration {
            return Ok(requests);
        }
        if rng.random::<f64>() * peak < scenario.arrivals.rate(when) {
            converse(scenario, when, session, &mut requests);
            session += 1;
        }
        if requests.len() > MAX_REQUESTS {
            return Err(TooMany);
        }
    }
}

/// The conversations of a trace. A prompt that begins with the whole blocks of an earlier prompt goes
/// on with its conversation. One block in common says nothing, because it may be a system prompt.
#[derive(Default)]
struct Conversations {
    /// Sessions by the last whole block of their prompts. A block is named with all before it.
    sessions: HashMap<u64, u64>,
}

impl Conversations {
    /// The session of the next request in order of arrival.
    fn of(&mut self, number: u64, request: &Recorded) -> u64 {
        let whole = (request.prompt / TRACE_BLOCK) as usize;
        let Some(blocks) = request.blocks.get(..whole.min(request.blocks.len())) else {
            return number;
        };
        let mut known = blocks.iter().skip(1).rev().filter_map(|block| self.sessions.get(block));
        let session = known.next().copied().unwrap_or(number);
        if let [_, .., last] = blocks {
            self.sessions.entry(*last).or_insert(session);
        }
        session
    }
}

/// Draws the kind of a session. Returns the random stream for the rest of the session.
fn draw_kind(scenario: &Scenario, session: u64) -> (usize, Stream) {
    let mut rng = stream(scenario.seed, &[REQUESTS, session]);
    let sum: f64 = scenario.kinds.iter().map(|kind| kind.share).sum();
    let mut point = rng.random::<f64>() * sum;
    let found = scenario.kinds.iter().position(|kind| {
        point -= kind.share;
        point < 0.0
    });
    (found.unwrap_or(scenario.kinds.len() - 1), rng)
}

/// Adds the requests of one session, or a single request if the kind has no sessions. A session
/// ends with the scenario, or when its prompt is too long for every deployment.
fn converse(scenario: &Scenario, from: Duration, session: u64, requests: &mut Vec<Request>) {
    let (kind, mut rng) = draw_kind(scenario, session);
    let Kind { prompt, output, system, session: talk, tenant, stream, max_tokens, .. } =
        &scenario.kinds[kind];
    let longest_answer = scenario.longest_answer(*max_tokens);
    let turns = talk.map_or(1, |talk| talk.turns.count(1, &mut rng));
    let longest = scenario.sites.iter().map(|site| site.place.context_length).max().unwrap_or(0);
    let (mut at, mut said) = (from, 0_u32);
    for turn in 0..turns {
        let new = prompt.count(1, &mut rng);
        let prompt = system.saturating_add(said).saturating_add(new);
        let output = output.count(1, &mut rng).min(longest_answer);
        let too_long = u64::from(prompt) + u64::from(output) > longest;
        if at >= scenario.duration || requests.len() > MAX_REQUESTS || (turn > 0 && too_long) {
            return;
        }
        requests.push(Request {
            at,
            kind,
            session,
            system: *system,
            prompt,
            output,
            stream: *stream,
            tenant: tenant.clone(),
            max_tokens: *max_tokens,
            blocks: Arc::default(),
        });
        said = said.saturating_add(new).saturating_add(output);
        at += talk.map_or(Duration::ZERO, |talk| talk.pause.seconds(&mut rng));
    }
}

impl Request {
    /// The facts that a strategy with these needs is told.
    pub(super) fn facts(&self, needs: Needs) -> Facts {
        Facts {
            prompt_tokens: needs.prompt_tokens.then_some(self.prompt),
            max_output_tokens: self.max_tokens,
            session: needs.session.then(|| mix(u64::MAX, self.session)),
            prefixes: if needs.prefixes { self.prefixes(BLOCKS) } else { Vec::new() },
            tenant: self.tenant.as_deref().map(tenant),
            ..Facts::default()
        }
    }

    /// What the host's signals of the request depend on.
    pub(super) fn signals(&self) -> RequestSignals {
        RequestSignals {
            prompt_tokens: Some(self.prompt),
            max_output_tokens: self.max_tokens,
            prefixes: self.prefixes(INDEXED),
            block_tokens: BLOCK,
            ..RequestSignals::default()
        }
    }

    /// At most `most` hashes of the prompt's first block, its first two blocks, and so on. Blocks of the system
    /// prompt depend on the kind alone, later ones also on the session.
    fn prefixes(&self, most: u32) -> Vec<u64> {
        let shared = self.system / BLOCK;
        let blocks = (self.prompt / BLOCK).min(most);
        if !self.blocks.is_empty() {
            // A part of a block is named by the block and its number in it.
            let parts = TRACE_BLOCK / BLOCK;
            let of = |block: &u64| {
                let block = *block;
                (0..parts).map(move |part| mix(block, part.into()))
            };
            return self.blocks.iter().flat_map(of).take(blocks as usize).collect();
        }
        let mut hash = mix(0, self.kind as u64);
        let next = |block| {
            let of = if block < shared { 0 } else { self.session.wrapping_add(1) };
            hash = mix(hash, of);
            hash
        };
        (0..blocks).map(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_that_goes_on_belongs_to_the_same_conversation() {
        let recorded = |prompt, blocks: &[u64]| Recorded {
            at: Duration::ZERO,
            prompt,
            output: None,
            stream: true,
            blocks: blocks.into(),
        };
        let trace = [
            recorded(600, &[1, 2]),
            recorded(1_100, &[1, 3, 4]),
            recorded(1_700, &[1, 3, 5, 6]),
            recorded(2_048, &[1, 3, 5, 7]),
            recorded(2_048, &[1, 8, 10, 11]),
            recorded(2_100, &[1, 3, 5, 7, 9]),
            recorded(1_100, &[]),
        ];
        let mut conversations = Conversations::default();
        let sessions = (0..).zip(&trace).map(|(number, one)| conversations.of(number, one));
        assert_eq!(sessions.collect::<Vec<_>>(), [0, 1, 1, 1, 4, 1, 6]);
    }
}
