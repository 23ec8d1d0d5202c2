//! Fuzz oracle: no secret stays in the words of an engine, and the work is bounded by their length.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use pieces::work;

use super::{Document, Redactor, checked, endpoint};

const MODELS: &str = "\
models:
  - {id: a, base_url: 'https://API.example/v1', api_key: 'sk-a/b+c'}
  - {id: b, base_url: 'http://vllm:8000', api_key: abcd}
  - {id: c, base_url: 'http://[fd00::7]:8000'}
  - {id: d, base_url: 'http://[2001:db8::7]:8000'}
";
/// What no answer to a client may hold.
const KEYS: [&str; 2] = ["sk-a/b+c", "abcd"];
/// The same in any case.
const PLACES: [&str; 3] = ["api.example", "vllm:8000", "2001:db8::7"];
/// Bytes looked at for each byte of input.
const FACTOR: usize = 100;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| {
    let (document, errors) = Document::parse("models.yaml".into(), MODELS.into(), &|_| None);
    let config = checked(document.map(Arc::new), None, true, errors).expect("a good file");
    Redactor::new(&config.models)
});

/// Checks that masking removes every secret, in any JSON spelling, and nothing else.
pub fn redactor(input: &[u8]) {
    let masked = work::bounded(FACTOR, input.len(), (1, 0), || {
        REDACTOR.redact(Bytes::copy_from_slice(input))
    });
    assert_eq!(REDACTOR.finds_any(input), masked != input, "found and masked differ");
    let text = String::from_utf8_lossy(&masked).into_owned();
    clean(&text);
    // As a client reads it.
    if let Ok(read) = serde_json::from_str::<String>(&format!("\"{text}\"")) {
        clean(&read);
    }
}

fn clean(text: &str) {
    let lower = text.to_ascii_lowercase();
    for key in KEYS {
        assert!(!text.contains(key), "{key} in {text}");
    }
    for place in PLACES {
        assert!(!lower.contains(place), "{place} in {text}");
    }
    let mut from = 0;
    for token in lower.split_inclusive(|c: char| !is_part(c)) {
        let (at, token) = (from, token.trim_end_matches(|c| !is_part(c)));
        from += token.len() + lower[at + token.len()..].chars().next().map_or(0, char::len_utf8);
        let is_private =
            token.len() > 2 && token.parse::<IpAddr>().is_ok() && endpoint::is_private(token);
        let (before, after) = (&lower[..at], &lower[at + token.len()..]);
        // The masked text beside it may have been the rest of a longer word.
        let is_in_a_word = is_word(before.chars().next_back())
            || is_word(after.chars().next())
            || before.ends_with(MASK)
            || after.starts_with(MASK);
        assert!(!is_private || is_in_a_word, "{token} in {text}");
    }
}

const MASK: &str = "[redacted]";

fn is_part(c: char) -> bool {
    c.is_ascii_hexdigit() || matches!(c, '.' | ':')
}

/// True if the character extends a word, as the `x` in `x::1` does.
fn is_word(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_holds() {
        pieces::replay("redactor", super::redactor);
    }
}
