//! The usage event of a stream is taken out, however the stream is cut. All else stays.

use bytes::Bytes;
use pieces::work;
use proptest::prelude::*;

use crate::Usage;

use super::{Commit, Defect, End, Shape, Verdict};

const CONTENT: &str =
    r#"data: {"id":"a","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}"#;
const STOP: &str = r#"data: {"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"data: {"id":"a","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"x":{"y":{}}}}"#;
/// In bytes, of chunks.
const SIZES: [usize; 9] = [1, 2, 3, 7, 16, 61, 100, 170, 5000];
const DONE: &str = "data: [DONE]";

/// Reads a stream whose usage event the client did not ask for.
fn read(chunks: &[&[u8]], end: End) -> (Vec<u8>, Option<Usage>, Option<Defect>) {
    let mut commit = Commit::new(Shape::Stream).without_usage_event();
    let mut passed = Vec::new();
    for chunk in chunks {
        match commit.feed(Bytes::copy_from_slice(chunk)) {
            Verdict::Hold => {}
            Verdict::Pass(pass) => {
                assert!(!pass.is_empty());
                passed.extend_from_slice(&pass);
            }
            Verdict::Fail { pass, defect } => {
                passed.extend_from_slice(&pass);
                return (passed, commit.usage(), Some(defect));
            }
        }
    }
    let defect = match commit.end(end) {
        Ok(held) => {
            passed.extend_from_slice(&held);
            None
        }
        Err(defect) => Some(defect),
    };
    (passed, commit.usage(), defect)
}

/// What goes to the client of a whole stream that comes in chunks of this size.
fn passed(text: &str, size: usize) -> String {
    let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
    let (passed, usage, defect) = read(&chunks, End::Framed);
    assert_eq!(defect, None, "{text} in chunks of {size}");
    assert_eq!(usage.map(|usage| usage.prompt_tokens), Some(3), "{text} in chunks of {size}");
    String::from_utf8(passed).expect("text")
}

#[test]
fn the_usage_event_is_taken_out_wherever_it_is_cut() {
    for gap in ["\n\n", "\r\n\r\n", "\r\r"] {
        for usage in [
            USAGE.to_owned(),
            format!(": comment{}{USAGE}", &gap[..gap.len() / 2]),
            format!("id: 7{}{USAGE}", &gap[..gap.len() / 2]),
            USAGE.replace("\"choices\":[]", "\"choices\" : [ ]"),
            USAGE.replace("\"choices\":[]", "\"choices\":null"),
            USAGE.replace("\"choices\":[],", "").replace("}}}}", "}}},\"choices\":[]}"),
            USAGE.replace("data: ", "data:"),
            USAGE.replace(",\"usage", &format!(",{}data: \"usage", &gap[..gap.len() / 2])),
        ] {
            for kept in [
                vec![CONTENT, STOP, "", DONE],
                vec!["", CONTENT, STOP, DONE],
                vec![CONTENT, "", ": wait", CONTENT, STOP, DONE],
                vec![CONTENT, STOP, "", "", DONE],
                vec![CONTENT, STOP, DONE, ""],
                vec![": a", CONTENT, CONTENT, CONTENT, CONTENT, "", DONE],
                vec![CONTENT, STOP, ""],
            ] {
                let all: String = kept
                    .iter()
                    .map(|event| if event.is_empty() { &usage } else { *event })
                    .map(|event| format!("{event}{gap}"))
                    .collect();
                let kept: String = kept
                    .iter()
                    .filter(|event| !event.is_empty())
                    .map(|event| format!("{event}{gap}"))
                    .collect();
                for size in SIZES {
                    let passed = passed(&all, size);
                    // Of an event at the start the last byte of its CRLF is left: a blank line.
                    let passed = passed.strip_prefix('\n').unwrap_or(&passed);
                    assert_eq!(passed, kept, "{all:?} in chunks of {size}");
                }
            }
        }
    }
}

#[test]
fn a_usage_event_without_its_blank_line_is_taken_out() {
    let begun = format!("{CONTENT}\n\n{STOP}\n\n");
    for last in [USAGE.to_owned(), format!("{USAGE}\n"), format!("{USAGE}\r\n")] {
        let all = format!("{begun}{last}");
        for size in SIZES {
            let chunks: Vec<_> = all.as_bytes().chunks(size).collect();
            let (passed, usage, defect) = read(&chunks, End::Closed);
            assert_eq!((passed, defect), (begun.clone().into_bytes(), None), "{size}");
            assert_eq!(usage.map(|usage| usage.completion_tokens), Some(4));
        }
    }
}

#[test]
fn all_other_events_stay() {
    for event in [
        &CONTENT.replace("}]}", "}],\"usage\":{\"prompt_tokens\":3}}"),
        &CONTENT.replace("}]}", "}],\"usage\":null}"),
        &USAGE.replace("[]", "[{\"delta\":{\"content\":\"x\"}}]"),
        r#"data: {"choices":[],"prompt_filter_results":[{}],"usage":null}"#,
        r#"data: {"choices":[],"prompt_filter_results":[{}]}"#,
        r#"data: {"choices":[],"usage":"none"}"#,
        r#"data: {"usage":{"prompt_tokens":3}}"#,
        r#"data: {"choices":{},"usage":{"prompt_tokens":3}}"#,
        r#"data: {"x":"\"choices\":[],\"usage\":{}","choices":[{"delta":{"a":1}}]}"#,
        r#"data: {"choices":[],"usage":{"prompt_tokens":3}"#,
        r#"data: {"choices":[],"usage":{"prompt_tokens":3},"x":{"choices":[1]}}"#,
        "data: \"choices\" \"usage\"",
        "event: ping",
        ": \"choices\":[],\"usage\":{}",
        "retry: 3",
    ] {
        let all = format!("{CONTENT}\n\n{event}\n\n{STOP}\n\n{DONE}\n\n");
        for size in SIZES {
            let chunks: Vec<_> = all.as_bytes().chunks(size).collect();
            let (passed, _, defect) = read(&chunks, End::Framed);
            assert_eq!((String::from_utf8_lossy(&passed), defect), (all.as_str().into(), None));
        }
    }
}

#[test]
fn an_error_behind_the_usage_event_is_still_told() {
    let error = "data: {\"error\":{\"message\":\"no\"}}\n\n";
    let all = format!("{CONTENT}\n\n{USAGE}\n\n{error}");
    for size in SIZES {
        let chunks: Vec<_> = all.as_bytes().chunks(size).collect();
        let (passed, _, defect) = read(&chunks, End::Framed);
        assert_eq!(String::from_utf8_lossy(&passed), format!("{CONTENT}\n\n"), "{size}");
        assert!(matches!(defect, Some(Defect::Reported(_))));
    }
}

#[test]
fn a_stream_of_usage_alone_is_as_empty_as_before() {
    let all = format!("{USAGE}\n\n");
    for (text, end) in [(all.clone(), End::Framed), (all, End::Closed)] {
        let mut commit = Commit::new(Shape::Stream);
        let _ = commit.feed(text.clone().into());
        let (_, _, defect) = read(&[text.as_bytes()], end);
        assert_eq!(defect, commit.end(end).err());
    }
}

#[test]
fn content_is_not_delayed_beyond_its_choices() {
    let mut commit = Commit::new(Shape::Stream).without_usage_event();
    let mut feed = |text: &str| match commit.feed(text.to_owned().into()) {
        Verdict::Pass(pass) => String::from_utf8(pass.to_vec()).expect("text"),
        Verdict::Hold => String::new(),
        verdict @ Verdict::Fail { .. } => panic!("{verdict:?}"),
    };
    let content = format!("{CONTENT}\n\n");
    assert_eq!(feed(&content), content);
    let (head, tail) = content.split_at(content.find("{\"index").expect("a choice"));
    assert_eq!(feed(head), "", "it may still have no choice");
    assert_eq!(feed(&tail[..1]), format!("{head}{{"), "it has one");
    assert_eq!(feed(&tail[1..2]), "\"", "the rest passes as it comes");
    assert_eq!(feed(&tail[2..]), &tail[2..]);
    assert_eq!(feed("data: t"), "data: t", "no object can follow");
}

#[test]
fn the_work_is_a_multiple_of_the_bytes() {
    let blank = " ".repeat(15);
    for part in [
        format!("{USAGE}\n\n"),
        format!("{CONTENT}\n\n{USAGE}\n\n"),
        "data: {\"choices\" ".to_owned(),
        format!("data: {{\"choices\":{blank}"),
        format!("data: {{\"choices\":{blank}[{blank}"),
        "{\"choices\":[],\"usage\":{".to_owned(),
        "data: {\"a\":\"".to_owned(),
    ] {
        let text = format!("{CONTENT}\n\n{}", part.repeat((1 << 14) / part.len()));
        for size in [1, 7, 1000, 1 << 16] {
            let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
            work::bounded(32, text.len(), (chunks.len(), 1024), || read(&chunks, End::Closed));
        }
    }
}

proptest! {
    #[test]
    fn what_passes_does_not_depend_on_the_cuts(
        events in proptest::collection::vec(0usize..8, 0..12),
        cuts in proptest::collection::vec(0usize..1200, 0..8),
        gap in prop_oneof![Just("\n\n"), Just("\r\n\r\n"), Just("\n"), Just("\r\r")],
    ) {
        let kinds = [CONTENT, STOP, USAGE, DONE, ": c", "data: {\"choices\":[],\"usage\":null}", "", "\u{feff}data: {"];
        let text: String = events.iter().map(|kind| format!("{}{gap}", kinds[*kind])).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.sort_unstable();
        let (mut chunks, mut from) = (Vec::new(), 0);
        let bytes = text.as_bytes();
        let places: Vec<usize> = cuts.into_iter().map(|mut cut| {
            while !text.is_char_boundary(cut) { cut -= 1; }
            cut
        }).collect();
        for cut in places {
            chunks.push(&bytes[from..cut]);
            from = cut;
        }
        chunks.push(&bytes[from..]);
        prop_assert_eq!(read(&chunks, End::Closed), read(&[bytes], End::Closed));
    }
}
