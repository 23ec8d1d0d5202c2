//! Removes secrets from the words of engines. Engines often repeat the URL or the key that they
//! were called with, and the addresses of engines behind them.
//!
//! The texts come from others, so the work is bounded by their length: every step reads the text
//! once, at each of at most [`LEVELS`] levels of escapes.

mod addresses;
mod escapes;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use super::{Model, count, endpoint};

use escapes::Level;

const MASK: &[u8] = b"[redacted]";
/// Shorter keys are not masked: they are no secrets, and any text contains them.
const SHORTEST_KEY: usize = 4;
/// How many levels of escapes are searched, the text as it is included. An error that quotes
/// another one as a JSON string escapes it twice.
const LEVELS: usize = 4;

/// Masks the keys and addresses of all deployments, and every URL and address in a private network:
/// there may be more engines than are configured.
#[derive(Default)]
pub struct Redactor {
    /// Finds the keys. None if there are no keys.
    keys: Option<AhoCorasick>,
    /// Finds hosts with their ports, and hosts that contain a dot or colon, in upper or lower case.
    /// They are masked wherever they occur.
    places: Option<AhoCorasick>,
    /// All hosts, in lower case. A host that is a plain word is masked only in a URL.
    hosts: BTreeSet<String>,
    /// The addresses among the hosts, for their other spellings.
    addresses: BTreeSet<IpAddr>,
}

impl Redactor {
    /// A redactor for the deployments of `models`.
    #[must_use]
    pub fn new(models: &[Model]) -> Self {
        let mut redactor = Self::default();
        let (mut keys, mut places) = (BTreeSet::new(), BTreeSet::new());
        for deployment in models.iter().flat_map(|model| &model.deployments) {
            let origin = &deployment.endpoint.origin;
            redactor.hosts.insert(origin.host.clone());
            redactor.addresses.extend(origin.host.parse::<IpAddr>());
            places.insert(match origin.host.contains(':') {
                true => format!("[{}]:{}", origin.host, origin.port),
                false => format!("{}:{}", origin.host, origin.port),
            });
            if origin.host.contains(['.', ':']) {
                places.insert(origin.host.clone());
            }
            let key = deployment.api_key.as_ref().map(|key| key.expose());
            keys.extend(key.filter(|key| key.len() >= SHORTEST_KEY).map(str::to_owned));
        }
        redactor.keys = finder(&keys, false);
        redactor.places = finder(&places, true);
        redactor
    }

    /// `text` with every secret masked.
    #[must_use]
    pub fn redact(&self, text: Bytes) -> Bytes {
        let spans = self.spans(&text);
        if spans.is_empty() {
            return text;
        }
        let (mut out, mut done) = (BytesMut::with_capacity(text.len()), 0);
        for span in merged(&spans, text.len()) {
            out.extend_from_slice(&text[done..span.start]);
            out.extend_from_slice(MASK);
            done = span.end;
        }
        out.extend_from_slice(&text[done..]);
        out.freeze()
    }

    /// Like [`redact`](Self::redact), for a string.
    #[must_use]
    pub fn redact_text(&self, text: String) -> String {
        String::from_utf8_lossy(&self.redact(text.into())).into_owned()
    }

    /// Whether `text` contains a secret.
    #[must_use]
    pub fn finds_any(&self, text: &[u8]) -> bool {
        !self.spans(text).is_empty()
    }

    /// The ranges to mask, in any order. They may overlap.
    fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        self.spans_of(text, |span| spans.push(span));
        let mut level = Level::of(text);
        for _ in 1..LEVELS {
            let Some(next) = level.unescaped() else { break };
            level = next;
            self.spans_of(level.text(), |span| spans.push(level.origin(span)));
        }
        spans
    }

    /// The ranges to mask in a text without its escapes.
    fn spans_of(&self, text: &[u8], mut found: impl FnMut(Range<usize>)) {
        for finder in self.keys.iter().chain(&self.places) {
            count(text.len());
            finder.find_overlapping_iter(text).for_each(|word| found(word.range()));
        }
        self.urls(text, &mut found);
        addresses::v4(text, &mut found);
        addresses::v6(text, &self.addresses, &mut found);
    }

    /// The ranges of the URLs whose hosts are secret.
    fn urls(&self, text: &[u8], found: &mut impl FnMut(Range<usize>)) {
        const MARK: &str = "://";
        let finder = Finder::new(MARK);
        let mut from = 0;
        count(text.len());
        while let Some(mark) = finder.find(&text[from..]).map(|at| from + at) {
            let authority = mark + MARK.len();
            from = authority;
            let end = authority + span(&text[authority..], is_in_authority);
            count(end - authority);
            if !self.hides(&text[authority..end]) {
                continue;
            }
            let scheme = text[..mark].iter().rev().take_while(|byte| byte.is_ascii_alphanumeric());
            let start = mark - scheme.count();
            let rest = span(&text[end..], |byte| {
                !(byte.is_ascii_whitespace() || b"\"'<>()[]{},\\".contains(&byte))
            });
            count(mark - start + rest);
            // A URL in the path of a masked one is masked with it, and not looked at again.
            from = end + rest;
            found(start..from);
        }
    }

    /// True if the host in the authority of a URL is secret.
    fn hides(&self, authority: &[u8]) -> bool {
        let Ok(authority) = std::str::from_utf8(authority) else { return false };
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = match host.strip_prefix('[') {
            Some(v6) => v6.split([']', '%']).next(),
            None => host.split(':').next(),
        };
        let host = host.unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        !host.is_empty() && (self.hosts.contains(&host) || endpoint::is_private(&host))
    }
}

fn finder(words: &BTreeSet<String>, ignore_case: bool) -> Option<AhoCorasick> {
    let mut builder = AhoCorasick::builder();
    let finder = builder.ascii_case_insensitive(ignore_case).build(words);
    // Building fails only if the words do not fit into memory.
    finder.ok().filter(|_| !words.is_empty())
}

/// How many bytes at the start of a text satisfy `is`.
fn span(text: &[u8], is: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| is(**byte)).count()
}

fn is_in_authority(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_~%:@[]".contains(&byte)
}

/// The parts of a text of this length that the spans cover, in order. Does not sort, because a text
/// may have a span for every few bytes.
fn merged(spans: &[Range<usize>], length: usize) -> Vec<Range<usize>> {
    let mut change = vec![0_i32; length + 1];
    for span in spans {
        change[span.start] += 1;
        change[span.end] -= 1;
    }
    let (mut merged, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, change) in change.into_iter().enumerate() {
        let was = depth;
        depth += change;
        match (was > 0, depth > 0) {
            (false, true) => start = at,
            (true, false) => merged.push(start..at),
            _ => {}
        }
    }
    merged
}

/// Shows no secret.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}
