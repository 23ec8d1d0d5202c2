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
    /// The part of the prompt that is sound. None if the upstream does not tell.
    pub audio_tokens: Option<u64>,
    /// The part of the answer that is sound. None if the upstream does not tell.
    pub audio_output_tokens: Option<u64>,
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
    /// Tokens of sound in the prompt and in the answer.
    sound: [Option<u64>; 2],
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
            // The last is of transcriptions.
            "prompt_tokens_details" | "input_tokens_details" | "input_token_details" => {
                let [cached, sound] = of_details(value, "\"cached_tokens\"");
                (self.cached, self.sound[0]) = (cached.or(self.cached), sound.or(self.sound[0]));
            }
            "completion_tokens_details" | "output_tokens_details" | "output_token_details" => {
                let [reasoning, sound] = of_details(value, "\"reasoning_tokens\"");
                self.reasoning = reasoning.or(self.reasoning);
                self.sound[1] = sound.or(self.sound[1]);
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
            audio_tokens: self.sound[0],
            audio_output_tokens: self.sound[1],
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

/// A field of the details of a prompt or an answer, and the tokens of sound. None for `null`, and for
/// anything but an object.
fn of_details(text: &str, name: &str) -> [Option<u64>; 2] {
    let [mut found, mut sound] = [None; 2];
    let field = |key: Range<usize>, value: Range<usize>| match &text[key] {
        "\"audio_tokens\"" => sound = tokens(&text[value]),
        key if key == name => found = tokens(&text[value]),
        _ => {}
    };
    match json::object(text, field) {
        Ok(_) => [found, sound],
        Err(_) => [None; 2],
    }
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
#[path = "usage_tests.rs"]
mod tests;
