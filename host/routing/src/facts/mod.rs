//! Finds the facts that strategies are told about a request. Costly facts are computed only if a
//! strategy needs them, from the positions that the [`Scan`] has noted. The prompt and credentials
//! are never told.
//!
//! Hashes are XXH3, seeded with the model's id. They are the same on every core and machine and
//! after every restart, so that several gateways agree.

mod prompt;

use std::ops::Range;
use std::time::Duration;

use http::HeaderMap;
use memchr::memmem;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use config::RequestFacts;
use contract::{Facts, Modalities, Needs, Tenant};
use fleet::RequestSignals;
use http1::{Fields, Scan, json};

/// Bytes of the prompt per hash. vLLM caches blocks of 16 tokens, or about 64 bytes, so this is
/// about eight of them.
const BLOCK: usize = 512;
/// Limit on the hashes that a strategy is told. They cover the first 32 KiB, where most different
/// prompts differ.
const BLOCKS: usize = 64;
/// Limit on the hashes that the host's own index keeps: those of the first 512 KiB, or about 130,000
/// tokens.
const INDEXED: usize = 1024;
/// In bytes. A header with a longer value is not told.
const VALUE: usize = 256;

/// The parts of a request that facts are found in.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Canonical id of its model.
    pub model: &'a str,
    /// The client's headers.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
    /// The scan of `body`.
    pub scan: &'a Scan,
}

/// The facts of a request: all cheap ones, and the costly ones that `needs` lists.
#[must_use]
pub fn of(request: Asked<'_>, config: &RequestFacts, needs: Needs) -> Facts {
    let Asked { model, headers, body, scan: Scan { fields, .. } } = request;
    let at = |range: &Option<Range<usize>>| body.get(range.clone()?);
    let seed = xxh3_64(model.as_bytes());
    let value = |name: &String| header(headers, name);
    // A session without a name is known by its first messages.
    let session = || {
        named_session(request, config).or_else(|| {
            let mut parts = opening(at(&fields.prompt)?)?;
            parts.insert(0, at(&fields.instructions).unwrap_or_default());
            Some(chained(&parts, seed))
        })
    };
    let named = |name: &String| Some((name.clone(), value(name)?.to_owned()));
    Facts {
        prompt_tokens: needs.prompt_tokens.then(|| tokens(body, fields)).flatten(),
        max_output_tokens: max_output(body, fields),
        session: needs.session.then(session).flatten(),
        prefixes: if needs.prefixes { prefixes(body, fields, seed, BLOCKS) } else { Vec::new() },
        tenant: config.tenant_header.as_ref().and_then(value).map(tenant),
        priority: config.priority_header.as_ref().and_then(value).map_or(0, priority),
        objective: config.objective_header.as_ref().and_then(value).and_then(objective),
        holds: Modalities::NONE,
        tools: false,
        headers: config.headers.iter().filter_map(named).collect(),
    }
}

/// A hash of the session that the request names: by the configured header, else in its body. The
/// same as [`Facts::session`] of such a request.
#[must_use]
pub fn named_session(request: Asked<'_>, config: &RequestFacts) -> Option<u64> {
    let Asked { model, headers, body, scan: Scan { fields, .. } } = request;
    let seed = xxh3_64(model.as_bytes());
    let given = config.session_header.as_ref().and_then(|name| header(headers, name));
    if let Some(session) = given {
        return Some(xxh3_64_with_seed(session.as_bytes(), seed));
    }
    let mut parts = named(body, fields)?;
    parts.insert(0, fields.instructions.clone().and_then(|at| body.get(at)).unwrap_or_default());
    Some(chained(&parts, seed))
}

/// The name of the tenant, where the configured header says one.
#[must_use]
pub fn tenant_name<'a>(headers: &'a HeaderMap, config: &RequestFacts) -> Option<&'a str> {
    header(headers, config.tenant_header.as_ref()?)
}

/// How many tenants the configured header names.
#[must_use]
pub fn tenants(headers: &HeaderMap, config: &RequestFacts) -> usize {
    config.tenant_header.as_ref().map_or(0, |name| headers.get_all(name).iter().count())
}

/// The tenant of this name.
#[must_use]
pub fn tenant(name: &str) -> Tenant {
    Tenant { hash: xxh3_64(name.as_bytes()), name: name.to_owned() }
}

/// A whole number. Text that is none is 0: a client's mistake must not cost it its request.
fn priority(text: &str) -> i32 {
    text.trim().parse::<i64>().map_or(0, |number| {
        i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
    })
}

/// Milliseconds, at least 1.
fn objective(text: &str) -> Option<Duration> {
    let milliseconds = text.trim().parse::<f64>().ok()?;
    let range = 1.0..=3.6e6;
    range.contains(&milliseconds).then(|| Duration::from_secs_f64(milliseconds / 1e3))
}

/// The part of a request that the host's own signals depend on.
#[must_use]
pub fn signals(request: Asked<'_>) -> RequestSignals {
    let Asked { model, body, scan: Scan { fields, .. }, .. } = request;
    RequestSignals {
        prompt_tokens: tokens(body, fields),
        max_output_tokens: max_output(body, fields),
        prefixes: prefixes(body, fields, xxh3_64(model.as_bytes()), INDEXED),
        block_tokens: prompt::tokens_of(BLOCK),
        head_tokens: u32::try_from(head_tokens(body, fields)).unwrap_or(u32::MAX),
    }
}

/// Like [`of`], for a request whose `signals` are known: what they have is not computed again.
#[must_use]
pub fn beside(
    request: Asked<'_>,
    config: &RequestFacts,
    needs: Needs,
    signals: &RequestSignals,
) -> Facts {
    let others = Needs { prompt_tokens: false, prefixes: false, ..needs };
    let mut facts = of(request, config, others);
    if needs.prompt_tokens {
        facts.prompt_tokens = signals.prompt_tokens;
    }
    if needs.prefixes {
        facts.prefixes = signals.prefixes.iter().take(BLOCKS).copied().collect();
    }
    facts
}

/// Estimates the tokens of a prompt for its cost. A short prompt is estimated by its size alone:
/// only a long one may have an inline image, of which most bytes are no text.
#[must_use]
pub fn prompt_tokens(body: &[u8], fields: &Fields) -> u64 {
    /// In bytes.
    const SHORT: usize = 8 * 1024;
    let parts = [&fields.prompt, &fields.tools, &fields.instructions].into_iter().flatten();
    let size: usize = parts.map(|range| range.len()).sum();
    match size {
        ..=SHORT => prompt::tokens_of(size).into(),
        _ => tokens(body, fields).unwrap_or_default().into(),
    }
}

/// The images in a prompt, by the keys and types that name one.
#[must_use]
pub fn images(body: &[u8], fields: &Fields) -> u64 {
    images_in(fields.prompt.clone().and_then(|range| body.get(range)).unwrap_or_default())
}

/// The images in this text.
pub(super) fn images_in(prompt: &[u8]) -> u64 {
    let is_key =
        |at: usize| prompt[at..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
    let of = |name: &[u8], is_key_wanted: bool| {
        let found = memmem::find_iter(prompt, name).map(|at| at + name.len());
        found.filter(|at| is_key(*at) == is_key_wanted).count() as u64
    };
    of(b"\"image_url\"", true).max(of(b"\"input_image\"", false))
}

/// A header's value. None if it is empty, not printable, or longer than [`VALUE`].
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = headers.get(name)?.to_str().ok()?;
    (!value.is_empty() && value.len() <= VALUE).then_some(value)
}

/// The last of the fields that limit an answer.
fn max_output(body: &[u8], fields: &Fields) -> Option<u32> {
    let last = fields.max_output.iter().flatten().max_by_key(|range| range.start)?;
    number(body.get(last.clone())?)
}

/// The largest number of some fields. The outer None: one has no number. The inner None: all are absent
/// or null.
#[expect(clippy::option_option, reason = "a field without a number is no absent one")]
pub(super) fn largest(body: &[u8], fields: &[Option<Range<usize>>]) -> Option<Option<u64>> {
    let mut largest = None;
    for range in fields.iter().flatten() {
        let text = body.get(range.clone()).unwrap_or_default();
        if text == b"null" {
            continue;
        }
        largest = largest.max(Some(count(text)?));
    }
    Some(largest)
}

/// A number of at least 0, also as lax parsers read it: `2.0`, `"2"`. It is rounded up.
pub(super) fn count(text: &[u8]) -> Option<u64> {
    let text = str::from_utf8(text).ok()?.trim_matches('"').trim();
    let number: f64 = text.parse().ok().filter(|number: &f64| *number >= 0.0)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast saturates, and the number is at least 0"
    )]
    let number = number.ceil() as u64;
    Some(number)
}

fn number(text: &[u8]) -> Option<u32> {
    let number: u64 = str::from_utf8(text).ok()?.parse().ok()?;
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

pub(super) fn tokens(body: &[u8], fields: &Fields) -> Option<u32> {
    let prompt = prompt::tokens(body.get(fields.prompt.clone()?)?);
    let all = prompt.saturating_add(head_tokens(body, fields));
    Some(u32::try_from(all).unwrap_or(u32::MAX))
}

/// Tokens of what engines read before the prompt: tools and instructions.
fn head_tokens(body: &[u8], fields: &Fields) -> u64 {
    let head = [&fields.tools, &fields.instructions].into_iter().flatten();
    let head = head.filter_map(|range| body.get(range.clone())).map(prompt::tokens);
    head.fold(0, u64::saturating_add)
}

/// The session that the body names, as a list of one.
fn named<'b>(body: &'b [u8], fields: &Fields) -> Option<Vec<&'b [u8]>> {
    let mut named = fields.session.iter().flatten().filter_map(|range| body.get(range.clone()));
    named.find(|value| !matches!(*value, b"null" | b"\"\"")).map(|value| vec![value])
}

/// The part that all requests of a conversation share: its messages up to the first user message.
/// If the prompt is no list of messages, its first block.
fn opening(prompt: &[u8]) -> Option<Vec<&[u8]>> {
    let text = str::from_utf8(prompt).ok()?;
    let (mut parts, mut is_user) = (Vec::new(), false);
    let read = json::elements(text, |at| {
        let message = &prompt[at];
        is_user = prompt::is_of_user(message);
        parts.push(message);
        !is_user
    });
    match read {
        Ok(()) if is_user => Some(parts),
        _ => Some(vec![&prompt[..prompt.len().min(BLOCK)]]),
    }
}

fn chained(parts: &[&[u8]], seed: u64) -> u64 {
    parts.iter().fold(seed, |seed, part| xxh3_64_with_seed(part, seed))
}

/// Hashes of the prompt's first block, its first two, and so on. Each is chained from the one
/// before. The prompt is in the order in which engines read it: instructions, tools, messages. Its
/// closing bracket is left out, so that a continued conversation has the same prefixes.
/// At most `most`.
fn prefixes(body: &[u8], fields: &Fields, seed: u64, most: usize) -> Vec<u64> {
    let at = |range: &Option<Range<usize>>| body.get(range.clone()?);
    let (before, prompt) = ([&fields.instructions, &fields.tools].map(at), at(&fields.prompt));
    let prompt = prompt.map(|prompt| &prompt[..prompt.len().saturating_sub(1)]);
    // Instructions and tools go into the seed as a whole: prompts share them entirely or not at
    // all.
    let seed = before.into_iter().flatten().fold(seed, |seed, part| xxh3_64_with_seed(part, seed));
    let blocks = prompt.unwrap_or_default().chunks_exact(BLOCK).take(most);
    blocks
        .scan(seed, |hash, block| {
            *hash = xxh3_64_with_seed(block, *hash);
            Some(*hash)
        })
        .collect()
}

/// Tokens, session and prefixes of a body, for tests and fuzzing.
#[cfg(any(test, fuzzing))]
pub fn found(body: &[u8], fields: &Fields, seed: u64) -> (Option<u32>, Option<u64>, Vec<u64>) {
    let at = |range: &Option<Range<usize>>| body.get(range.clone()?);
    let session = named(body, fields).or_else(|| opening(at(&fields.prompt)?));
    let session = session.map(|parts| chained(&parts, seed));
    (tokens(body, fields), session, prefixes(body, fields, seed, BLOCKS))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
