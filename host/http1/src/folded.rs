//! Keys that lax parsers read like a known one: in another case, with dashes, or given twice. A
//! deployment may use the value that the gateway does not, and be paid for it.

use std::ops::Range;

/// Limit on the values that are kept. A body with more of them has no readable limit.
const MOST: usize = 16;

/// What a value says of the cost of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Costly {
    /// The prompt, or a list of prompts.
    Prompt,
    /// Tools, which may add to the prompt.
    Tools,
    /// An earlier conversation, which adds to the prompt.
    Conversation,
    /// The length of an answer.
    MaxOutput,
    /// The number of answers.
    Choices,
}

/// Values beside those of [`Fields`](crate::Fields) that another parser may use in their place. Empty
/// for nearly all requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rivals {
    values: Vec<(Costly, Range<usize>)>,
    more: bool,
}

/// What a key is to a parser that folds names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folded {
    Model,
    Stream,
    Costly(Costly),
}

impl Rivals {
    /// Positions of the values of a kind. None: there are too many to be kept.
    #[must_use]
    pub fn of(&self, kind: Costly) -> Option<impl Iterator<Item = Range<usize>>> {
        let of_kind = move |(of, at): &(Costly, Range<usize>)| (*of == kind).then(|| at.clone());
        (!self.more).then(|| self.values.iter().filter_map(of_kind))
    }

    /// True if there is a value of this kind, or if there are too many values.
    #[must_use]
    pub fn has(&self, kind: Costly) -> bool {
        self.of(kind).is_none_or(|mut values| values.next().is_some())
    }

    pub(crate) fn add(&mut self, kind: Costly, at: Range<usize>) {
        match self.values.len() < MOST {
            true => self.values.push((kind, at)),
            false => self.more = true,
        }
    }
}

/// What a key means to parsers that ignore case, such as Go's, which use the last of several such
/// keys. They read the long s (U+017F) as an s and the Kelvin sign (U+212A) as a k. Go's newer parser
/// can be told to skip dashes and underscores, which counts here for costly keys only.
pub(crate) fn folded(name: &str) -> Option<Folded> {
    const MODEL: (&str, Folded) = ("model", Folded::Model);
    const STREAM: (&str, Folded) = ("stream", Folded::Stream);
    const fn costly(name: &'static str, kind: Costly) -> (&'static str, Folded) {
        (name, Folded::Costly(kind))
    }
    // By the first letter, so that most other keys are compared with nothing.
    let known: &[(&str, Folded)] = match name.trim_start_matches(['-', '_']).as_bytes() {
        [b'm' | b'M', ..] => &[
            MODEL,
            costly("maxtokens", Costly::MaxOutput),
            costly("maxcompletiontokens", Costly::MaxOutput),
            costly("maxoutputtokens", Costly::MaxOutput),
            costly("messages", Costly::Prompt),
        ],
        // llama.cpp reads `n_predict` before `max_tokens`.
        [b'n' | b'N', ..] => &[costly("n", Costly::Choices), costly("npredict", Costly::MaxOutput)],
        [b's' | b'S', ..] | [0xC5, 0xBF, ..] => &[STREAM],
        [b't' | b'T', ..] => &[costly("tools", Costly::Tools)],
        [b'b' | b'B', ..] => &[costly("bestof", Costly::Choices)],
        [b'p' | b'P', ..] => {
            &[costly("prompt", Costly::Prompt), costly("previousresponseid", Costly::Conversation)]
        }
        [b'c' | b'C', ..] => &[costly("conversation", Costly::Conversation)],
        [b'i' | b'I', ..] => &[costly("input", Costly::Prompt)],
        [b'q' | b'Q', ..] => &[costly("query", Costly::Prompt)],
        _ => return None,
    };
    let found = known.iter().find(|(known, _)| is(name, known));
    found
        .map(|(_, meaning)| *meaning)
        .filter(|meaning| matches!(meaning, Folded::Costly(_)) || !name.contains(['-', '_']))
}

/// True if a key is folded to this name.
fn is(key: &str, name: &str) -> bool {
    let mut letters = key.chars().filter(|letter| !matches!(letter, '-' | '_')).map(fold);
    name.chars().all(|letter| letters.next() == Some(letter)) && letters.next().is_none()
}

fn fold(letter: char) -> char {
    match letter {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        letter => letter.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_folded_as_lax_parsers_do() {
        let costly = |kind| Some(Folded::Costly(kind));
        for (key, meaning) in [
            ("MODEL", Some(Folded::Model)),
            ("\u{17F}tream", Some(Folded::Stream)),
            ("mo_del", None),
            ("max_tokens", costly(Costly::MaxOutput)),
            ("MAX_TOKENS", costly(Costly::MaxOutput)),
            ("maxTokens", costly(Costly::MaxOutput)),
            ("max-to\u{212A}en\u{17F}", costly(Costly::MaxOutput)),
            ("_Max_Completion_Tokens", costly(Costly::MaxOutput)),
            ("maxOutputTokens", costly(Costly::MaxOutput)),
            ("n_predict", costly(Costly::MaxOutput)),
            ("N", costly(Costly::Choices)),
            ("__n__", costly(Costly::Choices)),
            ("Best_Of", costly(Costly::Choices)),
            ("Prompt", costly(Costly::Prompt)),
            ("INPUT", costly(Costly::Prompt)),
            ("Tools", costly(Costly::Tools)),
            ("Previous_Response_ID", costly(Costly::Conversation)),
            ("max_token", None),
            ("max_tokens2", None),
            ("temperature", None),
            ("top_p", None),
            ("nn", None),
            ("", None),
            ("_", None),
        ] {
            assert_eq!(folded(key), meaning, "{key}");
        }
    }

    #[test]
    fn few_rivals_are_kept_and_many_are_told() {
        let mut rivals = Rivals::default();
        assert!(!rivals.has(Costly::Tools));
        for at in 0..MOST {
            rivals.add(Costly::Choices, at..at + 1);
        }
        let kept = rivals.of(Costly::Choices).map(Iterator::count);
        assert_eq!((kept, rivals.has(Costly::Tools)), (Some(MOST), false));
        rivals.add(Costly::Choices, 0..1);
        assert!(rivals.of(Costly::Choices).is_none() && rivals.has(Costly::Tools));
    }
}
