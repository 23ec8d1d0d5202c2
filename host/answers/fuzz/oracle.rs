//! Fuzz oracle: the invariants of answers on their way to the client, for any upstream bytes and
//! any cuts.

use bytes::Bytes;

use pieces::{Pieces, work};

use crate::rename::Rename;
use crate::usage::UsageScan;

use super::content::{self, Meaning};
use super::events::{Event, Events, LONGEST};
use super::{Commit, Defect, End, MOST_HELD_OF_A_BODY, MOST_HELD_OF_A_STREAM, Shape, Verdict};

/// Bytes that scanners may read, per byte of an answer and per chunk. Every chunk reads the
/// beginning of its event again.
const WORK: (usize, usize) = (20, 1024);
/// The data of the error event that ends a broken stream.
const LAST: &str = "{\"error\":{}}";

/// The result of reading one answer.
#[derive(Debug)]
pub(crate) struct Read {
    /// The bytes that went to the client.
    pub(crate) passed: Vec<u8>,
    /// Set if the answer failed.
    pub(crate) defect: Option<Defect>,
    /// The state after the end.
    pub(crate) commit: Commit,
}

/// Reads an answer that comes in these pieces. Checks the limits on held bytes and on work.
pub(crate) fn read<'a>(shape: Shape, pieces: impl IntoIterator<Item = &'a [u8]>, end: End) -> Read {
    let pieces: Vec<_> = pieces.into_iter().collect();
    let length = pieces.iter().map(|piece| piece.len()).sum();
    work::bounded(WORK.0, length, (pieces.len(), WORK.1), || read_all(shape, pieces, end))
}

fn read_all(shape: Shape, pieces: Vec<&[u8]>, end: End) -> Read {
    let most_held = match shape {
        Shape::Stream => MOST_HELD_OF_A_STREAM + LONGEST,
        Shape::Plain => MOST_HELD_OF_A_BODY,
    };
    let (mut commit, mut passed, mut come) = (Commit::new(shape), Vec::new(), 0);
    for piece in pieces {
        come += piece.len();
        match commit.feed(Bytes::copy_from_slice(piece)) {
            Verdict::Hold => assert!(commit.is_committed() || come <= most_held),
            Verdict::Pass(pass) => {
                passed.extend_from_slice(&pass);
                assert!(commit.is_committed());
                std::iter::from_fn(|| commit.next_held())
                    .for_each(|more| passed.extend_from_slice(&more));
            }
            Verdict::Fail { pass, defect } => {
                passed.extend_from_slice(&pass);
                return Read { passed, defect: Some(defect), commit };
            }
        }
        if commit.is_committed() && passed.len() != come {
            assert!(commit.withholds(), "held after the commit");
            assert!(come - passed.len() <= LONGEST);
        }
    }
    let defect = match commit.end(end) {
        Ok(held) => {
            passed.extend_from_slice(&held);
            assert!(shape == Shape::Plain || commit.held() == 0);
            std::iter::from_fn(|| commit.next_held())
                .for_each(|more| passed.extend_from_slice(&more));
            None
        }
        Err(defect) => Some(defect),
    };
    Read { passed, defect, commit }
}

/// Checks that bytes go out unchanged and none before the commit. The verdict must not depend on
/// how the answer is cut. Clients must read the error event that ends a broken stream. Renaming,
/// usage and the splitting into events must not depend on the cuts either.
///
/// The input is four bytes (shape, end, names, a separator), then an answer in pieces.
pub fn events(input: &[u8]) {
    let (&[shape, end, names, _], input) = input.split_first_chunk().unwrap_or((&[0; 4], b""));
    let shape = if shape % 4 == 0 { Shape::Stream } else { Shape::Plain };
    let end = [End::Framed, End::Closed, End::Early][usize::from(end % 3)];
    let pieces = Pieces::of(input);
    answer(shape, &pieces, end);
    without_usage(&pieces, end);
    scanner(&pieces);
    renamed(&pieces, names);
    usage(&pieces);
}

fn answer(shape: Shape, pieces: &Pieces, end: End) {
    let text = pieces.text();
    let whole = read(shape, (!text.is_empty()).then_some(text), end);
    let limit = match shape {
        Shape::Stream => MOST_HELD_OF_A_STREAM,
        _ => MOST_HELD_OF_A_BODY,
    };
    for way in pieces.ways() {
        let cut = read(shape, way, end);
        assert!(text.starts_with(&cut.passed));
        assert!(cut.commit.is_committed() || cut.passed.is_empty(), "passed before the commit");
        assert!(
            cut.defect.is_some() || cut.passed.len() == text.len(),
            "no defect, but bytes are missing"
        );
        if cut.commit.is_committed() && cut.defect.is_some() && shape == Shape::Stream {
            told(&cut);
        }
        // A larger answer commits at its size, so the verdict depends on the cuts.
        if text.len() <= limit {
            assert_eq!(cut.defect, whole.defect);
            assert_eq!(cut.commit.is_committed(), whole.commit.is_committed());
            // An error that comes in pieces may go out in part before it is recognised.
            assert!(cut.passed.starts_with(&whole.passed));
        }
    }
}

/// Checks that the usage event is taken out alike however a stream is cut, and that a stream without
/// one is not changed.
fn without_usage(pieces: &Pieces, end: End) {
    let read = |pieces: &[&[u8]]| {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        work::bounded(WORK.0 + 12, length, (pieces.len(), WORK.1), || {
            let mut commit = Commit::new(Shape::Stream).without_usage_event();
            let mut passed = Vec::new();
            for piece in pieces {
                match commit.feed(Bytes::copy_from_slice(piece)) {
                    Verdict::Hold => {}
                    Verdict::Pass(pass) => passed.extend_from_slice(&pass),
                    Verdict::Fail { .. } => return None,
                }
            }
            passed.extend_from_slice(&commit.end(end).ok()?);
            Some((passed, commit.usage()))
        })
    };
    let text = pieces.text();
    if text.len() > MOST_HELD_OF_A_STREAM {
        return;
    }
    let whole = read(&[text]);
    if let Some((passed, _)) = &whole {
        let is_changed = passed.len() < text.len();
        let has_word = |word: &[u8]| memchr::memmem::find(text, word).is_some();
        assert!(!is_changed || has_word(b"\"usage\"") && has_word(b"\"choices\""));
    }
    for way in pieces.ways() {
        assert_eq!(read(&way), whole);
    }
}

/// Checks that the client of a broken stream reads the error as a separate event.
fn told(broken: &Read) {
    let gap = if broken.commit.is_between_events() { "" } else { "\n\n" };
    let text = [&broken.passed[..], gap.as_bytes(), b"data: ", LAST.as_bytes(), b"\n\n"].concat();
    let text = String::from_utf8_lossy(&text).replace("\r\n", "\n").replace('\r', "\n");
    let last = text.trim_end_matches('\n').rsplit("\n\n").next().unwrap_or_default();
    let data: Vec<_> = last.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    assert_eq!(data.iter().map(|data| data.trim_start()).collect::<Vec<_>>(), [LAST]);
}

fn scanner(pieces: &Pieces) {
    let whole = cut_into_events([pieces.text()]);
    for way in pieces.ways() {
        assert_eq!(cut_into_events(way), whole);
    }
    let all: Option<Vec<&[u8]>> = whole.0.iter().map(Option::as_deref).collect();
    if let Some(all) = all {
        assert!(pieces.text().starts_with(&all.concat()));
    }
    for event in whole.0.iter().flatten() {
        meaning(event);
    }
}

/// The events of a stream (None for one that is too long), and true if it ends within an event.
fn cut_into_events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Option<Vec<u8>>>, bool) {
    let (mut events, mut found) = (Events::default(), Vec::new());
    for piece in pieces {
        let mut from = 0;
        while let Some((event, end)) = events.next(piece, from) {
            assert!(from < end && end <= piece.len());
            found.push(match event {
                Event::Whole(text) => Some(text.to_vec()),
                Event::TooLong(..) => None,
            });
            from = end;
        }
    }
    (found, events.rest().is_some())
}

/// Checks that the quick search of an event finds what parsing finds. Events with escapes are left
/// out: an escape can hide a word from the search, and no engine escapes those words.
fn meaning(event: &[u8]) {
    if event.contains(&b'\\') {
        return;
    }
    let (first, later) = (content::first(event), content::later(event));
    let says_nothing = |meaning: &Meaning| matches!(meaning, Meaning::Opening | Meaning::Content);
    assert!(first == later || says_nothing(&first) && says_nothing(&later), "{first:?}, {later:?}");
}

fn renamed(pieces: &Pieces, names: u8) {
    const NAMES: [(&str, &str); 4] =
        [("up/x", "asked"), ("model", ""), ("a\"b", "up"), ("", "\"model\":\"\"")];
    let (from, to) = NAMES[usize::from(names % 4)];
    let rename = |pieces: &[&[u8]]| {
        work::bounded(4, pieces.concat().len(), (0, 0), || {
            let (mut rename, mut out) = (Rename::new(from, to), Vec::new());
            for piece in pieces {
                out.extend_from_slice(&rename.feed(Bytes::copy_from_slice(piece)));
            }
            out.extend_from_slice(&rename.finish());
            out
        })
    };
    let text = pieces.text();
    let whole = rename(&[text]);
    for way in pieces.ways() {
        assert_eq!(rename(&way), whole);
    }
    // The search of raw bytes does not decode escapes in keys.
    let has_odd_keys = text.windows(2).any(|pair| pair == b"\\u");
    if let Ok(mut value) = serde_json::from_slice(text)
        && !has_odd_keys
    {
        rename_in(&mut value, from, to);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&whole).ok(), Some(value));
    }
}

/// The model of renaming, on parsed values instead of bytes.
fn rename_in(value: &mut serde_json::Value, from: &str, to: &str) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                if key == "model" && value == from {
                    *value = to.into();
                } else {
                    rename_in(value, from, to);
                }
            }
        }
        serde_json::Value::Array(items) => {
            items.iter_mut().for_each(|item| rename_in(item, from, to));
        }
        _ => {}
    }
}

fn usage(pieces: &Pieces) {
    let scan = |pieces: &[&[u8]]| {
        work::bounded(6, pieces.concat().len(), (0, 0), || {
            let mut scan = UsageScan::default();
            pieces.iter().for_each(|piece| scan.feed(piece));
            scan.found()
        })
    };
    let whole = scan(&[pieces.text()]);
    for way in pieces.ways() {
        assert_eq!(scan(&way), whole);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_holds() {
        pieces::replay("events", super::events);
    }
}
