//! Splits an event stream into events (WHATWG HTML, 9.2: lines end with LF, CRLF or CR; a blank
//! line ends an event). It only finds the borders: the stream itself is neither changed nor
//! delayed.

use memchr::memchr2;

use crate::count;

use super::content;
use super::long::Long;

/// In bytes. Of a longer event only its beginning, up to this size, is kept.
pub(super) const LONGEST: usize = 64 * 1024;

/// One event, with the blank line that ends it.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// The complete text.
    Whole(&'a [u8]),
    /// A longer event: its first [`LONGEST`] bytes, and the facts found in the whole of it.
    TooLong(&'a [u8], &'a Long),
}

/// Splits a stream that comes in chunks. Keeps at most [`LONGEST`] bytes between chunks.
#[derive(Debug)]
pub(super) struct Events {
    /// The start of the current event, from earlier chunks.
    tail: Vec<u8>,
    /// True if `tail` is a finished event that was returned. The next call clears it.
    spent: bool,
    /// Set if `tail` is only the beginning of the event.
    long: Option<Box<Long>>,
    /// True if `tail` has more than white space.
    written: bool,
    /// True if no byte of the current line has come.
    line_start: bool,
    /// True if the last byte was a CR, which may be followed by its LF.
    cr: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            tail: Vec::new(),
            spent: false,
            long: None,
            written: false,
            line_start: true,
            cr: false,
        }
    }
}

impl Events {
    /// The next event that ends in `chunk[from..]`, and the position of its end. None if no event
    /// ends there: the rest of the chunk is then kept as the start of an event.
    pub(super) fn next<'a>(
        &'a mut self,
        chunk: &'a [u8],
        from: usize,
    ) -> Option<(Event<'a>, usize)> {
        if std::mem::take(&mut self.spent) {
            self.tail.clear();
            (self.long, self.written) = (None, false);
        }
        let mut at = from;
        while let Some(end) = memchr2(b'\n', b'\r', &chunk[at..]).map(|found| at + found) {
            let blank = end == at;
            let (lf, after_cr) = (chunk[end] == b'\n', self.cr && blank);
            at = end + 1;
            // The LF of a CRLF: the CR has already ended the line.
            if lf && after_cr {
                self.cr = false;
                continue;
            }
            let ends_event = blank && self.line_start;
            (self.line_start, self.cr) = (true, !lf);
            if ends_event {
                count(at - from);
                return Some((self.take(&chunk[from..at]), at));
            }
        }
        count(chunk.len() - from);
        if at < chunk.len() {
            (self.line_start, self.cr) = (false, false);
        }
        self.keep(&chunk[from..]);
        None
    }

    /// The incomplete event at the end of the input so far. None between two events.
    pub(super) fn rest(&self) -> Option<Event<'_>> {
        match &self.long {
            _ if self.spent => None,
            Some(long) => Some(Event::TooLong(&self.tail, long)),
            None => self.written.then_some(Event::Whole(&self.tail)),
        }
    }

    /// True if the next byte begins an event. False while the LF of a CRLF may still come.
    pub(super) fn is_fresh(&self) -> bool {
        self.line_start && !self.cr && (self.spent || (self.tail.is_empty() && self.long.is_none()))
    }

    /// True between two events. Call it only after [`next`](Self::next) has returned None.
    pub(super) fn is_between(&self) -> bool {
        self.long.is_none() && self.tail.iter().all(|byte| matches!(byte, b'\n' | b'\r'))
    }

    fn take<'a>(&'a mut self, end: &'a [u8]) -> Event<'a> {
        if self.tail.is_empty() && end.len() <= LONGEST {
            return Event::Whole(end);
        }
        self.keep(end);
        self.spent = true;
        match &self.long {
            Some(long) => Event::TooLong(&self.tail, long),
            None => Event::Whole(&self.tail),
        }
    }

    fn keep(&mut self, more: &[u8]) {
        count(2 * more.len());
        self.written |= more.iter().any(|byte| !byte.is_ascii_whitespace());
        let kept = more.len().min(LONGEST - self.tail.len());
        self.tail.extend_from_slice(&more[..kept]);
        if kept < more.len() {
            let tail = &self.tail;
            let begin = || Box::new(Long::begin(&content::data(tail)));
            self.long.get_or_insert_with(begin).feed(&more[kept..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(chunks: &[&[u8]]) -> (Vec<Option<Vec<u8>>>, bool) {
        let (mut events, mut found) = (Events::default(), Vec::new());
        for chunk in chunks {
            let mut from = 0;
            while let Some((event, end)) = events.next(chunk, from) {
                found.push(match event {
                    Event::Whole(text) => Some(text.to_vec()),
                    Event::TooLong(..) => None,
                });
                from = end;
            }
        }
        (found, events.rest().is_some())
    }

    #[test]
    fn a_blank_line_ends_an_event_whatever_ends_a_line() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("data: a{end}id: 1{end}{end}: c{end}{end}data: b");
            let (found, rest) = cut(&[text.as_bytes()]);
            let found: Vec<String> = found
                .into_iter()
                .map(|event| String::from_utf8(event.expect("short")).expect("text"))
                .map(|event| event.trim().replace(['\r', '\n'], "|").replace("||", "|"))
                .collect();
            assert_eq!(found, ["data: a|id: 1", ": c"], "{end:?}");
            assert!(rest);
        }
    }

    #[test]
    fn only_what_follows_a_whole_event_is_fresh() {
        for (text, fresh) in [
            ("", true),
            ("data: a", false),
            ("data: a\n", false),
            ("data: a\n\n", true),
            ("data: a\r\r", false),
            ("data: a\n\nd", false),
        ] {
            let mut events = Events::default();
            let mut from = 0;
            while let Some((_, end)) = events.next(text.as_bytes(), from) {
                from = end;
            }
            assert_eq!(events.is_fresh(), fresh, "{text:?}");
        }
    }

    #[test]
    fn a_long_event_is_bounded_and_the_next_one_is_seen() {
        let mut text = b"data: ".to_vec();
        text.resize(10 << 20, b'x');
        text.extend_from_slice(b"\n\ndata: b\n\n");
        let chunks: Vec<&[u8]> = text.chunks(16 * 1024).collect();
        let (found, rest) = cut(&chunks);
        assert_eq!(found, [None, Some(b"data: b\n\n".to_vec())]);
        assert!(!rest);
    }

    #[test]
    fn an_event_may_have_exactly_the_longest_size() {
        for (size, is_whole) in [(LONGEST, true), (LONGEST + 1, false)] {
            let mut text = vec![b'x'; size - 2];
            text.extend_from_slice(b"\n\n");
            for chunk in [size, size - 1, 1000] {
                let chunks: Vec<&[u8]> = text.chunks(chunk).collect();
                assert_eq!(cut(&chunks), (vec![is_whole.then(|| text.clone())], false), "{chunk}");
            }
            let mut events = Events::default();
            text.truncate(size - 1);
            text.push(b'x');
            assert!(events.next(&text, 0).is_none());
            assert_eq!(matches!(events.rest(), Some(Event::Whole(_))), is_whole);
        }
    }

    #[test]
    fn it_is_known_whether_the_input_ends_between_events() {
        for (chunks, is_between, rests) in [
            (&[""][..], true, false),
            (&["data: a\n\n"], true, false),
            (&["data: a\n\n\r\n"], true, false),
            (&["data: a", "\n\n", ""], true, false),
            (&["data: a\n\n "], false, false),
            (&["data: a\n"], false, true),
            (&[": a", "\n", "b"], false, true),
        ] {
            let mut events = Events::default();
            for chunk in chunks {
                let mut from = 0;
                while let Some((_, end)) = events.next(chunk.as_bytes(), from) {
                    from = end;
                    assert!(events.rest().is_none(), "{chunks:?}");
                }
            }
            assert_eq!((events.is_between(), events.rest().is_some()), (is_between, rests));
        }
        let mut events = Events::default();
        assert_eq!(events.next(&[b'\n'; 1], 0).map(|(_, end)| end), Some(1));
        assert!(events.next(&vec![b'x'; LONGEST + 1], 0).is_none());
        assert!(!events.is_between());
    }

    proptest! {
        #[test]
        fn the_cuts_between_chunks_do_not_matter(
            text in "([\r\n]|data: [ab]|:){0,40}", cuts in proptest::collection::vec(0usize..80, 0..6),
        ) {
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&text[from..cut]);
                from = cut;
            }
            chunks.push(&text[from..]);
            prop_assert_eq!(cut(&chunks), cut(&[text]));
        }
    }
}
