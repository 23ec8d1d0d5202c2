//! Single answers, chunk by chunk.

use bytes::Bytes;

use super::events::LONGEST;
use super::model::{Act, choice, text};
use super::oracle::{Read, read};
use super::{Commit, Defect, End, MOST_HELD_OF_A_STREAM, Shape, Verdict};
use crate::Usage;

#[test]
fn what_is_held_is_bounded() {
    let mut commit = Commit::new(Shape::Stream);
    let comment = Bytes::from(": wait\n\n".repeat(1024));
    let committed_after = (1..).find(|_| commit.feed(comment.clone()) != Verdict::Hold);
    assert_eq!(committed_after, Some(9), "at most 64 KiB of comments are held");

    let mut commit = Commit::new(Shape::Plain);
    let [mut first, second, third, fourth] = [b'1', b'2', b'3', b'4'].map(|d| vec![d; 512 * 1024]);
    first[0] = b'[';
    let [first, second, third, fourth] = [first, second, third, fourth].map(Bytes::from);
    assert_eq!(commit.feed(first.clone()), Verdict::Hold);
    assert_eq!(commit.feed(second.clone()), Verdict::Hold);
    assert_eq!(commit.next_held(), None, "exactly 1 MiB is still held");
    assert_eq!(commit.feed(third.clone()), Verdict::Pass(first), "more than 1 MiB is passed on");
    assert_eq!(commit.next_held(), Some(second), "piece by piece");
    assert_eq!(commit.feed(fourth.clone()), Verdict::Pass(third), "in their order");
    assert_eq!(commit.next_held(), Some(fourth.clone()));
    assert_eq!(commit.next_held(), None);
    assert_eq!(commit.feed(fourth.clone()), Verdict::Pass(fourth));
    assert_eq!(commit.end(End::Early), Err(Defect::Truncated));
}

#[test]
fn what_is_framed_as_whole_and_stops_in_the_middle_is_truncated() {
    let mut commit = Commit::new(Shape::Stream);
    let text = text(Act::Content(0), 0) + "data: {\"choices\": [{\"delta\": {";
    assert!(matches!(commit.feed(text.into()), Verdict::Pass(_)));
    assert_eq!(commit.end(End::Framed), Err(Defect::Truncated));

    let mut commit = Commit::new(Shape::Plain);
    assert_eq!(commit.feed("{\"choices\":[{\"messag".into()), Verdict::Hold);
    assert_eq!(commit.end(End::Framed), Err(Defect::Truncated));
}

#[test]
fn an_event_that_was_passed_in_part_is_known_to_be_open() {
    let (content, error) = (text(Act::Content(0), 0), text(Act::Error, 0));
    for (rest, open) in [(error.as_str(), true), ("\n", false), (" ", true)] {
        let mut commit = Commit::new(Shape::Stream);
        assert!(matches!(commit.feed(content.clone().into()), Verdict::Pass(_)));
        let (piece, more) = rest.split_at(rest.len().min(9));
        assert!(matches!(commit.feed(piece.to_owned().into()), Verdict::Pass(_)));
        let _ = commit.feed(more.to_owned().into());
        assert_eq!(!commit.is_between_events(), open, "{rest:?}");
    }
    let mut commit = Commit::new(Shape::Stream);
    let failed = commit.feed(format!("{content}{error}").into());
    assert!(matches!(failed, Verdict::Fail { .. }) && commit.is_between_events());
}

#[test]
fn nothing_is_passed_of_an_error_that_comes_in_pieces() {
    let content = text(Act::Content(0), 0);
    let errors = [
        text(Act::Error, 0),
        "data: { \"error\" : \"oom\"}\n\n".into(),
        "event: error\ndata: oom\n\n".into(),
        "data: {\"object\":\"error\",\"message\":\"oom\"}\r\n\r\n".into(),
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"oom\"}}}\n\n"
            .into(),
        "id: 1\ndata: {\"type\":\"error\",\"message\":\"oom\"}\n\n".into(),
    ];
    for error in errors {
        for size in 1..error.len() {
            let chunks =
                [&content].into_iter().chain([&error]).flat_map(|s| s.as_bytes().chunks(size));
            let Read { passed, defect, commit } = read(Shape::Stream, chunks, End::Framed);
            let Some(Defect::Reported(reported)) = defect else { panic!("{error}: {defect:?}") };
            assert_eq!(reported.message, "oom", "{error}");
            let rest = passed.strip_prefix(content.as_bytes()).expect("the content");
            assert!(!String::from_utf8_lossy(rest).contains("oo"), "{size}: {rest:?}");
            assert_eq!(commit.is_between_events(), rest.is_empty(), "{size}: {rest:?}");
        }
    }
}

#[test]
fn an_event_that_begins_as_an_error_and_is_none_is_passed_when_it_is_whole() {
    let content = text(Act::Content(0), 0);
    let held = "data: {\"error\":{\"no\":json\n\n";
    let never = "data: {\"error\":null,\"text\":\"a\"}\n\n";
    for (event, is_held) in [(held, true), (never, false)] {
        let mut commit = Commit::new(Shape::Stream);
        let (start, rest) = event.split_at(event.len() - 5);
        let first = [content.as_str(), if is_held { "" } else { start }].concat();
        assert_eq!(commit.feed((content.clone() + start).into()), Verdict::Pass(first.into()));
        let then = if is_held { event } else { rest };
        assert_eq!(commit.feed(rest.into()), Verdict::Pass(then.into()), "{event}");
    }
}

#[test]
fn an_error_too_long_to_be_looked_into_is_told_without_its_words() {
    let (content, end) = (text(Act::Content(0), 0), "\"}}\n\n");
    let long = "data: {\"error\":{\"message\":\"".to_owned() + &"a".repeat(2 * LONGEST);
    for size in [1000, LONGEST + 1, 4 * LONGEST] {
        let text = [&content, &long, end].concat();
        let Read { passed, defect, .. } =
            read(Shape::Stream, text.as_bytes().chunks(size), End::Framed);
        assert_eq!(passed, content.as_bytes());
        assert!(matches!(defect, Some(Defect::Reported(error)) if error.message.is_empty()));
    }
    let healthy = long.replace("error", "extra");
    let text = [&content, &healthy, end, &text(Act::Done, 0)].concat();
    let Read { passed, defect, .. } =
        read(Shape::Stream, text.as_bytes().chunks(1000), End::Framed);
    assert_eq!((passed, defect), (text.into_bytes(), None));
}

#[test]
fn a_healthy_stream_is_passed_chunk_by_chunk_and_as_it_is() {
    let text: String =
        [Act::Comment, Act::Role(0), Act::Content(0), Act::Content(0), Act::Finish(0)]
            .map(|act| text(act, 0))
            .concat();
    for size in 1..text.len() {
        let (mut commit, mut client, mut passed) = (Commit::new(Shape::Stream), Vec::new(), 0);
        for chunk in text.as_bytes().chunks(size) {
            if let Verdict::Pass(pass) = commit.feed(Bytes::copy_from_slice(chunk)) {
                client.extend_from_slice(&pass);
                passed += 1;
            } else {
                assert_eq!(passed, 0, "a chunk after the commit was held");
            }
        }
        client.extend_from_slice(&commit.end(End::Closed).expect("whole"));
        assert_eq!(client, text.as_bytes(), "in chunks of {size}");
    }
}

/// The verdict on an answer in pieces of any size.
fn verdict(shape: Shape, text: &str, end: End) -> Option<Defect> {
    let verdicts = [1 << 16, 1000, text.len().max(1)].map(|size| {
        let read = read(shape, text.as_bytes().chunks(size), end);
        assert!(read.defect.is_some() || read.passed == text.as_bytes());
        read.defect
    });
    assert_eq!(verdicts[0], verdicts[1]);
    assert_eq!(verdicts[0], verdicts[2]);
    verdicts.into_iter().next().flatten()
}

#[test]
fn a_body_of_any_size_is_whole_only_as_json() {
    for size in [10, 100_000, 2 << 20] {
        let text = "x}".repeat(size / 2);
        let whole =
            format!("{{\"choices\":[{{\"text\":\"{text}\"}}],\"usage\":{{\"prompt_tokens\":1}}}}");
        for end in [End::Framed, End::Closed] {
            assert_eq!(verdict(Shape::Plain, &whole, end), None);
            // Cut behind a brace.
            let cut = &whole[..whole.rfind("}]").expect("is there") + 1];
            assert_eq!(verdict(Shape::Plain, cut, end), Some(Defect::Truncated));
            let more = whole.clone() + "}";
            assert_eq!(verdict(Shape::Plain, &more, end), Some(Defect::Malformed));
        }
        assert_eq!(verdict(Shape::Plain, &whole, End::Early), Some(Defect::Truncated));
        for other in [format!("data: {whole}\n\n"), format!("<html>{text}"), text] {
            assert_eq!(verdict(Shape::Plain, &other, End::Framed), Some(Defect::Malformed));
        }
    }
    assert_eq!(verdict(Shape::Plain, " \n", End::Framed), Some(Defect::Empty));
}

#[test]
fn error_and_usage_are_found_in_bodies_of_any_size() {
    for size in [10, 100_000, 900_000] {
        let text = "x".repeat(size);
        let body = format!("{{\"id\":\"{text}\",\"error\":{{\"message\":\"oom\",\"code\":400}}}}");
        let Some(Defect::Reported(error)) = verdict(Shape::Plain, &body, End::Framed) else {
            panic!("no error in {size} bytes")
        };
        assert_eq!((&*error.message, error.status), ("oom", Some(400)));
        let list = format!("[{{\"error\":{{\"message\":\"oom\"}}}},\"{text}\"]");
        let Some(Defect::Reported(error)) = verdict(Shape::Plain, &list, End::Framed) else {
            panic!("no error in a list of {size} bytes")
        };
        assert_eq!(error.message, "oom");
        let body =
            format!("{{\"error\":null,\"id\":\"{text}\",\"usage\":{{\"prompt_tokens\":7}}}}");
        let Read { defect, commit, .. } =
            read(Shape::Plain, body.as_bytes().chunks(999), End::Framed);
        assert_eq!((defect, commit.usage().map(|usage| usage.prompt_tokens)), (None, Some(7)));
    }
}

#[test]
fn a_long_event_needs_its_end_as_a_short_one_does() {
    let long = "x".repeat(2 * LONGEST);
    let event = |reason: &str| {
        choice(0, &format!("\"delta\":{{\"content\":\"{long}\"}},\"finish_reason\":{reason}"))
    };
    let [open, finished] = ["null", "\"stop\""].map(event);
    let done = text(Act::Done, 0);
    for end in [End::Framed, End::Closed] {
        let of = |text: &str| verdict(Shape::Stream, text, end);
        assert_eq!(of(&open), Some(Defect::Truncated));
        assert_eq!(of(&(text(Act::Content(0), 0) + &open)), Some(Defect::Truncated));
        assert_eq!(of(&finished), None);
        assert_eq!(of(&(open.clone() + &done)), None);
        assert_eq!(
            of(&(text(Act::Content(0), 0) + &finished[..finished.len() - 4])),
            Some(Defect::Truncated)
        );
        let last =
            format!("{{\"type\":\"response.completed\",\"response\":{{\"text\":\"{long}\"}}}}");
        assert_eq!(
            of(&format!("data: {{\"type\":\"response.created\"}}\n\ndata: {last}\n\n")),
            None
        );
        let other = last.replace("completed", "output_text.done");
        assert_eq!(of(&format!("data: {other}\n\n")), Some(Defect::Truncated));
    }
}

#[test]
fn what_is_no_event_stream_never_commits() {
    let html = "<html>".to_owned() + &"<p>text</p>\n\n".repeat(20_000);
    assert_eq!(verdict(Shape::Stream, &html, End::Framed), Some(Defect::Malformed));
    let html = html.replace('\n', "");
    assert_eq!(verdict(Shape::Stream, &html, End::Framed), Some(Defect::Malformed));
    assert_eq!(verdict(Shape::Stream, "{\"choices\":[]}", End::Framed), Some(Defect::Empty));
}

#[test]
fn comments_do_not_move_a_stream() {
    let mut commit = Commit::new(Shape::Stream);
    let mut moves = |text: &str| {
        let _ = commit.feed(Bytes::copy_from_slice(text.as_bytes()));
        commit.has_moved()
    };
    assert!(moves(&text(Act::Content(0), 0)));
    assert!(!moves(": wait\n\n") && !moves(": wa") && !moves("it\n\n") && !moves("\n"));
    assert!(moves("data: {\"cho") && moves("ices\":[]}\n\n"));
    assert!(moves(": wait\n\ndata: a\n\n"));
    assert!(!commit.is_finished());
    let _ = commit.feed(text(Act::Finish(0), 0).into());
    assert!(commit.is_finished() && !commit.is_done());
}

#[test]
fn the_work_is_a_multiple_of_bytes_and_chunks() {
    for part in [
        ": a\n\n",
        "\n",
        " ",
        "data: ",
        "data:error\n\n",
        "data: {\"choices\":[{\"index\":1}]}\n\n",
        "\"index\":",
        "data: {\"finish_reason\":1,\"index\":2}\n\n",
        "data: {\"error\":",
        "event: error\n",
        "data: response.\n\n",
        "[DONE]",
        "{\"error\":",
        "[",
        "[[],",
        "{\"usage\":{},",
        "\"",
    ] {
        for before in
            ["", "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n", "data: "]
        {
            for (size, length) in [(1, 4 << 10), (100, 70 << 10), (1 << 16, 140 << 10)] {
                let text = before.to_owned() + &part.repeat(length / part.len());
                for shape in [Shape::Plain, Shape::Stream] {
                    // The oracle bounds the work.
                    let _ = read(shape, text.as_bytes().chunks(size), End::Framed);
                }
            }
        }
    }
}

#[test]
fn a_whole_body_tells_its_usage() {
    let used = |prompt_tokens, completion_tokens| {
        Some(Usage { prompt_tokens, completion_tokens, ..Usage::default() })
    };
    for (body, want) in [
        (r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#, used(3, 4)),
        (r#"{"usage":{"input_tokens":5,"output_tokens":6,"x":{}}}"#, used(5, 6)),
        (r#"{"usage":{"prompt_tokens":7}}"#, used(7, 0)),
        (r#"{"usage":{"completion_tokens":7}}"#, None),
        (r#"{"timings":{"prompt_n":3,"predicted_n":4}}"#, used(3, 4)),
        (r#"{"timings":{"prompt_n":3,"predicted_n":4},"usage":{"prompt_tokens":7}}"#, used(7, 0)),
        (r#"{"usage":null,"timings":{"prompt_n":3,"predicted_n":4}}"#, used(3, 4)),
        (r#"{"usage":{"prompt_tokens":"7"}}"#, None),
        (r#"{"usage":null}"#, None),
        (r#"{"nested":{"usage":{"prompt_tokens":3}}}"#, None),
    ] {
        let Read { defect, commit, .. } = read(Shape::Plain, [body.as_bytes()], End::Framed);
        assert_eq!((defect, commit.usage()), (None, want), "{body}");
    }
}

#[test]
fn a_stream_that_ends_too_early_says_how() {
    let content = text(Act::Content(0), 0);
    let other = "data: {\"token\":\"a\"}\n\n";
    let odd = "data: {\"error\":{\"no\":json";
    let (empty, truncated) = (Some(Defect::Empty), Some(Defect::Truncated));
    for (answer, end, want) in [
        (String::new(), End::Framed, empty.clone()),
        (": wait\n\n".into(), End::Framed, empty.clone()),
        (": wait\n\n".into(), End::Closed, empty.clone()),
        (": wait\n\n".into(), End::Early, truncated.clone()),
        // An event without its blank line counts all the same, except after an early end.
        (": wait\n\n: wait".into(), End::Framed, empty),
        ("data: [DONE]".into(), End::Framed, None),
        ("data: [DONE]".into(), End::Closed, None),
        ("data: [DONE]".into(), End::Early, truncated.clone()),
        (content + "data: {\"choices\"", End::Framed, truncated.clone()),
        // Text that is not JSON is not cut, not even if it begins as an error.
        ([other, odd].concat(), End::Framed, None),
        ([other, "data: {\"error\":{\"a"].concat(), End::Framed, truncated.clone()),
        ([other, "data: {\"error\":{\"a"].concat(), End::Closed, truncated.clone()),
        // After [DONE] nothing is missing, but a part of an error is withheld.
        (text(Act::Done, 0) + "data: {\"choices\"", End::Closed, None),
        (text(Act::Done, 0) + "data: {\"error\":{\"a", End::Closed, truncated),
    ] {
        let Read { passed, defect, .. } = read(Shape::Stream, [answer.as_bytes()], end);
        assert_eq!(defect, want, "{answer:?} {end:?}");
        assert!(want.is_some() || passed == answer.as_bytes(), "{answer:?}");
    }
}

#[test]
fn an_error_behind_held_comments_commits_nothing() {
    let comments = |count| Bytes::from(": wait\n\n".repeat(count));
    // In eight bytes.
    let most = MOST_HELD_OF_A_STREAM / 8;
    let error = format!("data: {{\"error\":{{\"message\":\"{}\"}}}}\n\n", "a".repeat(1000));
    let mut commit = Commit::new(Shape::Stream);
    assert_eq!(commit.feed(comments(most)), Verdict::Hold);
    let mut verdicts = error.as_bytes().chunks(100).map(|piece| {
        assert!(!commit.is_committed());
        commit.feed(Bytes::copy_from_slice(piece))
    });
    let failed = verdicts.find(|verdict| *verdict != Verdict::Hold);
    assert!(matches!(failed, Some(Verdict::Fail { pass, .. }) if pass.is_empty()));

    // The comments before an error commit at their size, as they would without it.
    for (count, commits) in [(most - 1, false), (most, true)] {
        let mut commit = Commit::new(Shape::Stream);
        assert_eq!(commit.feed(comments(count)), Verdict::Hold);
        let verdict = commit.feed(Bytes::from([": wait\n\n", &error[..100]].concat()));
        let want = if commits { Verdict::Pass(comments(count + 1)) } else { Verdict::Hold };
        assert_eq!((verdict, commit.is_committed()), (want, commits));
    }
}
