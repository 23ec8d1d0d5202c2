//! Removes secrets from the words of engines. Engines often repeat the URL or the key that they
//! were called with, and the addresses of engines behind them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use super::{Model, endpoint};

const MASK: &[u8] = b"[redacted]";
/// Shorter keys are not masked: they are no secrets, and any text contains them.
const SHORTEST_KEY: usize = 4;

/// Masks the keys and addresses of all deployments, and every URL and address in a private network:
/// there may be more engines than are configured.
#[derive(Default)]
pub struct Redactor {
    keys: BTreeSet<String>,
    /// In lower case.
    hosts: BTreeSet<String>,
    /// Masked wherever they occur: hosts with their ports, and hosts that are more than a plain
    /// word.
    places: BTreeSet<String>,
}

impl Redactor {
    /// A redactor for the deployments of `models`.
    #[must_use]
    pub fn new(models: &[Model]) -> Self {
        let mut redactor = Self::default();
        for deployment in models.iter().flat_map(|model| &model.deployments) {
            let origin = &deployment.endpoint.origin;
            redactor.hosts.insert(origin.host.clone());
            let place = match origin.host.contains(':') {
                true => format!("[{}]:{}", origin.host, origin.port),
                false => format!("{}:{}", origin.host, origin.port),
            };
            redactor.places.insert(place);
            if origin.host.contains(['.', ':']) {
                redactor.places.insert(origin.host.clone());
            }
            if let Some(key) = deployment.api_key.as_ref().map(|key| key.expose()) {
                // As it is, and with `/` escaped as some write it in JSON.
                redactor.keys.extend([key.to_owned(), key.replace('/', "\\/")]);
            }
        }
        redactor.keys.retain(|key| key.len() >= SHORTEST_KEY);
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
        for span in spans {
            if span.start >= done {
                out.extend_from_slice(&text[done..span.start]);
                out.extend_from_slice(MASK);
            }
            done = done.max(span.end);
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

    /// The ranges to mask, sorted by their start. They may overlap.
    fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        let lower = text.to_ascii_lowercase();
        let mut spans = Vec::new();
        let words = self.keys.iter().map(|key| (text, key));
        for (text, word) in words.chain(self.places.iter().map(|place| (&lower[..], place))) {
            spans.extend(memmem::find_iter(text, word).map(|at| at..at + word.len()));
        }
        // The second has `/` escaped as some write it in JSON.
        for mark in ["://", ":\\/\\/"] {
            let urls = memmem::find_iter(&lower, mark);
            spans.extend(urls.filter_map(|at| self.url(&lower, at, at + mark.len())));
        }
        spans.extend(addresses(&lower));
        spans.sort_unstable_by_key(|span| span.start);
        spans
    }

    /// The range of the URL around a `://`, if its host is secret.
    fn url(&self, text: &[u8], mark: usize, authority: usize) -> Option<Range<usize>> {
        let in_authority = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_~%:@[]".contains(byte);
        let length = text[authority..].iter().take_while(|byte| in_authority(byte)).count();
        let told = std::str::from_utf8(&text[authority..authority + length]).ok()?;
        let host = told.rsplit('@').next()?;
        let host = match host.strip_prefix('[') {
            Some(v6) => v6.split(']').next()?,
            None => host.split(':').next()?,
        };
        let host = host.trim_end_matches('.');
        let hidden = self.hosts.contains(host) || endpoint::is_private(host);
        if host.is_empty() || !hidden {
            return None;
        }
        let in_scheme = |byte: &&u8| byte.is_ascii_alphanumeric();
        let scheme = text[..mark].iter().rev().take_while(in_scheme).count();
        let mut end = authority + length;
        while let Some(byte) = text.get(end) {
            let escaped = *byte == b'\\' && text.get(end + 1) == Some(&b'/');
            if !escaped && (byte.is_ascii_whitespace() || b"\"'<>()[]{},\\".contains(byte)) {
                break;
            }
            end += 1;
        }
        Some(mark - scheme..end)
    }
}

/// The ranges of IPv4 addresses in private networks, with their ports.
fn addresses(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text[from..].iter().position(u8::is_ascii_digit)?;
            let run = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
            let length = text[start..].iter().take_while(run).count();
            from = start + length;
            let run = std::str::from_utf8(&text[start..from]).unwrap_or_default();
            let address = run.trim_end_matches('.');
            if address.parse().is_ok_and(|address: Ipv4Addr| endpoint::is_private_v4(address)) {
                let end = start + address.len();
                return Some(start..end + port(&text[end..]));
            }
        }
    })
}

/// The length of `:8000` at the start of a text.
fn port(text: &[u8]) -> usize {
    let digits = text.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    if text.first() == Some(&b':') && digits > 0 { 1 + digits } else { 0 }
}

/// Shows no secret.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}
