//! Well-framed bodies with bad content: the connection stays open.

use super::table::Wanted::{Answered, Refused};
use super::table::{Row, row};

pub(crate) fn rows() -> Vec<Row> {
    [encodings(), texts(), models(), large()].concat()
}

fn post(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn encodings() -> Vec<Row> {
    let mut rows = Vec::new();
    for encoding in [
        "gzip",
        "br",
        "deflate",
        "zstd",
        "identity, gzip",
        "gzip, identity",
        "x",
        "",
        "identity\r\nContent-Encoding: gzip",
    ] {
        let field = format!("Content-Encoding: {encoding}\r\n");
        rows.push(row(&format!("{field:?}"), Refused(415), post(&field, b"{\"model\":\"m\"}")));
    }
    rows.push(row(
        "identity",
        Answered,
        post("Content-Encoding: Identity\r\n", b"{\"model\":\"m\"}"),
    ));
    rows
}

/// Bodies that are not JSON objects with one model.
fn texts() -> Vec<Row> {
    let values: [(&str, &[u8]); 28] = [
        ("invalid UTF-8", b"\"\xff\xfe\""),
        ("a cut character", b"\"\xe2\x82\""),
        ("a surrogate in UTF-8", b"\"\xed\xa0\x80\""),
        ("an overlong slash", b"\"\xc0\xaf\""),
        ("a lone high surrogate", br#""\ud800""#),
        ("a lone low surrogate", br#""\udc00""#),
        ("surrogates the wrong way", br#""\udc00\ud800""#),
        ("a lone surrogate deep inside", br#"[{"a":["\ud83d x"]}]"#),
        ("a lone surrogate in a key", br#"{"\ud800":1}"#),
        ("a huge number", b"1e400"),
        ("a huge negative number", b"-1e999"),
        ("a number of 400 digits", &[b'9'; 400]),
        ("NaN", b"NaN"),
        ("Infinity", b"Infinity"),
        ("a number with a zero first", b"007"),
        ("a number with a plus", b"+1"),
        ("a hexadecimal number", b"0x10"),
        ("a control byte in a string", b"\"a\x01b\""),
        ("a NUL in a string", b"\"a\0b\""),
        ("a newline in a string", b"\"a\nb\""),
        ("an unknown escape", br#""\x41""#),
        ("single quotes", b"'a'"),
        ("a comment", b"1 /* a */"),
        ("a comma too many", b"[1,]"),
        ("a missing comma", b"[1 2]"),
        ("brackets that do not match", b"[}"),
        ("a bare word", b"nope"),
        ("nothing", b""),
    ];
    let mut rows: Vec<Row> = values
        .iter()
        .map(|(name, value)| {
            let body = [br#"{"model":"m","x":"#, *value, b"}"].concat();
            row(&format!("JSON: {name}"), Refused(400), post("", &body))
        })
        .collect();
    let bodies: [(&str, &[u8]); 11] = [
        ("an empty body", b""),
        ("UTF-16", b"{\0\"\0m\0"),
        ("an array", b"[]"),
        ("a string", b"\"m\""),
        ("null", b"null"),
        ("a form", b"model=m&stream=true"),
        ("two objects", b"{\"model\":\"m\"}{\"model\":\"m\"}"),
        ("something behind the object", b"{\"model\":\"m\"} x"),
        ("a NUL behind the object", b"{\"model\":\"m\"}\0"),
        ("a cut object", b"{\"model\":\"m\""),
        ("a key without quotes", b"{model:\"m\"}"),
    ];
    rows.extend(
        bodies
            .iter()
            .map(|(name, body)| row(&format!("the body: {name}"), Refused(400), post("", body))),
    );
    rows
}

fn models() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, body) in [
        ("twice", r#"{"model":"m","model":"m"}"#),
        ("twice, once escaped", r#"{"model":"m","mode\u006c":"other"}"#),
        ("stream twice", r#"{"model":"m","stream":true,"stream":false}"#),
        ("missing", "{}"),
        ("a number", r#"{"model":1}"#),
        ("null", r#"{"model":null}"#),
        ("a list", r#"{"model":["m"]}"#),
        ("in another case", r#"{"Model":"m"}"#),
        ("inside something", r#"{"x":{"model":"m"}}"#),
    ] {
        rows.push(row(&format!("the model: {name}"), Refused(400), post("", body.as_bytes())));
    }
    for name in ["", "nope", "../m", "m\\u0000", "m\\n", "M", " m", "<script>", "m\\u202e"] {
        let body = format!(r#"{{"model":"{name}"}}"#);
        rows.push(row(&format!("the model {name:?}"), Refused(404), post("", body.as_bytes())));
    }
    // None of these fields decides where the request goes.
    let named = r#"{"model":"m","api_base":"http://127.0.0.1:1","base_url":"http://127.0.0.1:1","api_key":"k","api_version":"1","extra_headers":{"host":"x"}}"#;
    rows.push(row("a body that names another place", Answered, post("", named.as_bytes())));
    rows
}

fn large() -> Vec<Row> {
    let nested = |levels: usize| {
        format!(r#"{{"model":"m","x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels))
    };
    let objects =
        format!(r#"{{"model":"m","x":{}1{}}}"#, r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let named = |bytes: usize| format!(r#"{{"model":"{}"}}"#, "a".repeat(bytes));
    let escaped = format!(r#"{{"model":"{}"}}"#, "\\u0061".repeat(1 << 18));
    vec![
        row("arrays 100,000 deep", Refused(400), post("", nested(100_000).as_bytes())),
        row(
            "arrays 100,000 deep that do not end",
            Refused(400),
            post("", "[".repeat(100_000).as_bytes()),
        ),
        row("objects 100,000 deep", Refused(400), post("", objects.as_bytes())),
        row("129 levels", Refused(400), post("", nested(128).as_bytes())),
        row("128 levels", Answered, post("", nested(127).as_bytes())),
        row("a model's name of 1 MiB", Refused(400), post("", named(1 << 20).as_bytes())),
        row("a model's name of 1 MiB in escapes", Refused(400), post("", escaped.as_bytes())),
        row("a model's name of 257 bytes", Refused(400), post("", named(257).as_bytes())),
        row("an unknown model's name of 256 bytes", Refused(404), post("", named(256).as_bytes())),
    ]
}
