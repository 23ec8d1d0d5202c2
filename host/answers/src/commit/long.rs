//! Reads an event that is too long to be kept, as it arrives: which choices it begins and finishes,
//! and whether it is the last event.

use http1::json_stream::{Field, Found, JsonStream};

use super::content::{Kind, bit};

/// The state of one long event.
#[derive(Debug, Default)]
pub(super) struct Long {
    json: JsonStream,
    /// True once the first line of data has ended, or is not JSON. Later bytes are ignored.
    over: bool,
    pub(super) seen: Seen,
}

/// The facts about a stream that one of its events tells.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// None if no field tells it.
    pub(super) kind: Option<Kind>,
    /// The choices that it contains, one bit each: see [`bit`].
    pub(super) begun: u128,
    pub(super) finished: u128,
    /// True for the last event of a response.
    pub(super) is_last: bool,
    /// The current choice.
    pub(super) index: u32,
    pub(super) has_reason: bool,
}

impl Long {
    /// Begins with the data of the event so far, without `data:`.
    pub(super) fn begin(data: &[u8]) -> Self {
        let mut long = Self::default();
        long.feed(data);
        long
    }

    /// Takes more of the event. Data of several lines is read up to the first line's end.
    pub(super) fn feed(&mut self, more: &[u8]) {
        if self.over {
            return;
        }
        let end = memchr::memchr2(b'\n', b'\r', more);
        let seen = &mut self.seen;
        let read = self.json.feed(&more[..end.unwrap_or(more.len())], |found| seen.note(&found));
        self.over = end.is_some() || read.is_err();
    }

    /// True if the event stops in the middle of its JSON object.
    pub(super) fn is_cut(&self) -> bool {
        !self.over && !self.json.is_done() && !self.json.is_blank()
    }
}

impl Seen {
    fn note(&mut self, found: &Found<'_>) {
        match found {
            Found::Top(Field { key: b"choices", start, .. }) => {
                if start.starts_with(b"[") {
                    self.kind = Some(Kind::Choices);
                }
            }
            Found::Top(Field { key: b"type", start, .. }) => {
                if self.kind.is_none() && start.starts_with(b"\"response.") {
                    self.kind = Some(Kind::Responses);
                }
                let last = [&b"\"response.completed\""[..], b"\"response.incomplete\""];
                self.is_last |= last.contains(start);
            }
            Found::OfChoice(field) => match field.key {
                b"index" => {
                    self.index =
                        str::from_utf8(field.start).ok().and_then(|s| s.parse().ok()).unwrap_or(0);
                }
                b"finish_reason" => self.has_reason = field.says(),
                _ => {}
            },
            Found::Choice => {
                let bit = bit(self.index);
                self.kind = Some(Kind::Choices);
                self.begun |= bit;
                if self.has_reason {
                    self.finished |= bit;
                }
                (self.index, self.has_reason) = (0, false);
            }
            Found::Top(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_and_ends_are_seen_in_pieces() {
        let long = "x".repeat(1000);
        let text = format!(
            "{{\"choices\":[{{\"delta\":{{\"content\":\"{long}\"}},\"index\":1,\"finish_reason\":\"stop\"}},{{\"index\":2}}]}}\n\n"
        );
        for size in [1, 10, 5000] {
            let mut read = Long::begin(b" ");
            text.as_bytes().chunks(size).for_each(|piece| read.feed(piece));
            let Seen { kind, begun, finished, is_last, .. } = read.seen;
            assert_eq!((begun, finished), (0b110, 0b010));
            assert_eq!((kind, is_last), (Some(Kind::Choices), false));
        }
        let mut last = Long::begin(b" {\"response\":{\"type\":\"no\"},");
        last.feed(b"\"type\":\"response.completed\"");
        assert!(last.seen.is_last && last.is_cut());
        last.feed(b"}\r");
        assert!(!last.is_cut());
    }

    #[test]
    fn what_is_no_json_says_nothing() {
        for text in ["text", "{\"choices\":\"odd\"}", "\n{\"choices\":[{}]}"] {
            let mut long = Long::begin(text.as_bytes());
            long.feed(b"{\"type\":\"response.completed\"}");
            assert!(long.seen.kind.is_none() && long.seen.begun == 0 && !long.is_cut(), "{text}");
        }
    }
}
