//! Recognises an event that differs from an earlier one only in its text. Most events of a stream
//! do, and one comparison takes the place of six searches.
//!
//! The model is one whole event that has only content. An event with the same beginning and the
//! same end differs from it only in the middle. The search for words that tell more than content
//! reads only the middle, and the few bytes before it in which such a word could begin.

use crate::count;

/// In bytes. A longer event neither becomes the model nor is compared with it.
const LONGEST: usize = 1024;
/// In bytes. A longer middle is searched in the usual way.
const LONGEST_MIDDLE: usize = 128;
/// In bytes. An event that differs from the model earlier than this may have other fields.
const SHORTEST_START: usize = 16;
/// Maximum number of events that become the model in turn. After so many without a repeat, the
/// stream is taken for one that does not repeat.
const MOST_TRIED: u8 = 16;
/// Words that may tell more than content. [`says_more`] knows their first bytes. The longest is
/// `"finish_reason"`.
const WORDS: [&[u8]; 8] = [
    b"\"choices\"",
    b"\"index\"",
    b"\"finish_reason\"",
    b"\"usage\"",
    b"error",
    b"[DONE]",
    b"response.",
    b"\"error\"",
];
const LONGEST_WORD: usize = b"\"finish_reason\"".len();

/// The model of one stream.
#[derive(Debug, Default)]
pub(super) struct Repeat {
    model: Vec<u8>,
    tried: u8,
}

impl Repeat {
    /// True if an event, read in the usual way, may become the model.
    pub(super) fn wants(&self, event: &[u8]) -> bool {
        self.tried < MOST_TRIED
            && (SHORTEST_START..=LONGEST).contains(&event.len())
            && event.ends_with(b"\n\n")
            && memchr::memchr(b'\r', event).is_none()
    }

    /// Makes an event the model. It must be whole, as in [`wants`](Self::wants), tell no usage, and
    /// say nothing but content of choices that have begun.
    pub(super) fn learn(&mut self, event: &[u8]) {
        self.tried += 1;
        self.model.clear();
        self.model.extend_from_slice(event);
    }

    /// True if a chunk is one event that has only content, because it matches the model.
    pub(super) fn covers(&self, chunk: &[u8]) -> bool {
        let model = &self.model[..];
        if model.is_empty() || chunk.len() > LONGEST {
            return false;
        }
        let shorter = chunk.len().min(model.len());
        let end = same_end(chunk, model).min(shorter.saturating_sub(SHORTEST_START));
        let start = same_start(&chunk[..chunk.len() - end], &model[..model.len() - end]);
        count(2 * chunk.len());
        // The common end includes the blank line. So the chunk is one event, like the model, if
        // neither middle contains a line end and the middle does not begin a line.
        let (middle, other) = (start..chunk.len() - end, start..model.len() - end);
        let is_line = |text: &[u8]| !text.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
        start >= SHORTEST_START
            && end > 2
            && middle.len() <= LONGEST_MIDDLE
            && other.len() <= LONGEST_MIDDLE
            && chunk[start - 1] != b'\n'
            && is_line(&chunk[middle.clone()])
            && is_line(&model[other])
            && !says_more(chunk, middle.start, middle.end)
    }
}

/// True if one of [`WORDS`], or its value, lies in these bytes or reaches into them.
fn says_more(chunk: &[u8], from: usize, to: usize) -> bool {
    // A word's value follows blanks and a colon. An index may have more digits.
    let is_value = |byte: &&u8| byte.is_ascii_digit() || matches!(byte, b':' | b' ');
    let before = chunk[..from].iter().rev().take_while(is_value).count();
    let first = from.saturating_sub(before + LONGEST_WORD);
    count(to - first);
    (first..to).any(|at| {
        matches!(chunk[at], b'"' | b'e' | b'[' | b'r')
            && WORDS.iter().any(|word| chunk[at..].starts_with(word))
    })
}

fn same_start(a: &[u8], b: &[u8]) -> usize {
    let (a16, b16) = (a.as_chunks::<16>().0, b.as_chunks::<16>().0);
    let chunks = a16.iter().zip(b16).take_while(|(a, b)| a == b).count();
    let rest = 16 * chunks;
    rest + a[rest..].iter().zip(&b[rest..]).take_while(|(a, b)| a == b).count()
}

fn same_end(a: &[u8], b: &[u8]) -> usize {
    let (a16, b16) = (a.as_rchunks::<16>().1, b.as_rchunks::<16>().1);
    let chunks = a16.iter().rev().zip(b16.iter().rev()).take_while(|(a, b)| a == b).count();
    let rest = 16 * chunks;
    let (a, b) = (&a[..a.len() - rest], &b[..b.len() - rest]);
    rest + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(content: &str, more: &str) -> Vec<u8> {
        format!("data: {{\"id\":\"a\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\"finish_reason\":null}}]{more}}}\n\n")
            .into_bytes()
    }

    #[test]
    fn an_event_with_other_text_is_covered() {
        let mut repeat = Repeat::default();
        assert!(!repeat.covers(&event("a", "")), "there is no model");
        assert!(repeat.wants(&event(" token", "")));
        repeat.learn(&event(" token", ""));
        for text in
            ["", " token", " to", " tokens", "index finish", "\\n\\n", "é", &"y".repeat(100)]
        {
            assert!(repeat.covers(&event(text, "")), "{text}");
        }
    }

    #[test]
    fn an_event_that_may_say_more_is_not() {
        let mut repeat = Repeat::default();
        repeat.learn(&event(" token", ""));
        let text = |event: Vec<u8>| String::from_utf8(event).expect("text");
        let good = text(event("a", ""));
        for other in [
            text(event("an error", "")),
            text(event("[DONE]", "")),
            text(event("\"},\"finish_reason\":\"stop\",\"a\":{\"b\":\"", "")),
            text(event("a", ",\"usage\":{\"prompt_tokens\":1}")),
            text(event("a", ",\"error\":{}")),
            text(event("a\n\ndata: b", "")),
            text(event(&"z".repeat(200), "")),
            good.replace("null", "\"stop\""),
            good.replace("null", "1"),
            good.replace("\"index\":0", "\"index\":1"),
            good.replace("\"index\":0", "\"index\":01"),
            good.clone() + &good,
            good.replace("\n\n", "\n"),
            good.replace("data: {", "data: {\"error\":1,"),
            good.replace("data", "date"),
            "data: [DONE]\n\n".into(),
        ] {
            assert!(!repeat.covers(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn usage_that_is_null_repeats_until_it_is_told() {
        let mut repeat = Repeat::default();
        let null = ",\"usage\":null";
        repeat.learn(&event(" token", null));
        assert!(repeat.covers(&event(" to", null)));
        for told in [",\"usage\":{}", ",\"usage\":{\"prompt_tokens\":1}", ",\"usage\": null", ""] {
            assert!(!repeat.covers(&event(" to", told)), "{told}");
        }
    }

    #[test]
    fn starts_and_ends_are_compared_to_the_byte() {
        for length in 0..40 {
            let text = vec![b'a'; length];
            for at in 0..length {
                let mut other = text.clone();
                other[at] = b'b';
                assert_eq!(
                    (same_start(&text, &other), same_end(&text, &other)),
                    (at, length - at - 1)
                );
            }
            assert_eq!((same_start(&text, &text), same_end(&text, &text)), (length, length));
        }
    }
}
