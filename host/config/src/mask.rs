//! Hides secrets in the text that snippets are cut from.
//!
//! A diagnostic is printed, logged and served; the line it points at may hold a key. Masking keeps
//! every byte offset, so positions found in the file hold in the masked copy. It works on the text and
//! not on the tree, because a file that does not parse has keys too.

use std::ops::Range;

/// What a key's name ends in when its value is a secret.
const SECRET: [&str; 6] = ["api_key", "_key", "token", "secret", "password", "authorization"];

/// Whether a value under this key must not be shown.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET.iter().any(|end| key.ends_with(end))
}

/// A copy in which the values of secret keys, and what URLs hold besides host and path, are `*`.
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

/// Overwrites a range; line ends stay.
pub(super) fn hide(text: &mut [u8], span: Range<usize>) {
    for byte in text.get_mut(span).unwrap_or_default() {
        if !matches!(byte, b'\n' | b'\r') {
            *byte = b'*';
        }
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
        found.extend(literal_part(&value[..end]).map(|r| start + r.start..start + r.end));
    }
    found
}

/// Where a value that starts a text ends.
fn value_end(value: &str, in_flow: bool) -> usize {
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            value[1..].rfind(quote).map_or(value.len(), |close| close + 2)
        }
        _ if in_flow => value.find([',', '}']).unwrap_or(value.len()),
        _ => value.len(),
    }
}

/// What of a value is not just the name of a variable.
fn literal_part(value: &str) -> Option<Range<usize>> {
    let bare = value.trim_matches(['"', '\'', ' ', '\r', '\n']);
    let name = bare.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (!name.is_some_and(is_name)).then_some(0..value.len())
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
