#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use http1::scan;

use super::*;

/// The facts found in a body, without headers.
fn found(body: &Value) -> (Option<u32>, Option<u64>, Vec<u64>) {
    let body = body.to_string().into_bytes();
    super::found(&body, &scan(&body).unwrap().fields, 1)
}

fn chat(messages: &[(&str, &str)]) -> Value {
    let message = |(role, content): &(&str, &str)| json!({"role": role, "content": content});
    json!({"model": "m", "messages": messages.iter().map(message).collect::<Vec<_>>()})
}

#[test]
fn a_conversation_that_goes_on_has_the_same_session_and_beginnings() {
    let long = "All work and no play makes Jack a dull boy. ".repeat(40);
    let first = [("system", "Be brief."), ("user", &*long)];
    let later = [&first[..], &[("assistant", "Yes."), ("user", "More?")]].concat();
    let (first, later) = (found(&chat(&first)), found(&chat(&later)));
    assert_eq!(first.1, later.1);
    assert!(first.2.len() >= 3 && later.2.starts_with(&first.2), "{first:?} {later:?}");
    // Another conversation begins differently.
    let other = found(&chat(&[("system", "Be long."), ("user", &*long)]));
    assert!(other.1 != first.1 && other.2[0] != first.2[0]);
    let other = found(&chat(&[("system", "Be brief."), ("user", "Hello")]));
    assert!(other.1 != first.1 && other.2.is_empty(), "no whole block");
}

#[test]
fn a_session_that_is_named_is_taken_by_its_name() {
    let with = |key: &str, value: Value, text: &str| {
        let mut body = chat(&[("user", text)]);
        body[key] = value;
        found(&body).1
    };
    for key in ["user", "prompt_cache_key", "conversation", "previous_response_id"] {
        assert_eq!(with(key, json!("u1"), "a"), with(key, json!("u1"), "b"), "{key}");
        assert_ne!(with(key, json!("u1"), "a"), with(key, json!("u2"), "a"), "{key}");
        assert_ne!(with(key, json!(null), "a"), with(key, json!(null), "b"), "{key}");
    }
}

#[test]
fn tokens_are_about_a_quarter_of_the_text() {
    let estimate = |body: Value| found(&body).0.unwrap();
    let text = "word ".repeat(400);
    let plain = estimate(chat(&[("user", &text)]));
    assert!((500..520).contains(&plain), "{plain}");
    assert_eq!(estimate(json!({"model": "m", "prompt": [1, 2, 3, 40_000]})), 4);
    assert_eq!(estimate(json!({"model": "m", "input": "12345678"})), 2);
    let image = format!("data:image/png;base64,{}", "A".repeat(1_000_000));
    let parts = json!([{"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": image}}]);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": parts}]});
    assert!((500..550).contains(&estimate(body)));
    let audio = json!({"data": "UklGR".repeat(100_000), "format": "wav"});
    let parts = json!([{"type": "input_audio", "input_audio": audio}]);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": parts}]});
    assert!((500..550).contains(&estimate(body)));
    assert_eq!(found(&json!({"model": "m"})).0, None);
}

#[test]
fn hashes_are_the_known_ones() {
    // Strategies store these hashes and gateways share them, so no version may change them.
    let body = chat(&[("user", &"x".repeat(600))]);
    // Computed with Python's xxhash from the first 512 bytes of the messages, with the seed 1.
    assert_eq!(found(&body).2, [1_631_596_638_274_632_383]);
}

#[test]
fn the_last_limit_that_is_given_counts() {
    let limit = |body: &str| {
        let fields = scan(body.as_bytes()).unwrap().fields;
        number(&body.as_bytes()[fields.max_output?])
    };
    assert_eq!(limit(r#"{"model":"m","max_tokens":5,"max_completion_tokens":7}"#), Some(7));
    assert_eq!(limit(r#"{"model":"m","max_tokens":99999999999}"#), Some(u32::MAX));
    assert_eq!(limit(r#"{"model":"m","max_tokens":1.5}"#), None);
    assert_eq!(limit(r#"{"model":"m","max_tokens":null}"#), None);
    assert_eq!(limit(r#"{"model":"m"}"#), None);
}

proptest! {
    #[test]
    fn nothing_that_is_json_breaks_it(
        keys in proptest::collection::vec(
            prop_oneof![Just("messages"), Just("prompt"), Just("user"), Just("tools")], 0..5),
        text in "\\PC{0,40}",
        numbers in proptest::collection::vec(any::<f64>(), 0..4),
    ) {
        let mut body = json!({"model": "m"});
        for (i, key) in keys.iter().enumerate() {
            body[*key] = match i % 4 {
                0 => json!([{"role": text, "content": [text, numbers]}]),
                1 => json!(text),
                2 => json!(numbers),
                _ => json!({text.clone(): [null, true, {"role": "user"}]}),
            };
        }
        let (tokens, _, prefixes) = found(&body);
        prop_assert!(u64::from(tokens.unwrap_or(0)) <= 4 * body.to_string().len() as u64);
        prop_assert!(prefixes.len() <= BLOCKS);
    }
}

#[test]
fn headers_are_told_as_far_as_they_are_printable_and_short() {
    let mut headers = HeaderMap::new();
    headers.insert("x-tier", "gold".parse().unwrap());
    headers.insert("x-long", "x".repeat(VALUE + 1).parse().unwrap());
    headers.insert("x-odd", hyper::header::HeaderValue::from_bytes(b"\xff").unwrap());
    headers.insert("x-empty", "".parse().unwrap());
    let told = ["x-tier", "x-long", "x-odd", "x-empty", "x-none"].map(|n| header(&headers, n));
    assert_eq!(told, [Some("gold"), None, None, None, None]);
}
