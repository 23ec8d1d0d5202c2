//! Finds the token usage that an upstream reports, without parsing the answer. A raw search for
//! `"usage":{...}` is safe: inside a JSON string its quotes would be escaped.
//!
//! Every byte is searched once and kept at most once, however the answer is cut and whatever is in
//! it. [`MOST_NESTED`] bounds how often a byte is parsed.

use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

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

/// The largest number of tokens that is believed. No request has as many.
const MOST_TOKENS: u64 = u32::MAX as u64;
/// In seconds. The longest recording that is believed.
const LONGEST_AUDIO: f64 = 1e9;

/// Tokens as the upstream counted them, or an estimate of the gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, with those from a cache.
    pub prompt_tokens: u64,
    /// Tokens of the answer, with those of its reasoning. 0 if absent.
    pub completion_tokens: u64,
    /// The part of the prompt that came from a cache. None if the upstream does not tell.
    pub cached_tokens: Option<u64>,
    /// The part of the prompt that was written to a cache. None if the upstream does not tell.
    pub cache_write_tokens: Option<u64>,
    /// The part of the answer that is reasoning. None if the upstream does not tell.
    pub reasoning_tokens: Option<u64>,
    /// The length of a recording that was read.
    pub audio: Option<Duration>,
    /// True if the upstream told nothing, and the gateway has estimated the tokens.
    pub is_estimated: bool,
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

/// True if a text has the key of a usage object, and a value other than null.
pub(crate) fn is_told(text: &[u8]) -> bool {
    let mut value = FINDER
        .find_iter(text)
        .map(|at| text[at + KEY.len()..].iter().find(|byte| !matches!(byte, b':' | b' ')).copied());
    value.any(|value| value != Some(b'n'))
}

/// The fields of a usage object, in any spelling. A field with an invalid number is None.
#[derive(Debug, Default)]
struct Fields {
    prompt: Option<u64>,
    completion: Option<u64>,
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    /// `cache_read_input_tokens` and `cache_creation_input_tokens`.
    read: Option<u64>,
    written: Option<u64>,
    reasoning: Option<u64>,
    audio: Option<Duration>,
    /// True if a number of the answer's tokens is there, and invalid.
    is_broken: bool,
}

/// Parses a usage object: of chat and completions (`prompt_tokens`), of responses (`input_tokens`),
/// of Anthropic (`input_tokens` without those of the cache), of rerankers (`total_tokens` alone),
/// and of recordings (`seconds`). None without a valid number of the prompt.
pub fn of_object(text: &str) -> Option<Usage> {
    let mut fields = Fields::default();
    json::object(text, |key, value| fields.take(&text[key], &text[value])).ok()?;
    fields.usage()
}

impl Fields {
    fn take(&mut self, key: &str, value: &str) {
        let answered = |place: &mut Option<u64>, is_broken: &mut bool| {
            *place = tokens(value);
            *is_broken |= place.is_none() && value != "null";
        };
        match key.trim_matches('"') {
            "prompt_tokens" => self.prompt = tokens(value),
            "input_tokens" => self.input = tokens(value),
            "completion_tokens" => answered(&mut self.completion, &mut self.is_broken),
            "output_tokens" => answered(&mut self.output, &mut self.is_broken),
            "total_tokens" => self.total = tokens(value),
            "prompt_tokens_details" | "input_tokens_details" => {
                self.cached = of_details(value, "\"cached_tokens\"").or(self.cached);
            }
            "completion_tokens_details" | "output_tokens_details" => {
                self.reasoning = of_details(value, "\"reasoning_tokens\"").or(self.reasoning);
            }
            "prompt_cache_hit_tokens" | "cached_tokens" => {
                self.cached = tokens(value).or(self.cached);
            }
            "reasoning_tokens" => self.reasoning = tokens(value).or(self.reasoning),
            "cache_read_input_tokens" => self.read = tokens(value),
            "cache_creation_input_tokens" => self.written = tokens(value),
            "seconds" => self.audio = seconds(value),
            _ => {}
        }
    }

    fn usage(self) -> Option<Usage> {
        // Some gateways write both names, one of them with 0.
        let either = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None | Some(0), Some(other)) => Some(other),
            (one, _) => one,
        };
        if self.is_broken {
            return None;
        }
        let completion = either(self.completion, self.output);
        let alone = self.total.filter(|_| completion.is_none());
        // Anthropic counts the tokens of its cache apart. Others that have its names include them.
        let apart = match self.prompt {
            None | Some(0) => self.read.unwrap_or(0) + self.written.unwrap_or(0),
            Some(_) => 0,
        };
        let input = self.input.map(|input| input + apart);
        let prompt = either(self.prompt, input).or(alone).or(self.audio.map(|_| 0))?;
        Some(Usage {
            prompt_tokens: prompt,
            completion_tokens: completion.unwrap_or(0),
            cached_tokens: self.cached.or(self.read),
            cache_write_tokens: self.written,
            reasoning_tokens: self.reasoning,
            audio: self.audio,
            is_estimated: false,
        })
    }
}

/// Parses `timings` of llama.cpp. It counts the tokens of its cache apart.
pub(crate) fn of_timings(text: &str) -> Option<Usage> {
    let (mut prompt, mut cached, mut completion) = (None, None, None);
    let field = |key: Range<usize>, value: Range<usize>| match &text[key] {
        "\"prompt_n\"" => prompt = tokens(&text[value]),
        "\"cache_n\"" => cached = tokens(&text[value]),
        "\"predicted_n\"" => completion = tokens(&text[value]),
        _ => {}
    };
    json::object(text, field).ok()?;
    Some(Usage {
        prompt_tokens: prompt? + cached.unwrap_or(0),
        completion_tokens: completion?,
        cached_tokens: cached,
        ..Usage::default()
    })
}

/// A field of the details of a prompt or an answer. None for `null`, and for anything but an object.
fn of_details(text: &str, name: &str) -> Option<u64> {
    let mut found = None;
    let field = |key: Range<usize>, value: Range<usize>| {
        if &text[key] == name {
            found = tokens(&text[value]);
        }
    };
    json::object(text, field).ok()?;
    found
}

/// A number of tokens. Some engines write `12.0`.
fn tokens(text: &str) -> Option<u64> {
    let number = match text.parse::<u64>() {
        Ok(number) => number,
        Err(_) => {
            let number = text.parse::<f64>().ok()?;
            let is_whole = number.fract() == 0.0 && (0.0..=MOST_TOKENS as f64).contains(&number);
            is_whole.then_some(number as u64)?
        }
    };
    (number <= MOST_TOKENS).then_some(number)
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    (0.0..=LONGEST_AUDIO).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use pieces::work;

    use super::*;

    fn used(prompt_tokens: u64, completion_tokens: u64) -> Usage {
        Usage { prompt_tokens, completion_tokens, ..Usage::default() }
    }

    #[test]
    fn usage_is_found_however_the_answer_is_cut() {
        let text = br#"data: {"x":"\"usage\":{}","usage":null}

data: {"usage": {"prompt_tokens":3,"completion_tokens":4,"details":{"cached":1}}}

data: [DONE]"#;
        for size in 1..text.len() {
            let mut scan = UsageScan::default();
            text.chunks(size).for_each(|chunk| scan.feed(chunk));
            let want = used(3, 4);
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
    fn every_shape_is_read() {
        let cached = |cached| Usage { cached_tokens: Some(cached), ..used(12, 5) };
        let reasoning = |reasoning| Usage { reasoning_tokens: Some(reasoning), ..used(12, 5) };
        let audio = Duration::from_millis(2500);
        for (text, want) in [
            (r#"{"prompt_tokens":12,"completion_tokens":5,"total_tokens":17}"#, used(12, 5)),
            (
                r#"{"prompt_tokens":12,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0}}"#,
                reasoning(3),
            ),
            (
                r#"{"input_tokens":12,"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0}}"#,
                reasoning(0),
            ),
            (
                r#"{"input_tokens":12,"input_tokens_details":{"cached_tokens":4},"output_tokens":5}"#,
                cached(4),
            ),
            (
                r#"{"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":8,"prompt_tokens":12,"completion_tokens":5}"#,
                cached(4),
            ),
            // Anthropic, then a gateway that has its names beside those of OpenAI.
            (
                r#"{"input_tokens":2,"cache_read_input_tokens":7,"cache_creation_input_tokens":3,"output_tokens":5}"#,
                Usage { cache_write_tokens: Some(3), ..cached(7) },
            ),
            (
                r#"{"cache_creation_input_tokens":0,"cache_read_input_tokens":7,"completion_tokens":5,"prompt_tokens":12}"#,
                Usage { cache_write_tokens: Some(0), ..cached(7) },
            ),
            (
                r#"{"prompt_tokens":12,"completion_tokens":5,"input_tokens":0,"output_tokens":0}"#,
                used(12, 5),
            ),
            (
                r#"{"prompt_tokens":0,"completion_tokens":0,"input_tokens":12,"output_tokens":5}"#,
                used(12, 5),
            ),
            // Embeddings and rerankers.
            (r#"{"prompt_tokens":12,"total_tokens":12}"#, used(12, 0)),
            (r#"{"total_tokens":12}"#, used(12, 0)),
            (r#"{"prompt_tokens":12.0,"completion_tokens":5e0}"#, used(12, 5)),
            (r#"{"type":"duration","seconds":2.5}"#, Usage { audio: Some(audio), ..used(0, 0) }),
            (
                r#"{"type":"tokens","input_tokens":12,"input_token_details":{"audio_tokens":12},"output_tokens":5}"#,
                used(12, 5),
            ),
        ] {
            assert_eq!(of_object(text), Some(want), "{text}");
        }
        let timings =
            r#"{"cache_n":4,"prompt_n":8,"prompt_ms":1.5,"predicted_n":5,"predicted_ms":9}"#;
        assert_eq!(of_timings(timings), Some(cached(4)));
        assert_eq!(of_timings(r#"{"prompt_n":12,"predicted_n":5}"#), Some(used(12, 5)));
        assert_eq!(of_timings(r#"{"prompt_n":12}"#), None);
        assert_eq!(of_timings("null"), None);
    }

    #[test]
    fn hostile_numbers_are_not_believed() {
        for number in [
            "-1",
            "1.5",
            "1e300",
            "\"7\"",
            "null",
            "true",
            "[7]",
            "{}",
            "-0.5",
            "1e-3",
            "4294967296",
            "18446744073709551616",
        ] {
            assert_eq!(of_object(&format!("{{\"prompt_tokens\":{number}}}")), None, "{number}");
            let seconds = of_object(&format!("{{\"seconds\":{number}}}"));
            assert!(seconds.is_none_or(|usage| usage.audio < Some(Duration::from_secs(1 << 33))));
            let text = format!("{{\"prompt_tokens\":3,\"completion_tokens\":{number}}}");
            let want = (number == "null").then(|| used(3, 0));
            assert_eq!(of_object(&text), want, "{number}");
            let details = format!(
                "{{\"prompt_tokens\":3,\"prompt_tokens_details\":{{\"cached_tokens\":{number}}}}}"
            );
            assert_eq!(of_object(&details), Some(used(3, 0)), "{number}");
        }
        let most = format!("{{\"prompt_tokens\":{MOST_TOKENS}}}");
        assert_eq!(of_object(&most), Some(used(MOST_TOKENS, 0)));
        let deep = format!("{{\"prompt_tokens\":3,\"x\":{}{}}}", "[".repeat(500), "]".repeat(500));
        assert_eq!(of_object(&deep), None, "no parser of a deployment reads it");
    }

    #[test]
    fn the_last_valid_usage_counts() {
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
