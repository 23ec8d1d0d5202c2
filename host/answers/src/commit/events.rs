//! Splits an event stream into events (WHATWG HTML, 9.2: lines end with LF, CRLF or CR; a blank
//! line ends an event). It only finds the borders: the stream itself is neither changed nor
//! delayed.

use memchr::memchr2;

/// In bytes. Only this much of the beginning of a longer event is examined.
pub(super) const LONGEST: usize = 64 * 1024;

/// One event, with the blank line that ends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// The complete text.
    Whole(&'a [u8]),
    /// The first [`LONGEST`] bytes of a longer event.
    TooLong(&'a [u8]),
}

/// Splits a stream that comes in chunks. Keeps at most [`LONGEST`] bytes between chunks.
#[derive(Debug)]
pub(super) struct Events {
    /// The start of the current event, from earlier chunks.
    tail: Vec<u8>,
    /// True if `tail` is a finished event that was returned. The next call clears it.
    spent: bool,
    /// True if `tail` is only the beginning of the current event.
    too_long: bool,
    /// True if no byte of the current line has come.
    line_start: bool,
    /// True if the last byte was a CR, which may be followed by its LF.
    cr: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self { tail: Vec::new(), spent: false, too_long: false, line_start: true, cr: false }
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
                return Some((self.take(&chunk[from..at]), at));
            }
        }
        if at < chunk.len() {
            (self.line_start, self.cr) = (false, false);
        }
        self.keep(&chunk[from..]);
        None
    }

    /// The incomplete event at the end of the input so far. None between two events.
    pub(super) fn rest(&self) -> Option<Event<'_>> {
        if self.too_long {
            return Some(Event::TooLong(&self.tail));
        }
        (!self.spent && self.tail.iter().any(|b| !b.is_ascii_whitespace()))
            .then_some(Event::Whole(&self.tail))
    }

    /// True between two events. Call it only after [`next`](Self::next) has returned None.
    pub(super) fn is_between(&self) -> bool {
        !self.too_long && self.tail.iter().all(|byte| matches!(byte, b'\n' | b'\r'))
    }

    fn take<'a>(&'a mut self, end: &'a [u8]) -> Event<'a> {
        if self.tail.is_empty() && end.len() <= LONGEST {
            return Event::Whole(end);
        }
        self.keep(end);
        self.spent = true;
        match std::mem::take(&mut self.too_long) {
            true => Event::TooLong(&self.tail),
            false => Event::Whole(&self.tail),
        }
    }

    fn keep(&mut self, more: &[u8]) {
        let kept = more.len().min(LONGEST - self.tail.len());
        self.too_long |= kept < more.len();
        self.tail.extend_from_slice(&more[..kept]);
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
                    Event::TooLong(_) => None,
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
            assert_eq!(events.next(&text, 0), None);
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
                    assert_eq!(events.rest(), None, "{chunks:?}");
                }
            }
            assert_eq!((events.is_between(), events.rest().is_some()), (is_between, rests));
        }
        let mut events = Events::default();
        assert_eq!(events.next(&[b'\n'; 1], 0).map(|(_, end)| end), Some(1));
        assert_eq!(events.next(&vec![b'x'; LONGEST + 1], 0), None);
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
