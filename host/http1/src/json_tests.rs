//! Compares the reader with serde_json, which is slower and trusted.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

fn reads(text: &str) -> bool {
    object(text, |_, _| {}).is_ok()
}

/// serde_json's own limit of depth is not ours, so texts here are flatter than both.
fn is_object(text: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(text).is_ok()
}

fn nested(levels: usize) -> String {
    let arrays = levels - 1;
    format!(r#"{{"a":{}{}}}"#, "[".repeat(arrays), "]".repeat(arrays))
}

#[test]
fn depth_is_bounded() {
    assert!(reads(&nested(128)));
    assert!(!reads(&nested(129)));
    assert!(!reads(&nested(100_000)));
    assert!(!reads(&format!(r#"{{"a":{}"#, r#"{"a":"#.repeat(100_000))));
}

#[test]
fn odd_texts_are_read_as_serde_json_reads_them() {
    let values = [
        "1",
        "-0",
        "01",
        "-",
        "1.",
        ".1",
        "1e",
        "1e+",
        "1e5",
        "1E-5",
        "1e308",
        "1e309",
        "-1e400",
        "1e-400",
        "0x1",
        "NaN",
        "Infinity",
        "+1",
        "tru",
        "true",
        "nulll",
        "'a'",
        r#""\x""#,
        r#""\u12""#,
        r#""\ud83d\ude00""#,
        r#""\ud83d""#,
        r#""\ud83dA""#,
        r#""\ude00""#,
        r#""\ud83d\u0041""#,
        r#""\ud83d\n""#,
        "\"\u{1}\"",
        "\"\n\"",
        "\"\u{7f}\"",
        "[1,]",
        "[,1]",
        "{}",
        "[]",
        "[ ]",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{1:1}"#,
        "[1 2]",
        "// x\n1",
        "\u{feff}1",
        "\u{a0}1",
        "[}",
        "{]",
        r#"[{"a":[{}]}]"#,
    ];
    for value in values {
        let text = format!(r#"{{"v":{value}}}"#);
        assert_eq!(reads(&text), is_object(&text), "{text}");
    }
    let long = format!(r#"{{"v":{}}}"#, "9".repeat(400));
    assert_eq!(reads(&long), is_object(&long));
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_json_is_read(value in json(), pretty: bool) {
        let value = serde_json::json!({"model": "m", "value": value});
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.expect("JSON");
        let mut fields = Vec::new();
        object(&text, |key, at| fields.push((text[key].to_owned(), text[at].to_owned()))).expect("JSON");
        let found: Value = serde_json::from_str(&fields[1].1).expect("a value");
        prop_assert_eq!((&*fields[0].0, &*fields[0].1), ("\"model\"", "\"m\""));
        // Floats are not read to their last bit by default, so both were read from text.
        let whole: Value = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(&found, &whole["value"]);
    }

    #[test]
    fn what_is_broken_is_not(value in json(), at: prop::sample::Index, with in r#"[\[\]{}":,\\0-9eE.+u\x00-\x20a-f-]{0,3}"#) {
        let mut text = serde_json::json!({"a": value}).to_string();
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let end = (at + 1..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(at);
        text.replace_range(at..end, &with);
        prop_assert_eq!(reads(&text), is_object(&text), "{}", text);
    }
}

proptest! {
    #[test]
    fn the_end_of_plain_text_is_found_wherever_it_is(
        text in prop::collection::vec(
            prop_oneof![8 => any::<u8>(), 8 => Just(b'a'), 1 => Just(b'"'), 1 => Just(b'\\')],
            0..100,
        ),
        clean in 0..100_usize,
    ) {
        let mut text = text;
        for byte in text.iter_mut().take(clean).filter(|byte| matches!(byte, b'"' | b'\\' | 0..=31)) {
            *byte = 0x80;
        }
        let first = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=31));
        prop_assert_eq!(plain(&text), first.unwrap_or(text.len()));
    }
}
