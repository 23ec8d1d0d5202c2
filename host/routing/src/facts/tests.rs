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
        max_output(body.as_bytes(), &fields)
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

/// The facts that are needed: all, or none of the costly ones.
fn told(body: &Value, headers: &HeaderMap, config: &RequestFacts, all: bool) -> Facts {
    let body = body.to_string().into_bytes();
    let scan = scan(&body).unwrap();
    let needs = Needs { prompt_tokens: all, session: all, prefixes: all, tenant_name: all };
    of(Asked { model: "m", headers, body: &body, scan: &scan }, config, needs)
}

#[test]
fn only_facts_that_are_needed_are_told() {
    let config = RequestFacts {
        session_header: Some("x-session".into()),
        tenant_header: Some("x-tenant".into()),
        tenant_metrics: false,
        priority_header: Some("x-priority".into()),
        objective_header: Some("x-objective".into()),
        headers: vec!["x-tier".into(), "x-none".into()],
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", "acme".parse().unwrap());
    headers.insert("x-tier", "gold".parse().unwrap());
    let mut body = chat(&[("user", &"x".repeat(600))]);
    body["max_tokens"] = json!(9);
    let cheap = told(&body, &headers, &config, false);
    assert_eq!((cheap.prompt_tokens, cheap.session, cheap.prefixes), (None, None, vec![]));
    assert_eq!(cheap.max_output_tokens, Some(9));
    assert_eq!(cheap.tenant.map(|tenant| tenant.name).as_deref(), Some("acme"));
    assert_eq!((cheap.priority, cheap.objective), (0, None));
    assert_eq!(cheap.headers, [("x-tier".to_owned(), "gold".to_owned())]);
    let all = told(&body, &headers, &config, true);
    assert!(all.prompt_tokens.is_some() && all.session.is_some() && all.prefixes.len() == 1);
    // The header names the session, whatever the body says.
    headers.insert("x-session", "s1".parse().unwrap());
    let named = told(&body, &headers, &config, true).session;
    assert_ne!(named, all.session);
    assert_eq!(told(&chat(&[("user", "a")]), &headers, &config, true).session, named);
    let none = told(&json!({"model": "m"}), &HeaderMap::new(), &RequestFacts::default(), true);
    assert_eq!((none.tenant, none.session, none.prompt_tokens), (None, None, None));
}

#[test]
fn urgency_and_objective_are_numbers_or_nothing() {
    for (text, number) in [
        ("7", 7),
        (" -3 ", -3),
        ("99999999999", i32::MAX),
        ("-99999999999", i32::MIN),
        ("high", 0),
        ("1.5", 0),
    ] {
        assert_eq!(priority(text), number, "{text}");
    }
    for (text, milliseconds) in [
        ("250", Some(250)),
        ("1", Some(1)),
        ("0", None),
        ("-5", None),
        ("nan", None),
        ("1e9", None),
    ] {
        assert_eq!(objective(text), milliseconds.map(Duration::from_millis), "{text}");
    }
}

#[test]
fn instructions_are_part_of_an_unnamed_session_and_of_prefixes() {
    let told = |instructions: &str, tools: Value| {
        let mut body = chat(&[("user", &"x".repeat(600))]);
        body["instructions"] = json!(instructions);
        body["tools"] = tools;
        told(&body, &HeaderMap::new(), &RequestFacts::default(), true)
    };
    let (one, other, tools) = (told("a", json!([])), told("b", json!([])), told("a", json!([1])));
    assert_ne!(one.session, other.session);
    assert_eq!(one.session, tools.session, "tools may change within a conversation");
    assert!(one.prefixes != other.prefixes && one.prefixes != tools.prefixes);
    let long = told(&"word ".repeat(40), json!([1, 2, 3]));
    // 200 bytes for 1, and three numbers.
    assert_eq!(long.prompt_tokens, one.prompt_tokens.map(|tokens| tokens - 1 + 50 + 3));
}

#[test]
fn prefixes_are_whole_blocks_up_to_a_limit() {
    let prefixes = |bytes: usize| {
        // The prompt in quotes, of which the closing one does not count.
        let body = json!({"model": "m", "prompt": "x".repeat(bytes - 1)});
        found(&body).2.len()
    };
    let sizes =
        [1, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, BLOCKS * BLOCK, (BLOCKS + 1) * BLOCK];
    assert_eq!(sizes.map(prefixes), [0, 0, 1, 1, 2, BLOCKS, BLOCKS]);
}

#[test]
fn a_prompt_without_a_user_is_known_by_its_first_block() {
    let session = |prompt: &str| found(&json!({"model": "m", "prompt": prompt})).1;
    let block = "x".repeat(BLOCK);
    assert_eq!(session(&block), session(&format!("{block} and more")));
    assert_ne!(session(&block[2..]), session(&format!("{} and more", &block[2..])));
    let system = |more: &str| found(&chat(&[("system", "a"), ("assistant", more)])).1;
    assert_ne!(system("b"), system("c"), "all of a short list counts");
    let spaced = |role: &str| prompt::is_of_user(format!("{{ {role} }}").as_bytes());
    assert!(spaced("\"role\" : \"user\"") && spaced("\"a\":1,\"role\":\"user\""));
    assert!(!spaced("\"role\":\"users") && !spaced("\"role\" \"user\"") && !spaced("\"a\":1"));
}

#[test]
fn tokens_are_counted_by_kind() {
    let long = "A".repeat(1024);
    for (json, tokens) in [
        ("\"\"", 0),
        ("\"a\"", 1),
        ("\"abcd\"", 1),
        ("\"abcde\"", 2),
        ("[1,-2.5e+3, 4]", 3),
        ("{\"key\" : \"abcd\"}", 4),
        ("{\"a\":{\"b\":1}}", 7),
        ("[true,null]", 0),
        (r#""\\\"abcd""#, 2),
        ("\"data:x\"", 500),
        (&*format!("\"{long}\""), 256),
        (&*format!("\"{long}A\""), 500),
        (&*format!("\"{long} \""), 500),
        (&*format!("\" {long}\""), 257),
    ] {
        assert_eq!(prompt::tokens(json.as_bytes()), tokens, "{json:.40}");
    }
}

#[test]
fn signals_cover_more_of_a_prompt_than_strategies_are_told() {
    let found = |body: &Value| {
        let body = body.to_string().into_bytes();
        let scan = scan(&body).unwrap();
        let asked = Asked { model: "m", headers: &HeaderMap::new(), body: &body, scan: &scan };
        let signals = signals(asked);
        let needs =
            Needs { prompt_tokens: true, prefixes: true, session: true, tenant_name: false };
        let config = RequestFacts::default();
        let facts = of(asked, &config, needs);
        assert_eq!(beside(asked, &config, needs, &signals), facts);
        assert!(beside(asked, &config, Needs::default(), &signals).prefixes.is_empty());
        assert!(signals.prefixes.starts_with(&facts.prefixes));
        assert_eq!(signals.prompt_tokens, facts.prompt_tokens);
        signals
    };
    let long = "All work and no play. ".repeat(2000);
    let mut body = chat(&[("user", &long)]);
    let plain = found(&body);
    assert_eq!(plain.prefixes.len(), (long.len() + 20) / BLOCK);
    assert_eq!((plain.block_tokens, plain.head_tokens, plain.max_output_tokens), (128, 0, None));
    body["max_tokens"] = json!(77);
    body["tools"] = json!([{"type": "function", "name": "abcdefgh"}]);
    let with_tools = found(&body);
    assert_eq!(with_tools.max_output_tokens, Some(77));
    assert_eq!(with_tools.head_tokens, 3 + 4);
    assert_eq!(with_tools.prompt_tokens.unwrap(), plain.prompt_tokens.unwrap() + 7);
    assert_ne!(with_tools.prefixes[0], plain.prefixes[0], "other tools are read first");
    let huge = found(&chat(&[("user", &"x".repeat(2 * INDEXED * BLOCK))]));
    assert_eq!(huge.prefixes.len(), INDEXED);
    let none = found(&json!({"model": "m"}));
    assert_eq!((none.prompt_tokens, none.prefixes.len()), (None, 0));
}

#[test]
fn the_prompt_of_a_cost_is_about_its_text() {
    let estimate = |body: &str| {
        let fields = scan(body.as_bytes()).expect("a good body").fields;
        (prompt_tokens(body.as_bytes(), &fields), images(body.as_bytes(), &fields))
    };
    let text = "four".repeat(100);
    assert_eq!(estimate(&format!(r#"{{"model":"m","prompt":"{text}"}}"#)), (100, 0));
    let long = "four ".repeat(4000);
    let (tokens, _) =
        estimate(&format!(r#"{{"model":"m","instructions":"{text}","input":"{long}"}}"#));
    assert!((5000..5200).contains(&tokens), "{tokens}");
    assert_eq!(estimate(r#"{"model":"m"}"#), (0, 0));
    let picture = "A".repeat(100_000);
    let url = format!(
        r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}"#
    );
    let (tokens, images) = estimate(&format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{url},{url}, {{"type":"text","text":"\"image_url\":"}}]}}]}}"#
    ));
    assert!(tokens < 2000 && images == 2, "{tokens} {images}");
    let file = r#"{"type":"input_image","file_id":"f"}"#;
    let url = r#"{"type": "input_image", "image_url" : "http://x"}"#;
    let (_, images) =
        estimate(&format!(r#"{{"model":"m","input":[{{"content":[{file},{url}]}}]}}"#));
    assert_eq!(images, 2);
}
