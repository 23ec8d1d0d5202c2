//! Finds the token usage that an upstream reports, without parsing the answer. A raw search for
//! `"usage":{...}` is safe: inside a JSON string its quotes would be escaped.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use http1::json;

const KEY: &[u8] = b"\"usage\"";
/// Built once: building it takes longer than searching an event.
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));
/// In bytes. The scan gives up an unfinished usage object of this length; real ones are shorter.
const LONGEST: usize = 2048;

/// Tokens as the upstream counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// `prompt_tokens`, or `input_tokens` of responses.
    pub prompt_tokens: u64,
    /// `completion_tokens`, or `output_tokens` of responses. 0 if absent.
    pub completion_tokens: u64,
}

/// Searches an answer chunk by chunk. Between chunks it keeps at most the start of one usage
/// object.
#[derive(Debug, Default)]
pub struct UsageScan {
    /// The end of the input so far, if it may be the start of a usage object.
    held: Vec<u8>,
    found: Option<Usage>,
}

impl UsageScan {
    /// The last valid usage object so far.
    pub fn found(&self) -> Option<Usage> {
        self.found
    }

    /// Searches the next chunk, which may be cut anywhere.
    pub fn feed(&mut self, chunk: &[u8]) {
        if self.held.is_empty() {
            let rest = self.search(chunk);
            self.held = chunk[rest..].to_vec();
        } else {
            let mut all = std::mem::take(&mut self.held);
            all.extend_from_slice(chunk);
            let rest = self.search(&all);
            self.held = all.split_off(rest);
        }
    }

    /// Takes every whole usage object. Returns the position where an unfinished one may begin.
    fn search(&mut self, text: &[u8]) -> usize {
        let mut from = 0;
        while let Some(at) = FINDER.find(&text[from..]) {
            let start = from + at;
            let value = &text[start + KEY.len()..];
            match object(value) {
                Object::Whole(json) => {
                    let usage = str::from_utf8(json).ok().and_then(of_object);
                    self.found = usage.or(self.found);
                    from = start + KEY.len();
                }
                Object::Unfinished if value.len() < LONGEST => return start,
                Object::Unfinished | Object::None => from = start + KEY.len(),
            }
        }
        // The key itself may be cut: keep what may be its start.
        let tail = text.len().saturating_sub(KEY.len() - 1).max(from);
        (tail..text.len()).find(|i| KEY.starts_with(&text[*i..])).unwrap_or(text.len())
    }
}

enum Object<'a> {
    Whole(&'a [u8]),
    Unfinished,
    None,
}

/// The JSON object after `: `, if there is one. Counting braces is enough because usage objects
/// contain only numbers and objects, no strings.
fn object(text: &[u8]) -> Object<'_> {
    let Some(start) = text.iter().position(|b| !matches!(b, b' ' | b':')) else {
        return Object::Unfinished;
    };
    if text[start] != b'{' {
        return Object::None;
    }
    let mut depth = 0usize;
    for (i, byte) in text.iter().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Object::Whole(&text[start..=i]),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    Object::Unfinished
}

/// Parses a usage object, of chat and completions (`prompt_tokens`) or of responses
/// (`input_tokens`). None without a valid prompt count.
pub fn of_object(text: &str) -> Option<Usage> {
    let (mut prompt, mut completion) = (None, Some(0));
    let field = |key: Range<usize>, value: Range<usize>| match &text[key] {
        "\"prompt_tokens\"" | "\"input_tokens\"" => prompt = text[value].parse().ok(),
        "\"completion_tokens\"" | "\"output_tokens\"" => completion = text[value].parse().ok(),
        _ => {}
    };
    json::object(text, field).ok()?;
    Some(Usage { prompt_tokens: prompt?, completion_tokens: completion? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_found_however_the_answer_is_cut() {
        let text = br#"data: {"x":"\"usage\":{}","usage":null}

data: {"usage": {"prompt_tokens":3,"completion_tokens":4,"details":{"cached":1}}}

data: [DONE]"#;
        for size in 1..text.len() {
            let mut scan = UsageScan::default();
            text.chunks(size).for_each(|chunk| scan.feed(chunk));
            let want = Usage { prompt_tokens: 3, completion_tokens: 4 };
            assert_eq!(scan.found(), Some(want), "in chunks of {size}");
            assert!(scan.held.len() <= LONGEST);
        }
    }

    #[test]
    fn an_unfinished_object_is_held_up_to_the_limit() {
        for (length, is_held) in [(LONGEST - 1, true), (LONGEST, false)] {
            let mut text = [KEY, b": {\"prompt_tokens\":3,"].concat();
            text.resize(KEY.len() + length, b' ');
            let mut scan = UsageScan::default();
            scan.feed(&text);
            assert_eq!(scan.held.len(), if is_held { text.len() } else { 0 });
            scan.feed(b"\"completion_tokens\":4}");
            assert_eq!(scan.found().is_some(), is_held, "{length}");
        }
    }

    #[test]
    fn the_last_valid_usage_counts() {
        let used = |prompt_tokens, completion_tokens| Usage { prompt_tokens, completion_tokens };
        let mut scan = UsageScan::default();
        for (text, found) in [
            (&b"\"usage\":1"[..], None),
            (b"\"usage\":{\"input_tokens\":1,\"output_tokens\":2}", Some(used(1, 2))),
            (b"\"usage\":{\"completion_tokens\":9}", Some(used(1, 2))),
            (b"\"usage\":{\"prompt_tokens\":-1}", Some(used(1, 2))),
            (b"\"usage\":{\"a\":{\"b\":{}},\"prompt_tokens\":3} }", Some(used(3, 0))),
        ] {
            scan.feed(text);
            assert_eq!(scan.found(), found, "{}", String::from_utf8_lossy(text));
        }
    }
}
