//! Hides secrets in the text that snippets are cut from.
//!
//! A diagnostic is printed, logged and served, and the line that it points at may hold a key.
//! Masking keeps every byte offset, so that positions in the file hold in the masked copy. It works
//! on the text and not on the tree, because a file that does not parse has keys too.

use std::ops::Range;

use super::diagnostic::nearest;

/// Endings of keys whose values are secrets.
const SECRET: [&str; 6] = ["api_key", "_key", "token", "secret", "password", "authorization"];

/// Words that make `tokens` a number of a model's tokens. Words that secrets have too, as in
/// `new_tokens`, are not among them.
const COUNTED: [&str; 27] = [
    "audio",
    "batched",
    "budget",
    "cache",
    "cached",
    "completion",
    "context",
    "creation",
    "draft",
    "image",
    "input",
    "max",
    "maximum",
    "min",
    "minimum",
    "num",
    "output",
    "prediction",
    "prefill",
    "prefix",
    "prompt",
    "read",
    "reasoning",
    "text",
    "thinking",
    "total",
    "uncached",
];

/// Whether the value of this key must not be shown.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET.iter().any(|end| key.ends_with(end))
}

/// Whether a key is that of a secret, or a misspelling of one.
pub(super) fn may_be_secret(key: &str) -> bool {
    const LAST: [&str; 5] = ["key", "token", "secret", "password", "authorization"];
    let key = key.to_ascii_lowercase();
    let last = key.rsplit(['_', '-']).next().unwrap_or(&key);
    let is_near =
        || nearest(&key, SECRET.into_iter()).is_some() || nearest(last, LAST.into_iter()).is_some();
    is_secret(&key) || (is_near() && !is_count(&key))
}

/// Whether a key is that of a number of tokens: each word before `tokens` says so. Any other word,
/// as in `access_tokens`, may make it a list of secrets.
fn is_count(key: &str) -> bool {
    let words = key.strip_suffix("tokens").and_then(|key| key.strip_suffix(['_', '-']));
    words.is_some_and(|words| words.split(['_', '-']).all(|word| COUNTED.contains(&word)))
}

/// A copy in which the values of secret keys, and all of a URL but host and path, are `*`.
pub(super) fn mask(text: &str) -> String {
    let mut masked = text.as_bytes().to_vec();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        for span in secret_values(line).into_iter().chain(url_secrets(line)) {
            hide(&mut masked, start + span.start..start + span.end);
        }
        start += line.len();
    }
    String::from_utf8(masked).unwrap_or_default()
}

/// Overwrites a range with `*`. Line ends stay.
pub(super) fn hide(text: &mut [u8], span: Range<usize>) {
    for byte in text.get_mut(span).unwrap_or_default() {
        if !matches!(byte, b'\n' | b'\r') {
            *byte = b'*';
        }
    }
}

/// Overwrites a range except for references to variables.
pub(super) fn hide_literals(text: &mut [u8], span: Range<usize>) {
    let value = text.get(span.clone()).and_then(|value| std::str::from_utf8(value).ok());
    for literal in value.map(literals).unwrap_or_default() {
        hide(text, span.start + literal.start..span.start + literal.end);
    }
}

/// The values of `key: value` pairs with a secret key.
fn secret_values(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (colon, _) in line.match_indices(':') {
        let key = line[..colon].trim_end_matches(['"', '\'', ' ']);
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !key.rsplit(word).next().is_some_and(is_secret) {
            continue;
        }
        let rest = &line[colon + 1..];
        let value = rest.trim_start();
        let start = colon + 1 + (rest.len() - value.len());
        let in_flow = line[..colon].contains('{');
        let end = value_end(value, in_flow);
        let value = value[..end].trim_end();
        found.extend(literals(value).into_iter().map(|r| start + r.start..start + r.end));
    }
    found
}

/// The length of the value at the start of a text.
fn value_end(value: &str, in_flow: bool) -> usize {
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            value[1..].rfind(quote).map_or(value.len(), |close| close + 2)
        }
        _ if in_flow => flow_end(value),
        _ => value.len(),
    }
}

/// The length of a value without quotes inside `{ }`. The brace of a variable does not end it.
fn flow_end(value: &str) -> usize {
    let mut open = 0_usize;
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open > 0 => open -= 1,
            b'}' | b',' if open == 0 => return at,
            _ => {}
        }
    }
    value.len()
}

/// The parts of a value that are not references to variables. The name of a variable is no secret;
/// its default may be one.
fn literals(value: &str) -> Vec<Range<usize>> {
    let quote = value.chars().next().filter(|first| ['"', '\''].contains(first));
    let closes = quote.is_some_and(|quote| value.len() > 1 && value.ends_with(quote));
    let end = value.len() - usize::from(closes);
    let mut start = usize::from(quote.is_some());
    let (mut found, mut at, mut open) = (Vec::new(), start, 0_usize);
    while at < end {
        let rest = &value[at..];
        let length = match reference(rest) {
            // `$${` is a literal `${`.
            Some(length) if !value[..at].ends_with('$') => {
                open += usize::from(!rest[..length].ends_with('}'));
                length
            }
            _ if open > 0 && rest.starts_with('}') => {
                open -= 1;
                1
            }
            _ => {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            }
        };
        found.push(start..at);
        at += length;
        start = at;
    }
    found.push(start..end);
    found
}

/// The length of `${NAME}`, or of `${NAME:-` before a default, at the start of a text.
fn reference(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("${")?;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = inside.find(|c| !word(c)).unwrap_or(inside.len());
    let ends = ["}", ":-"].into_iter().find(|end| inside[name..].starts_with(end))?;
    (name > 0).then_some(2 + name + ends.len())
}

/// User info and query of the URLs in a line.
fn url_secrets(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, mark) in line.match_indices("://") {
        let start = at + mark.len();
        let url = &line[start..];
        let url = &url[..url.find([' ', '"', '\'', '\n', '\r']).unwrap_or(url.len())];
        let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
        if let Some(end) = authority.rfind('@') {
            found.push(start..start + end);
        }
        if let Some(query) = url.find(['?', '#']) {
            found.push(start + query + 1..start + url.len());
        }
    }
    found
}
