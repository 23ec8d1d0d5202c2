//! Finds the token usage that an upstream reports, without parsing the answer. A raw search for
//! `"usage":{...}` is safe: inside a JSON string its quotes would be escaped.
//!
//! Every byte is searched once and kept at most once, however the answer is cut and whatever is in
//! it. [`MOST_NESTED`] bounds how often a byte is parsed.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use http1::json;

use crate::count;

const KEY: &[u8] = b"\"usage\"";
/// Built once: building it takes longer than searching an event.
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));
/// In bytes. The scan gives up an unfinished usage object of this length; real ones are shorter.
const LONGEST: usize = 2048;
/// Of nested usage objects only this many are parsed, the innermost ones.
const MOST_NESTED: usize = 4;

/// Tokens as the upstream counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// `prompt_tokens`, or `input_tokens` of responses.
    pub prompt_tokens: u64,
    /// `completion_tokens`, or `output_tokens` of responses. 0 if absent.
    pub completion_tokens: u64,
    /// The part of the prompt that came from a cache: `cached_tokens` of the details of the prompt,
    /// or `prompt_cache_hit_tokens`. None if the upstream does not tell.
    pub cached_tokens: Option<u64>,
}

/// Searches an answer chunk by chunk. Between chunks it keeps at most one usage object.
#[derive(Debug, Default)]
pub struct UsageScan {
    /// How many bytes of [`KEY`] the input so far ends with. After all of them the value comes
    /// next.
    key: usize,
    /// The text from the outermost open usage object on. Empty if none is open.
    text: Vec<u8>,
    /// The open usage objects: where each begins in `text`, and the braces open before it.
    open: Vec<(usize, usize)>,
    /// Open braces in `text`.
    depth: usize,
    found: Option<Usage>,
}

impl UsageScan {
    /// The last valid usage object so far.
    pub fn found(&self) -> Option<Usage> {
        self.found
    }

    /// Searches the next chunk, which may be cut anywhere.
    pub fn feed(&mut self, chunk: &[u8]) {
        let mut at = 0;
        while at < chunk.len() {
            if self.key > 0 || !self.open.is_empty() {
                count(1);
                self.step(chunk[at]);
                at += 1;
                continue;
            }
            let Some(found) = FINDER.find(&chunk[at..]) else {
                count(chunk.len() - at);
                self.key = beginning(&chunk[at..]);
                return;
            };
            at += found + KEY.len();
            count(found + KEY.len());
            self.key = KEY.len();
        }
    }

    /// Takes one byte after the beginning of a key, or inside a usage object.
    fn step(&mut self, byte: u8) {
        let is_open = !self.open.is_empty();
        if is_open {
            self.text.push(byte);
        }
        if self.key == KEY.len() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b':' => return,
                b'{' => {
                    if !is_open {
                        self.text.push(byte);
                    }
                    if self.open.len() == MOST_NESTED {
                        self.open.remove(0);
                    }
                    self.open.push((self.text.len() - 1, self.depth));
                }
                _ => self.key = 0,
            }
        }
        // A quote that ends no key may begin one.
        self.key = match KEY.get(self.key) {
            Some(next) if *next == byte => self.key + 1,
            _ => usize::from(byte == KEY[0]),
        };
        match byte {
            _ if self.open.is_empty() => {}
            b'{' => self.depth += 1,
            b'}' => self.close(),
            _ if self.text.len() > LONGEST => self.forget(),
            _ => {}
        }
    }

    /// Takes the brace at the end of `text`. Counting braces is enough, because usage objects
    /// contain only numbers and objects, no strings.
    fn close(&mut self) {
        self.depth -= 1;
        while let Some((start, depth)) = self.open.last().copied()
            && depth == self.depth
        {
            self.open.pop();
            count(self.text.len() - start);
            let usage = str::from_utf8(&self.text[start..]).ok().and_then(of_object);
            self.found = usage.or(self.found);
        }
        if self.open.is_empty() {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.open.clear();
        self.text.clear();
        self.depth = 0;
    }
}

/// How many bytes of [`KEY`] a text ends with. The text contains no whole key.
fn beginning(text: &[u8]) -> usize {
    (1..KEY.len()).rev().find(|length| text.ends_with(&KEY[..*length])).unwrap_or(0)
}

/// True if a text has the key of a usage object.
pub(crate) fn is_named(text: &[u8]) -> bool {
    FINDER.find(text).is_some()
}

/// True if a text has the key of a usage object, and a value other than null.
pub(crate) fn is_told(text: &[u8]) -> bool {
    let mut value = FINDER
        .find_iter(text)
        .map(|at| text[at + KEY.len()..].iter().find(|byte| !matches!(byte, b':' | b' ')).copied());
    value.any(|value| value != Some(b'n'))
}

/// Parses a usage object, of chat and completions (`prompt_tokens`) or of responses
/// (`input_tokens`). None without a valid prompt count.
pub fn of_object(text: &str) -> Option<Usage> {
    let (mut prompt, mut completion, mut cached) = (None, Some(0), None);
    let field = |key: Range<usize>, value: Range<usize>| match &text[key] {
        "\"prompt_tokens\"" | "\"input_tokens\"" => prompt = text[value].parse().ok(),
        "\"completion_tokens\"" | "\"output_tokens\"" => completion = text[value].parse().ok(),
        "\"prompt_tokens_details\"" | "\"input_tokens_details\"" => {
            cached = of_details(&text[value]).or(cached);
        }
        "\"prompt_cache_hit_tokens\"" => cached = text[value].parse().ok().or(cached),
        _ => {}
    };
    json::object(text, field).ok()?;
    Some(Usage { prompt_tokens: prompt?, completion_tokens: completion?, cached_tokens: cached })
}

/// `cached_tokens` of the details of a prompt. None for `null`, and for anything but an object.
fn of_details(text: &str) -> Option<u64> {
    let mut cached = None;
    let field = |key: Range<usize>, value: Range<usize>| {
        if &text[key] == "\"cached_tokens\"" {
            cached = text[value].parse().ok();
        }
    };
    json::object(text, field).ok()?;
    cached
}

#[cfg(test)]
mod tests {
    use pieces::work;

    use super::*;

    #[test]
    fn usage_is_found_however_the_answer_is_cut() {
        let text = br#"data: {"x":"\"usage\":{}","usage":null}

data: {"usage": {"prompt_tokens":3,"completion_tokens":4,"details":{"cached":1}}}

data: [DONE]"#;
        for size in 1..text.len() {
            let mut scan = UsageScan::default();
            text.chunks(size).for_each(|chunk| scan.feed(chunk));
            let want = Usage { prompt_tokens: 3, completion_tokens: 4, cached_tokens: None };
            assert_eq!(scan.found(), Some(want), "in chunks of {size}");
            assert!(scan.text.is_empty());
        }
    }

    #[test]
    fn usage_is_found_behind_and_within_other_text() {
        let good = r#""usage":{"prompt_tokens":3}"#;
        for text in [
            format!("\"usag{good}"),
            format!("\"usage\" : 1,{good}"),
            format!("\"usage\":\n\t{{{good}}}"),
            format!("\"usage\":{{\"a\":{{}},{good}}}}}}}"),
            format!("{}{good}", "\"usage\":{".repeat(300)),
        ] {
            let mut scan = UsageScan::default();
            scan.feed(text.as_bytes());
            assert_eq!(scan.found().map(|usage| usage.prompt_tokens), Some(3), "{text}");
        }
    }

    #[test]
    fn the_work_is_a_multiple_of_the_bytes() {
        for part in ["\"usage\":{", "\"usage\":{}", "\"usage\"", "{\"usage\":{\"a\":1}", "\"usag"] {
            let text = part.repeat((1 << 20) / part.len());
            for size in [1, 7, 1000, 1 << 16] {
                let calls = text.len().div_ceil(size);
                work::bounded(2 + MOST_NESTED, text.len(), (calls, 0), || {
                    let mut scan = UsageScan::default();
                    text.as_bytes().chunks(size).for_each(|chunk| scan.feed(chunk));
                    assert!(scan.text.len() <= LONGEST + 1);
                });
            }
        }
    }

    #[test]
    fn cached_tokens_are_told_in_several_ways() {
        let cached = |text: &str| of_object(text).and_then(|usage| usage.cached_tokens);
        for (details, want) in [
            (r#""prompt_tokens_details":{"audio_tokens":1,"cached_tokens":7}"#, Some(7)),
            (r#""input_tokens_details": { "cached_tokens" : 0 }"#, Some(0)),
            (r#""prompt_cache_hit_tokens":9,"prompt_cache_miss_tokens":1"#, Some(9)),
            (r#""prompt_tokens_details":null"#, None),
            (r#""prompt_tokens_details":{"cached_tokens":null}"#, None),
            (r#""prompt_tokens_details":{"cached_tokens":-5}"#, None),
            (r#""prompt_tokens_details":{"cached_tokens":1e300}"#, None),
            (r#""prompt_tokens_details":[7]"#, None),
            (r#""prompt_cache_hit_tokens":9,"prompt_tokens_details":null"#, Some(9)),
        ] {
            assert_eq!(cached(&format!("{{\"prompt_tokens\":12,{details}}}")), want, "{details}");
            assert_eq!(cached(&format!("{{{details},\"prompt_tokens\":12}}")), want, "{details}");
        }
        assert_eq!(cached(r#"{"prompt_tokens":12}"#), None);
    }

    #[test]
    fn the_last_valid_usage_counts() {
        let used = |prompt_tokens, completion_tokens| {
            let cached_tokens = None;
            Usage { prompt_tokens, completion_tokens, cached_tokens }
        };
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
