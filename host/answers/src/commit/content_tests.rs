//! How events and whole answers are read.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::commit::reported::error_in;

#[test]
fn what_carries_nothing_is_an_opening() {
    for event in [
        ": keep-alive\n\n",
        "retry: 3000\n\n",
        "data: \n\n",
        "data",
        "event: message\ndata:",
        "\n",
        r#"data: {"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"data: {"choices":[{"delta":{"role":"assistant","tool_calls":[]}}],"error":null}"#,
        r#"data: {"choices":[],"usage":{"prompt_tokens":1}}"#,
        r#"data: {"choices":[{"text":"","finish_reason":null}]}"#,
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}",
        r#"data: {"type":"response.in_progress"}"#,
    ] {
        assert_eq!(first(event.as_bytes()), Meaning::Opening, "{event}");
    }
}

#[test]
fn what_a_client_waits_for_is_content() {
    for event in [
        r#"data: {"choices":[{"delta":{"content":"a"}}]}"#,
        r#"data:{"choices":[{"delta":{"reasoning_content":"a"}}]}"#,
        r#"data: {"choices":[{"delta":{"role":"assistant","tool_calls":[{"index":0}]}}]}"#,
        r#"data: {"choices":[{"delta":{"audio":{"id":"a"}}}]}"#,
        r#"data: {"choices":[{"text":" "}]}"#,
        r#"data: {"type":"response.output_item.added"}"#,
        r#"data: {"choices":"odd"}"#,
        "data: 1\ndata: 2",
        r#"data: ["text", "error"]"#,
        "data: hello",
    ] {
        assert_eq!(first(event.as_bytes()), Meaning::Content, "{event}");
    }
    for (event, meaning) in [
        ("data: [DONE]\n\n", Meaning::Done),
        (r#"data: {"type":"response.completed"}"#, Meaning::Done),
        (r#"data: {"choices":[{"delta":{},"finish_reason": "stop"}]}"#, Meaning::Content),
    ] {
        assert_eq!(first(event.as_bytes()), meaning, "{event}");
        assert_eq!(later(event.as_bytes()), meaning, "{event}");
    }
}

#[test]
fn an_error_is_seen_in_every_shape_that_engines_give_it() {
    let cases = [
        (
            r#"data: {"error":{"message":"too long","type":"BadRequestError","code":400}}"#,
            400,
            "too long",
        ),
        (r#"data: {"error":{"message":"oom","code":"internal"}}"#, 0, "oom"),
        (r#"data: {"error":"gone"}"#, 0, "gone"),
        (r#"data: {"object":"error","message":"no","code":422}"#, 422, "no"),
        ("event: error\ndata: {\"type\":\"error\",\"message\":\"no\"}", 0, "no"),
        ("event: error\ndata: no", 0, "no"),
        (r#"data: {"type":"response.failed","response":{"error":{"message":"no"}}}"#, 0, "no"),
        (r#"data: {"type":"response.failed","response":{}}"#, 0, ""),
        (
            r#"data: {"choices":[{"delta":{"content":""}}],"error":{"message":"no","code":500}}"#,
            500,
            "no",
        ),
        // OpenRouter names the failure of one choice, Google wraps errors in a list.
        (
            r#"data: {"choices":[{"finish_reason":"error","error":{"message":"no","code":502}}]}"#,
            502,
            "no",
        ),
        (r#"data: [{"error":{"message":"no","code":503}}]"#, 503, "no"),
    ];
    for (event, status, message) in cases {
        for meaning in [first(event.as_bytes()), later(event.as_bytes())] {
            let Meaning::Error(error) = meaning else { panic!("{event}: {meaning:?}") };
            assert_eq!(error.message, message, "{event}");
            assert_eq!(error.status.unwrap_or(0), status, "{event}");
        }
    }
}

#[test]
fn a_body_without_an_answer_may_say_that_it_failed() {
    for (body, message) in [
        (r#"{"success":false,"code":500,"msg":"no"}"#, "no"),
        (r#"{"result":null,"success": false,"errors":[{"code":7009,"message":"no"}]}"#, "no"),
        (r#"{"errors":["no"]}"#, "no"),
        (r#"{"choices":null,"base_resp":{"status_code":1008,"status_msg":"no"}}"#, "no"),
        (r#"{"base_resp":{"status_code":2013}}"#, ""),
        (r#"[{"error":"no"},{}]"#, "no"),
    ] {
        let words = error_in(body.as_bytes()).unwrap_or_else(|| panic!("{body}"));
        assert_eq!(words.message, message, "{body}");
    }
    for body in [
        r#"{"error":false,"choices":[]}"#,
        r#"{"error":0,"data":[]}"#,
        r#"{"success":true,"errors":[],"data":[]}"#,
        r#"{"choices":[{"text":"a","error":null}],"success":false,"errors":["odd"]}"#,
        r#"{"choices":[{"text":"a"}],"base_resp":{"status_code":0,"status_msg":"success"}}"#,
        r#"{"base_resp":"odd","success":"false"}"#,
        r#"["success","error"]"#,
    ] {
        assert_eq!(error_in(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn a_stream_is_finished_when_each_choice_that_has_begun_is() {
    let event = |index: &str, reason: &str| {
        let choice = format!(
            r#"{{{index}"delta":{{"tool_calls":[{{"index":7}}]}},"finish_reason":{reason}}}"#
        );
        format!("data: {{\"choices\":[{choice}]}}\n\n").into_bytes()
    };
    let mut choices = Ending::default();
    assert!(!choices.is_sure(), "nothing has begun");
    choices.note(b": wait\n\n");
    choices.note(b"data: [DONE]\n\n");
    choices.note(br#"data: {"choices":[],"usage":{}}"#);
    assert!(!choices.is_sure(), "still nothing");
    for (index, reason, finished) in [
        (r#""index":0,"#, "null", false),
        (r#""index":1,"#, r#""""#, false),
        (r#""index":0,"#, r#""stop""#, false),
        (r#""index":1,"#, r#""length""#, true),
        ("", "null", true),
        (r#""index":"odd","#, "null", true),
        (r#""index":400,"#, "null", false),
        (r#""index":400,"#, r#""stop""#, true),
    ] {
        choices.note(&event(index, reason));
        assert_eq!(choices.is_sure(), finished, "{index} {reason}");
    }
    let both = br#"data: {"choices":[{"index":2,"text":"a"},{"index":3,"finish_reason":"stop"}]}"#;
    choices.note(both);
    assert!(!choices.is_sure(), "choice 2 is not finished");
}

#[test]
fn a_stream_of_a_known_kind_lacks_its_end_until_that_comes() {
    let missing = |events: &[&str]| {
        let mut ending = Ending::default();
        events.iter().for_each(|event| ending.note(event.as_bytes()));
        ending.is_missing()
    };
    let text = r#"data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#;
    let stop = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let usage = r#"data: {"choices":[],"usage":{}}"#;
    assert!(missing(&[text]) && missing(&[": wait", text, text, usage]));
    assert!(missing(&[r#"data: {"choices":[],"prompt_filter_results":[]}"#, text]));
    assert!(!missing(&[text, stop]) && !missing(&[text, text, stop, usage]));
    assert!(missing(&[r#"data: {"type":"response.created"}"#]));
    let second = text.replace("0,", "1,");
    assert!(missing(&[text, &second, stop, usage]), "the second is not finished");
    let both = [text, &second, &second, stop, &stop.replace("0,", "1,"), usage];
    assert!(!missing(&both));
    assert!(!missing(&[]) && !missing(&[usage]) && !missing(&["data: {\"token\":\"a\"}"]));
    assert!(!missing(&["data: hello", "data: {\"type\":\"progress\"}"]));
    let mut ending = Ending::default();
    ending.note(text.as_bytes());
    ending.note_long(&Seen::default());
    assert!(ending.is_missing(), "a long event without a reason");
    ending.note_long(&Seen { begun: 1, finished: 1, ..Seen::default() });
    assert!(!ending.is_missing());
}

#[test]
fn text_about_errors_is_no_error() {
    let event = br#"data: {"choices":[{"delta":{"content":"\"error\": [DONE] event: error"}}]}"#;
    assert_eq!(later(event), Meaning::Content);
    assert_eq!(error_in(br#"{"choices":[],"error":null}"#), None);
    assert_eq!(error_in(br#"["error"]"#), None);
    assert_eq!(error_in(br#"{"a":{"error":{"message":"nested"}}}"#), None);
    assert!(error_in(br#"{"error":{"message":"no"}}"#).is_some());
    assert_eq!(error_in(br#"[{"index":0,"text":"error"}]"#), None);
    let in_list = error_in(br#"[{"error":{"code":429,"message":"no"}}]"#);
    assert_eq!(in_list.and_then(|words| words.status), Some(429));
}

#[test]
fn a_keep_alive_has_no_data() {
    for event in [
        ": wait\n\n",
        "\r\n",
        "data:\n\n",
        "data: \r\n\r\n",
        "event: ping\ndata: {}\n\n",
        ":\n: a\n\n",
    ] {
        assert!(is_keep_alive(event.as_bytes()), "{event:?}");
    }
    for event in
        ["data: a\n\n", ": a\ndata: b\n\n", "event: pinged\ndata: a\n\n", "id: 1\ndata: a\n\n"]
    {
        assert!(!is_keep_alive(event.as_bytes()), "{event:?}");
    }
}

#[test]
fn a_stream_is_known_by_its_first_field() {
    for event in ["data: a", ": wait", "\u{feff}event: a", "\nid: 1", "retry: 3"] {
        assert!(is_known(event.as_bytes()), "{event:?}");
    }
    for event in ["<html>", "{\"choices\":[]}", "", "  text"] {
        assert!(!is_known(event.as_bytes()), "{event:?}");
    }
}

#[test]
fn the_beginning_of_an_error_is_known() {
    for (start, is_error) in [
        ("event: error", true),
        ("event: response.failed\ndata: {", true),
        ("event: errors", false),
        ("event: message\ndata: error", false),
        (": error", false),
        ("", false),
        (r#"data: {"error":{"#, false),
        (r#"data: {"error":{""#, true),
        (r#"data: { "error" : "oom"#, true),
        (r#"data: {"error":1"#, false),
        (r#"data: {"error":12"#, true),
        (r#"data: {"error":null"#, false),
        (r#"data: {"error":"""#, false),
        (r#"data: {"error":[]"#, false),
        (r#"data: {"error":{}"#, false),
        (r#"data: {"error":false"#, false),
        (r#"data: {"error":0,"#, false),
        (r#"data: [{"error":{""#, true),
        (r#"data: {"errors":{"#, false),
        (r#"data: {"type":"error""#, true),
        (r#"data: {"type":"response.failed""#, true),
        (r#"data: {"object":"error""#, true),
        (r#"data: {"type":"response.created""#, false),
        (r#"data: {"object":"chunk","error":{"#, false),
    ] {
        assert_eq!(begins_as_error(start.as_bytes()), is_error, "{start}");
        let error = Meaning::Error(Words::default());
        let want = if is_error { error } else { Meaning::Content };
        assert_eq!(of_long(start.as_bytes(), &Seen::default()), want, "{start}");
    }
}

#[test]
fn only_an_object_that_stops_is_cut() {
    for (event, cut) in [
        ("data: {\"a\":1", true),
        ("event: x\ndata: {\"a\":[", true),
        ("data: {\"a\":1}", false),
        ("data: {\"a\":x", false),
        ("data: [1", false),
        ("data: \"a", false),
        (": {\"a\":1", false),
    ] {
        assert_eq!(is_cut(event.as_bytes()), cut, "{event}");
    }
}

#[test]
fn a_choice_without_an_index_is_the_first() {
    let mut ending = Ending::default();
    ending.note(br#"data: {"choices":[{"index":1,"finish_reason":"stop"}]}"#);
    assert!(ending.is_sure());
    ending.note(br#"data: {"choices":[{"text":"a"}]}"#);
    assert!(!ending.is_sure(), "choice 0 has begun");
    let mut ending = Ending::default();
    ending.note(br#"data: {"token":"a"}"#);
    ending.note(br#"data: {"choices":[{"finish_reason":"stop"}]}"#);
    assert!(ending.is_sure(), "choices behind an event of another shape");
}

proptest! {
    /// Generates events as lists of choices. A choice has an index or none, blanks after its colons
    /// or none, and a finish reason or none.
    #[test]
    fn the_quick_search_misses_no_choice(
        events in vec(vec((option::of(prop_oneof![0u8..4, 125u8..130]), any::<bool>(), any::<bool>()), 0..3), 0..12),
    ) {
        let mut ending = Ending::default();
        let (mut begun, mut finished) = (BTreeSet::new(), BTreeSet::new());
        for event in events {
            let mut choices = Vec::new();
            for (index, is_spaced, finishes) in event {
                let colon = if is_spaced { ": " } else { ":" };
                let at = index.map(|index| format!("\"index\"{colon}{index},")).unwrap_or_default();
                let reason = if finishes { "\"stop\"" } else { "null" };
                let text = "n".repeat(20);
                choices.push(format!("{{{at}\"text\":\"{text}\",\"finish_reason\"{colon}{reason}}}"));
                let index = index.unwrap_or(0).min(127);
                begun.insert(index);
                finished.extend(finishes.then_some(index));
            }
            ending.note(format!("data: {{\"choices\":[{}]}}\n\n", choices.join(",")).as_bytes());
            prop_assert_eq!(ending.is_sure(), !begun.is_empty() && begun == finished);
            prop_assert_eq!(ending.is_missing(), begun != finished);
        }
    }
}
