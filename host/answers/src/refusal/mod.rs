//! Finds out what an engine means by a refusal. Statuses say little. A prompt that is too long is a
//! 400 at one engine, and a 413, 422 or 500 at others. An account without credit is a 402, 403 or
//! 429.
//!
//! [`Words`] are the error object in any shape, and [`Sense::of`] finds what it means. The spellings
//! of engines and providers are data, in [`spellings`].

mod spellings;
#[cfg(test)]
mod tests;
mod wait;
mod words;

use spellings::{PHRASES, Spelling, WORDS};
pub use wait::duration;
pub use words::Words;

/// Something that a request may need and that not every engine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Tool calls.
    Tools,
    /// Images in the prompt.
    Images,
    /// Audio in the prompt.
    Audio,
    /// Video in the prompt.
    Video,
    /// Anything else, such as structured output.
    Other,
}

/// The meaning of a refusal, where its words say more than its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// The prompt, or the prompt and the answer asked for, does not fit the context.
    TooLong,
    /// The engine lacks a feature that the request needs.
    Lacks(Feature),
    /// The account has no credit, or the request is too dear for it.
    Billing,
    /// This one request was refused, by moderation, a firewall or an account's setting. The status
    /// may say otherwise.
    Refused,
    /// The key is refused, or lacks a permission.
    Key,
    /// The engine has no such model.
    Model,
    /// The engine lacks the endpoint.
    Endpoint,
    /// The engine is full.
    Full,
}

/// Longest part of a message that is read, in bytes. Engines say what is wrong at its beginning, and
/// may repeat the whole prompt after that.
const LONGEST: usize = 2048;

impl Sense {
    /// The meaning of `words`. `status` is that of the answer, or of the error in an answer of status
    /// 200. `sent` is the model's name as it was sent. None: the words say no more than the status.
    #[must_use]
    pub fn of(status: Option<u16>, words: &Words, sent: &str) -> Option<Self> {
        let heard = Heard::new(status, words);
        let coded = WORDS.iter().find(|(_, codes)| heard.is_coded(codes)).map(|(sense, _)| *sense);
        let said = || PHRASES.iter().find(|spelling| heard.says(spelling)).map(|s| s.sense);
        let sense = coded.or_else(said).or_else(|| heard.lacks_feature());
        sense.or_else(|| heard.misses(sent).then_some(Self::Model))
    }

    /// The context length that a message names, in tokens: the smallest number in it that can be
    /// one. None if there is no such number.
    #[must_use]
    pub fn context_length(words: &Words) -> Option<u64> {
        let text = &words.message[..floor(&words.message, LONGEST)];
        let mut numbers = text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')
            .filter_map(|word| word.trim_end_matches('.').parse::<u64>().ok());
        let first = numbers.next()?;
        // Below 128 a number counts images, messages or choices.
        numbers.chain([first]).filter(|number| *number >= 128).min()
    }
}

/// The words of a refusal in lower case.
struct Heard {
    status: Option<u16>,
    message: String,
    codes: [String; 2],
}

impl Heard {
    fn new(status: Option<u16>, words: &Words) -> Self {
        let message = words.message[..floor(&words.message, LONGEST)].to_lowercase();
        let lower = |word: &Option<String>| word.as_deref().unwrap_or_default().to_lowercase();
        Self { status, message, codes: [lower(&words.code), lower(&words.kind)] }
    }

    fn is_coded(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    fn says(&self, spelling: &Spelling) -> bool {
        let applies = match self.status {
            Some(status) => spelling.statuses.is_empty() || spelling.statuses.contains(&status),
            None => true,
        };
        let part = |part: &&str| part.split('|').any(|word| self.message.contains(word));
        applies && spelling.parts.iter().all(part)
    }

    /// A feature that the engine says it lacks.
    fn lacks_feature(&self) -> Option<Sense> {
        let says = |words: &[&str]| words.iter().any(|word| self.message.contains(word));
        if !says(spellings::LACKING) {
            return None;
        }
        let named = |(_, words): &&(Feature, &[&str])| says(words);
        spellings::FEATURES.iter().find(named).map(|(feature, _)| Sense::Lacks(*feature))
    }

    /// True if a 400 or 404 says that the model of this name does not exist. A 404 needs only to
    /// name the model.
    fn misses(&self, sent: &str) -> bool {
        let unknown = || spellings::UNKNOWN_MODEL.iter().any(|word| self.message.contains(word));
        match self.status {
            Some(404) => self.names(sent),
            Some(400 | 403 | 422) | None => self.names(sent) && unknown(),
            _ => false,
        }
    }

    /// True if the message has this name as a word of its own.
    fn names(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let is_inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !name.is_empty()
            && self.message.match_indices(&name).any(|(at, _)| {
                let (before, after) = (&self.message[..at], &self.message[at + name.len()..]);
                !is_inside(before.chars().next_back()) && !is_inside(after.chars().next())
            })
    }
}

/// The last boundary of a character that is not after `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
