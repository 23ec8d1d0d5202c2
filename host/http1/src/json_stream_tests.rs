use proptest::prelude::*;

use super::*;

/// The verdict on a text in pieces of this size, and the parts found in it.
fn read(text: &[u8], size: usize) -> (Result<bool, &'static str>, Vec<String>) {
    let (mut stream, mut found) = (JsonStream::default(), Vec::new());
    let mut verdict = Ok(());
    for piece in text.chunks(size.max(1)) {
        verdict = stream.feed(piece, |part| found.push(shown(&part, text)));
    }
    (verdict.map(|()| stream.is_done()), found)
}

fn shown(part: &Found<'_>, text: &[u8]) -> String {
    let (level, field) = match part {
        Found::Top(field) => ("top", field),
        Found::OfChoice(field) => ("choice", field),
        Found::Choice => return "end".into(),
    };
    let [key, value, start] = [field.key, &text[field.value.clone()], field.start]
        .map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(value.starts_with(&start) || field.start.len() == 2, "{value} {start}");
    format!("{level} {key}={value}")
}

#[test]
fn fields_are_found_however_the_text_is_cut() {
    let text = br#" {"id":"a\"b","n":-1.5e+3,"none":null,"e":[ ],"o":{"type":"no"},
        "choices":[{"index":0,"delta":{"index":7},"finish_reason":null},{"finish_reason":"stop"}],
        "other":[{"index":3}],"a_key_of_more_than_16":true} "#;
    let want = [
        "top id=\"a\\\"b\"",
        "top n=-1.5e+3",
        "top none=null",
        "top e=[ ]",
        "top o={\"type\":\"no\"}",
        "choice index=0",
        "choice delta={\"index\":7}",
        "choice finish_reason=null",
        "end",
        "choice finish_reason=\"stop\"",
        "end",
    ];
    for size in 1..=text.len() {
        let (verdict, found) = read(text, size);
        assert_eq!(verdict, Ok(true));
        assert_eq!(found[..want.len()], want, "in pieces of {size}");
        assert_eq!(found.len(), want.len() + 3);
        assert_eq!(found.last().map(String::as_str), Some("top =true"));
    }
}

#[test]
fn empty_values_say_nothing() {
    for (value, says) in [
        ("null", false),
        ("\"\"", false),
        ("[ ]", false),
        ("{\n}", false),
        ("0", true),
        ("[0]", true),
    ] {
        let mut stream = JsonStream::default();
        let mut count = 0;
        let text = format!("{{\"error\":{value}}}");
        let read = stream.feed(text.as_bytes(), |part| {
            let Found::Top(field) = part else { panic!("{part:?}") };
            assert_eq!((field.key, field.says()), (&b"error"[..], says), "{value}");
            count += 1;
        });
        assert_eq!((read, count), (Ok(()), 1));
    }
}

#[test]
fn what_is_no_json_is_known_at_once() {
    for text in [
        "data: {}",
        "<html>",
        "1",
        "\"text\"",
        "{]",
        "[}",
        "{1",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\"}",
        "[01]",
        "[1.]",
        "[-]",
        "[1e]",
        "[tru]",
        "[nan]",
        "[\"\\x\"]",
        "[\"\\u12g\"]",
        "[\"\n\"]",
        "{} {}",
        "{}x",
        "[1 2]",
        "[,1]",
    ] {
        assert!(read(text.as_bytes(), 1).0.is_err(), "{text}");
        assert_eq!(read(text.as_bytes(), 1).0.is_err(), read(text.as_bytes(), 99).0.is_err());
    }
    for text in ["", " ", "{", "[1", "{\"a", "{\"a\":\"}", "[{}", "[-Infinit", "\u{feff}"] {
        assert_eq!(read(text.as_bytes(), 1).0, Ok(false), "{text}");
    }
    for text in ["{}", "[NaN,-Infinity,1e999,\"\\ud800\"]", "\u{feff}[]", " {} \n"] {
        assert_eq!(read(text.as_bytes(), 1).0, Ok(true), "{text}");
    }
    let deep = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
    assert_eq!(read(deep.as_bytes(), 50).0, Ok(true));
    assert!(read("[".repeat(DEPTH + 1).as_bytes(), 50).0.is_err());
}

/// Texts that are JSON, nearly.
fn texts() -> impl Strategy<Value = String> {
    let scalar = "(null|true|false|-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9])?|\"[a-z\\\\n\"]{0,4}\")";
    let value = proptest::string::string_regex(scalar).expect("a good expression");
    let value = value.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|v| format!("[{}]", v.join(", "))),
            proptest::collection::vec(("[a-z]{0,3}", inner), 0..4).prop_map(|fields| {
                let fields = fields.into_iter().map(|(key, value)| format!("\"{key}\" :{value}"));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            }),
        ]
    });
    (value, proptest::option::of((0..200_usize, "[\\[\\]{}:,\"0e. -]"))).prop_map(
        |(mut text, change)| {
            if let Some((at, with)) = change {
                let at = at % (text.len() + 1);
                if text.is_char_boundary(at) {
                    text.replace_range(at..text.len().min(at + 1), &with);
                }
            }
            text
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_agrees_with_serde_json(text in texts(), size in 1_usize..20) {
        let parsed = serde_json::from_str::<serde_json::Value>(&text);
        let is_good = parsed.as_ref().is_ok_and(|value| value.is_object() || value.is_array());
        // serde_json refuses numbers that no float holds.
        let is_large = parsed.is_err_and(|error| error.to_string().contains("out of range"));
        let (verdict, found) = read(text.as_bytes(), size);
        prop_assert!(verdict == Ok(true) || !is_good, "{text}");
        prop_assert!(verdict != Ok(true) || is_good || is_large, "{text}");
        prop_assert_eq!(read(text.as_bytes(), text.len()), (verdict, found));
    }
}
