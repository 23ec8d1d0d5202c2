//! Single values: how they are read, what their schema says of them, and how errors name them.

use serde_json::{Value, json};

use super::super::diagnostic::nearest;
use super::*;

pub(super) fn parsed(text: &str) -> Document {
    super::super::text("x.yaml", text, &|_| None).unwrap()
}

/// The errors of a text under a schema, each as `message; help`.
fn said(text: &str, schema: &Value) -> Vec<String> {
    let errors = schema::check(&parsed(text), &[], schema);
    errors.iter().map(|error| format!("{}; {}", error.message, error.help)).collect()
}

#[test]
fn scalars_have_the_types_of_yaml() {
    for (text, want) in [
        ("5", json!(5)),
        ("-5", json!(-5)),
        ("+5", json!(5)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("0x1F", json!(31)),
        ("0o17", json!(15)),
        ("0x", json!("0x")),
        ("0o8", json!("0o8")),
        ("1.5", json!(1.5)),
        (".5", json!(0.5)),
        ("-1e3", json!(-1000.0)),
        ("1E+2", json!(100.0)),
        ("1e999", json!("1e999")),
        ("5a", json!("5a")),
        ("5_0", json!("5_0")),
        ("e5", json!("e5")),
        ("--", json!("--")),
        ("inf", json!("inf")),
        (".inf", json!(".inf")),
        ("nan", json!("nan")),
        ("~", Value::Null),
        ("Null", Value::Null),
        ("TRUE", json!(true)),
        ("False", json!(false)),
        ("yes", json!("yes")),
        ("'5'", json!("5")),
        ("\"true\"", json!("true")),
        ("!!str 5", json!("5")),
        ("!!int 5", json!(5)),
        ("[1, {a: b}]", json!([1, {"a": "b"}])),
    ] {
        let document = parsed(&format!("v: {text}"));
        let read = schema::value(&document, &[], &json!(true)).unwrap();
        assert_eq!(read["v"], want, "{text}");
    }
}

#[test]
fn types_are_told_apart() {
    for (wanted, good, bad) in [
        (json!("integer"), &["5", "5.0", "-1e3"][..], &["5.5", "1e30", "a", "true", "[]"][..]),
        (json!("number"), &["5", "5.5", "-1e30"], &["a", "'5'", "true"]),
        (json!("string"), &["a", "'5'", "''"], &["5", "true", "{}"]),
        (json!("boolean"), &["true", "FALSE"], &["yes", "1", "'true'"]),
        (json!("null"), &["null", "~"], &["a", "0", "''"]),
        (json!("object"), &["{}", "{a: 1}"], &["[]", "a"]),
        (json!("array"), &["[]", "[1]"], &["{}", "a"]),
        (json!(["integer", "null"]), &["5", "~"], &["a", "5.5"]),
        (json!("unheard-of"), &[], &["a", "5"]),
    ] {
        for (texts, count) in [(good, 0), (bad, 1)] {
            for text in texts {
                let schema = json!({"type": "object", "properties": {"v": {"type": wanted}}});
                let found = said(&format!("v: {text}"), &schema);
                assert_eq!(found.len(), count, "{text} as {wanted}: {found:?}");
            }
        }
    }
}

/// Checks the error of each text under the schema of its value `v`.
fn check_said(rows: &[(Value, &str, &str)]) {
    for (schema, text, want) in rows {
        let few = json!({"type": "number", "exclusiveMaximum": 4});
        let whole = json!({"properties": {"v": schema}, "$defs": {"few": few}});
        assert_eq!(said(text, &whole), [*want], "{schema} {text}");
    }
}

#[test]
fn the_remedy_fits_what_was_found() {
    let number = || json!({"type": "number"});
    let items = json!({"type": "array", "items": {"type": "boolean"}});
    check_said(&[
        (number(), "v: a", "expected a number, found a string; write a number"),
        (number(), "v: '5'", "expected a number, found a string; remove the quotes"),
        (number(), "v: {}", "expected a number, found a mapping; write a number"),
        (number(), "v: [5]", "expected a number, found a list; write a number"),
        (number(), "v: true", "expected a number, found a boolean; write a number"),
        (
            items.clone(),
            "v: true",
            "expected a list, found a boolean; put it in brackets: `v: [...]`",
        ),
        (items.clone(), "v: [1]", "expected a boolean, found a number; write true or false"),
        (
            json!({"type": ["string", "null"]}),
            "v: 5",
            "expected a string, found a number; put it in quotes",
        ),
        (
            json!({"type": "object"}),
            "v: a",
            "expected a mapping, found a string; write keys and values: `v: {...}`",
        ),
        (
            json!({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "boolean"}]}),
            "v: a",
            "expected a whole number or a boolean, found a string; write a whole number or a boolean",
        ),
        (
            json!({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "boolean"}]}),
            "v: 0",
            "the number must be at least 1; write a whole number at least 1",
        ),
    ]);
}

#[test]
fn the_remedy_fits_the_schema() {
    check_said(&[
        (json!({"const": 5}), "v: 6", "this is not one of the values known here; write 5"),
        (
            json!({"anyOf": [{"const": "fast"}, {"const": "cheap"}]}),
            "v: other",
            "this is not one of the values known here; write `fast` or `cheap`",
        ),
        (json!(false), "v: 1", "nothing may be given here; remove it"),
        (json!({"not": {}}), "v: 1", "this cannot be given here; remove it"),
        (json!({"allOf": [{"maximum": 3}]}), "v: 4", "the number must be at most 3; write a value"),
        (
            json!({"$ref": "#/$defs/few"}),
            "v: 4",
            "the number must be below 4; write a number below 4",
        ),
        (
            json!({"type": "object", "additionalProperties": false}),
            "v: {a: 1}",
            "unknown key `a`; remove it: no key is known here",
        ),
        (
            json!({"type": "object", "additionalProperties": false, "properties": {"one": {}, "two": {}}}),
            "v: {other: 1}",
            "unknown key `other`; known here: one, two",
        ),
        (
            json!({"additionalProperties": {"type": "integer"}}),
            "v: {a: x}",
            "expected a whole number, found a string; write a whole number",
        ),
    ]);
}

#[test]
fn bounds_of_numbers_hold_exactly() {
    let closed = json!({"type": "number", "minimum": -1, "maximum": 5});
    let open = json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 2.5});
    let time =
        json!({"type": ["number", "string"], "format": "seconds", "minimum": 1, "maximum": 60});
    for (schema, text, want) in [
        (&closed, "-1", None),
        (&closed, "5", None),
        (&closed, "-1.5", Some("the number must be at least -1; write a number from -1 to 5")),
        (&closed, "5.5", Some("the number must be at most 5; write a number from -1 to 5")),
        (&open, "0.1", None),
        (&open, "2.4", None),
        (&open, "0", Some("the number must be above 0; write a number above 0 and below 2.5")),
        (&open, "2.5", Some("the number must be below 2.5; write a number above 0 and below 2.5")),
        (&time, "1s", None),
        (&time, "1m", None),
        (&time, "999ms", Some("the time must be at least 1 s; write a time from 1 to 60 s")),
        (&time, "61", Some("the time must be at most 60 s; write a time from 1 to 60 s")),
    ] {
        let found = said(&format!("v: {text}"), &json!({"properties": {"v": schema}}));
        assert_eq!(found, Vec::from_iter(want), "{text}");
    }
}

#[test]
fn a_percentage_is_recognised_where_a_share_is_wanted() {
    let share = json!({"type": "number", "minimum": 0, "maximum": 1});
    let above = json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1});
    let wide = json!({"type": "number", "minimum": 0, "maximum": 2});
    let from = json!({"type": "number", "minimum": 0.5, "maximum": 1});
    let whole = json!({"type": "integer", "minimum": 0, "maximum": 1});
    for (schema, text, help) in [
        (&share, "60", "write 0.6 for 60 %: shares are from 0 to 1"),
        (&above, "60", "write 0.6 for 60 %: shares are from 0 to 1"),
        (&share, "100", "write 1 for 100 %: shares are from 0 to 1"),
        (&share, "100.5", "write a number from 0 to 1"),
        (&share, "-60", "write a number from 0 to 1"),
        (&wide, "60", "write a number from 0 to 2"),
        (&from, "60", "write a number from 0.5 to 1"),
        (&whole, "60", "write a whole number from 0 to 1"),
    ] {
        let found = said(&format!("v: {text}"), &json!({"properties": {"v": schema}}));
        assert!(found.len() == 1 && found[0].ends_with(help), "{text}: {found:?}");
    }
}

#[test]
fn bounds_of_lengths_hold_exactly() {
    let text =
        json!({"type": "string", "minLength": 3, "maxLength": 4, "description": "A name. More."});
    let list = json!({"type": "array", "minItems": 1, "maxItems": 2});
    for (schema, value, want) in [
        (&text, "abc", None),
        (&text, "äöüß", None),
        (
            &text,
            "ab",
            Some(
                "2 characters are too few: at least 3; write at least 3 characters (a name), or remove the key",
            ),
        ),
        (&text, "abcdef", Some("6 characters are too many: at most 4; remove 2")),
        (
            &text,
            "''",
            Some("`v` is empty; write at least 3 characters (a name), or remove the key"),
        ),
        (&list, "[1, 2]", None),
        (&list, "[]", Some("`v` is empty; write at least 1 item, or remove the key")),
        (&list, "[1, 2, 3]", Some("3 items are too many: at most 2; remove 1")),
    ] {
        let found = said(&format!("v: {value}"), &json!({"properties": {"v": schema}}));
        assert_eq!(found, Vec::from_iter(want), "{value}");
    }
    assert_eq!(said("[]", &list), ["this is empty; write at least 1 item"]);
    let nested = json!({"type": "array", "items": list});
    assert_eq!(said("[[]]", &nested), ["this is empty; write at least 1 item"]);
    let required = json!({"required": ["v"], "properties": {"v": text}});
    assert_eq!(said("v: ''", &required), ["`v` is empty; write at least 3 characters (a name)"]);
}

#[test]
fn missing_keys_are_described() {
    let schema = |description: &str| json!({"required": ["v"], "properties": {"v": {"description": description}}});
    for (description, want) in [
        ("The name. More.", "add `v: ...`, the name"),
        ("The name.\nMore", "add `v: ...`, the name"),
        ("The long\nname", "add `v: ...`, the long name"),
        ("URL of it.", "add `v: ...`, URL of it"),
        ("", "add `v: ...`"),
    ] {
        let missing = format!("the key `v` is missing; {want}");
        assert_eq!(
            said("{}", &schema(description)),
            std::slice::from_ref(&missing),
            "{description}"
        );
        assert_eq!(said("", &schema(description)), [missing], "nothing is an empty mapping");
    }
    // An optional value that was commented out counts as absent, a required one does not.
    let typed = json!({"properties": {"v": {"type": "integer"}, "w": {"type": "integer"}}, "required": ["w"]});
    assert_eq!(said("v:\nw: 1", &typed), Vec::<String>::new());
    assert_eq!(
        said("v: 1\nw:", &typed),
        ["expected a whole number, found nothing; write a whole number"]
    );
}

#[test]
fn errors_of_one_check_are_bounded() {
    let keys = |count| (0..count).map(|n| format!("k{n}: 1\n")).collect::<String>();
    let closed = json!({"additionalProperties": false});
    let typed = json!({"additionalProperties": {"type": "string"}});
    for schema in [closed, typed] {
        assert_eq!(said(&keys(99), &schema).len(), 99);
        assert_eq!(said(&keys(150), &schema).len(), 100);
    }
}

#[test]
fn wanted_keys_are_listed() {
    let number = json!({"type": "number", "minimum": 0, "maximum": 1, "default": 0.5});
    let mode = json!({"enum": ["fast", "cheap"], "default": "fast"});
    let time = json!({"type": ["number", "null"], "format": "seconds", "minimum": 0, "default": 2});
    let schema = json!({"properties": {"a": number, "b": mode, "c": time, "d": true}});
    let all = "`a`: a number from 0 to 1, default 0.5; `b`: `fast` or `cheap`, default `fast`; \
        `c`: a time at least 0 s, default 2 s; `d`";
    assert_eq!(schema::wanted(&schema, "no key"), Some(all.to_owned()));
    let named = "`b`: `fast` or `cheap`, default `fast`";
    assert_eq!(schema::wanted(&schema, "bad `b`"), Some(named.to_owned()));
    assert_eq!(schema::wanted(&json!({"properties": {}}), ""), None);
    assert_eq!(schema::wanted(&json!({}), ""), None);
    let many = |count| {
        let keys: serde_json::Map<_, _> =
            (0..count).map(|n| (format!("k{n}"), json!(true))).collect();
        schema::wanted(&json!({"properties": keys}), "").unwrap()
    };
    assert!(many(8).ends_with("; `k7`"), "{}", many(8));
    assert!(many(10).ends_with("; `k7`; 2 more"), "{}", many(10));
}

#[test]
fn a_word_is_near_if_a_third_of_it_differs() {
    for (word, known, near) in [
        ("abc", &["abd"][..], Some("abd")),
        ("abc", &["axd"], None),
        ("a", &["ab"], Some("ab")),
        ("a", &["abc"], None),
        ("abcde", &["abcxy"], None),
        ("abcdef", &["abcdxy"], Some("abcdxy")),
        ("abcdef", &["abcxyz"], None),
        ("ab", &["ba"], Some("ba")),
        ("abcdef", &["abcdxy", "abcdex"], Some("abcdex")),
        ("ab", &["ax", "aa"], Some("aa")),
        ("ab", &[], None),
    ] {
        assert_eq!(nearest(word, known.iter().copied()), near, "{word} {known:?}");
    }
}
