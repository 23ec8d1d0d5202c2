//! Property test of the commit point. Generated upstream behaviour, cut into chunks anywhere, must
//! give the result that a model computes from the events alone.

use proptest::prelude::*;

use super::oracle::{Read, read};
use super::{End, Shape};

/// The kind of one event of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Comment,
    /// The number here and in the next two is the index of the choice.
    Role(u8),
    Content(u8),
    Finish(u8),
    Done,
    Error,
}

/// What the upstream does in one attempt.
#[derive(Debug, Clone)]
enum Upstream {
    /// No usable answer: connection refused, reset, or 5xx.
    Fails,
    /// A stream of these events.
    Streams { acts: Vec<Act>, end: End },
    /// One body: good, an error object, cut or empty.
    Answers { body: &'static str, end: End },
}

/// The result for the client.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// A whole answer.
    Whole(Vec<u8>),
    /// The start of one answer, then the report of its failure.
    Told(Vec<u8>),
    /// No attempt succeeded: an error from the gateway itself.
    Exhausted,
}

/// The text of an event. All content contains the engine's number `from`.
pub(super) fn text(act: Act, from: usize) -> String {
    match act {
        Act::Comment => ": wait\r\n\r\n".into(),
        Act::Role(index) => choice(index, "\"delta\":{\"role\":\"assistant\"}"),
        Act::Content(index) => {
            choice(index, &format!("\"delta\":{{\"content\":\"engine {from} é\"}}"))
        }
        Act::Finish(index) => choice(index, "\"delta\":{},\"finish_reason\":\"stop\""),
        Act::Done => "data: [DONE]\n\n".into(),
        Act::Error => "data: {\"error\":{\"message\":\"oom\"}}\n\n".into(),
    }
}

pub(super) fn choice(index: u8, fields: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":{index},{fields}}}]}}\n\n")
}

/// The model: the rules applied to events instead of bytes.
fn expected(upstreams: &[Upstream]) -> Outcome {
    for (from, upstream) in upstreams.iter().enumerate() {
        let outcome = match upstream {
            Upstream::Fails => None,
            Upstream::Answers { body, end } => {
                let good = *end != End::Early && body.ends_with('}') && !body.contains("error");
                good.then(|| Outcome::Whole(body.as_bytes().to_vec()))
            }
            Upstream::Streams { acts, end } => expected_stream(acts, *end, from),
        };
        if let Some(outcome) = outcome {
            return outcome;
        }
    }
    Outcome::Exhausted
}

fn expected_stream(acts: &[Act], end: End, from: usize) -> Option<Outcome> {
    let is_content = |act: &Act| matches!(act, Act::Content(_) | Act::Finish(_) | Act::Done);
    let all =
        |acts: &[Act]| acts.iter().map(|act| text(*act, from)).collect::<String>().into_bytes();
    let commit = acts.iter().position(is_content)?;
    match acts.iter().position(|act| *act == Act::Error) {
        Some(error) if error < commit => return None,
        Some(error) => return Some(Outcome::Told(all(&acts[..error]))),
        None => {}
    }
    let has = |act| acts.contains(&act);
    let is_finished = |act: &Act| match act {
        Act::Role(index) | Act::Content(index) => has(Act::Finish(*index)),
        _ => true,
    };
    let whole = match end {
        // A proxy may frame the end correctly although its engine died: each choice must be
        // finished.
        End::Framed | End::Closed => has(Act::Done) || acts.iter().all(is_finished),
        End::Early => has(Act::Done),
    };
    Some(if whole { Outcome::Whole(all(acts)) } else { Outcome::Told(all(acts)) })
}

/// What the gateway does with the same upstreams and chunks of these lengths.
fn actual(upstreams: &[Upstream], cuts: &[usize]) -> Outcome {
    for (from, upstream) in upstreams.iter().enumerate() {
        let (shape, bytes, end) = match upstream {
            Upstream::Fails => continue,
            Upstream::Answers { body, end } => (Shape::Plain, body.as_bytes().to_vec(), *end),
            Upstream::Streams { acts, end } => {
                let all: String = acts.iter().map(|act| text(*act, from)).collect();
                (Shape::Stream, all.into_bytes(), *end)
            }
        };
        match read(shape, cut(&bytes, cuts), end) {
            Read { passed, defect: None, .. } => return Outcome::Whole(passed),
            Read { passed, commit, .. } if commit.is_committed() => return Outcome::Told(passed),
            Read { passed, .. } => {
                assert!(passed.is_empty(), "bytes of a failed attempt reached the client")
            }
        }
    }
    Outcome::Exhausted
}

/// Splits bytes into pieces whose lengths cycle through `lengths`.
fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*length).clamp(1, bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Framed), Just(End::Closed), Just(End::Early)]
}

fn upstreams() -> impl Strategy<Value = Upstream> {
    let act = prop_oneof![
        2 => Just(Act::Comment), 2 => (0u8..2).prop_map(Act::Role), 3 => (0u8..2).prop_map(Act::Content),
        3 => (0u8..2).prop_map(Act::Finish), 1 => Just(Act::Done), 1 => Just(Act::Error),
    ];
    let body = prop_oneof![
        Just("{\"choices\":[]}"),
        Just("{\"error\":{\"message\":\"oom\"}}"),
        Just("{\"choices\":["),
        Just(""),
    ];
    prop_oneof![
        1 => Just(Upstream::Fails),
        4 => (proptest::collection::vec(act, 0..8), ends())
            .prop_map(|(acts, end)| Upstream::Streams { acts, end }),
        2 => (body, ends()).prop_map(|(body, end)| Upstream::Answers { body, end }),
    ]
}

/// Compares outcomes. Two differences are allowed because the model knows only whole events. In
/// very short chunks an event may go out in part before it is recognised as an error; that part
/// contains none of the engine's text. The LF of the last CRLF may be missing.
fn agree(actual: &Outcome, expected: &Outcome) -> bool {
    match (actual, expected) {
        (Outcome::Told(actual), Outcome::Told(expected)) => {
            let more = actual.strip_prefix(expected.trim_ascii_end()).map(<[u8]>::trim_ascii_start);
            more.is_some_and(|more| b"data: {\"error\":{".starts_with(more))
        }
        _ => actual == expected,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_sequence_of_upstreams_comes_to_what_the_rules_say(
        upstreams in proptest::collection::vec(upstreams(), 1..4),
        cuts in proptest::collection::vec(1usize..200, 1..6),
    ) {
        let (actual, expected) = (actual(&upstreams, &cuts), expected(&upstreams));
        prop_assert!(agree(&actual, &expected), "{actual:?} instead of {expected:?}");
    }
}
