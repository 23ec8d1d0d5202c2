//! Finds the place in a streamed request where the wish for usage is written. Without
//! `stream_options.include_usage: true` most engines end a stream without telling its tokens.

use std::ops::Range;

use crate::json;
use crate::scan::unquoted;

/// The edit of a body that makes a stream tell its usage. All other bytes stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageWish {
    /// The bytes to replace. Empty where text is only inserted.
    pub at: Range<usize>,
    /// Their replacement.
    pub text: &'static str,
}

impl UsageWish {
    /// The edit of the body `text` of a stream, whose `stream` and `stream_options` have these
    /// positions. None if the client wishes for usage itself, and if its options have a type that
    /// only the engine can judge.
    pub(crate) fn of(
        text: &str,
        stream: &Range<usize>,
        options: Option<Range<usize>>,
    ) -> Option<Self> {
        let Some(at) = options else {
            let at = stream.end..stream.end;
            return Some(Self { at, text: ",\"stream_options\":{\"include_usage\":true}" });
        };
        match &text[at.clone()] {
            "null" => Some(Self { at, text: "{\"include_usage\":true}" }),
            // As the SDKs of OpenAI write it.
            "{\"include_usage\":true}" | "{\"include_usage\": true}" => None,
            options if options.starts_with('{') => in_options(options, at.start),
            _ => None,
        }
    }
}

/// The edit of an object of options that begins at this offset. The last of duplicate keys counts,
/// as with most parsers.
fn in_options(options: &str, offset: usize) -> Option<UsageWish> {
    let (mut wish, mut is_empty) = (None, true);
    let field = |key: Range<usize>, value: Range<usize>| {
        is_empty = false;
        if unquoted(&options[key]) == "include_usage" {
            wish = Some(value);
        }
    };
    json::object(options, field).ok()?;
    let moved = |at: Range<usize>| at.start + offset..at.end + offset;
    let Some(value) = wish else {
        let text = if is_empty { "\"include_usage\":true" } else { "\"include_usage\":true," };
        return Some(UsageWish { at: moved(1..1), text });
    };
    let is_no = matches!(&options[value.clone()], "false" | "null");
    is_no.then(|| UsageWish { at: moved(value), text: "true" })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::scan::scan;

    /// The body as it is sent. None if nothing is changed.
    fn wished(body: &str) -> Option<String> {
        let wish = scan(body.as_bytes()).expect("a good body").usage_wish?;
        let sent = [&body[..wish.at.start], wish.text, &body[wish.at.end..]].concat();
        let json: Value = serde_json::from_str(&sent).expect("JSON");
        assert_eq!(json["stream_options"]["include_usage"], true, "{sent}");
        scan(sent.as_bytes()).expect("still a good body");
        Some(sent)
    }

    #[test]
    fn a_stream_wishes_for_usage_and_nothing_else_changes() {
        for (body, want) in [
            (
                r#"{"model":"m","stream":true}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (
                " { \"stream\" : true , \"model\":\"{}\\\"stream\\\":true\"}\n",
                " { \"stream\" : true,\"stream_options\":{\"include_usage\":true} , \"model\":\"{}\\\"stream\\\":true\"}\n",
            ),
            (
                r#"{"stream":true,"stream_options":null,"model":"m"}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true},"model":"m"}"#,
            ),
            (
                r#"{"stream_options": { } ,"stream":true,"model":"m"}"#,
                r#"{"stream_options": {"include_usage":true } ,"stream":true,"model":"m"}"#,
            ),
            (
                r#"{"model":"m","stream_options":{"a":{"include_usage":true}},"stream":true}"#,
                r#"{"model":"m","stream_options":{"include_usage":true,"a":{"include_usage":true}},"stream":true}"#,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"x":"}{","include_usage": false }}"#,
                r#"{"model":"m","stream":true,"stream_options":{"x":"}{","include_usage": true }}"#,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{"include\u005fusage":null}}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include\u005fusage":true}}"#,
            ),
            (
                r#"{"model":"m","str\u0065am":true,"stream\u005foptions":{}}"#,
                r#"{"model":"m","str\u0065am":true,"stream\u005foptions":{"include_usage":true}}"#,
            ),
            (
                r#"{"model":"m","stream":true,"x":{"stream_options":{"include_usage":true}}}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"x":{"stream_options":{"include_usage":true}}}"#,
            ),
        ] {
            assert_eq!(wished(body).as_deref(), Some(want), "{body}");
        }
    }

    #[test]
    fn the_last_of_duplicate_keys_counts() {
        let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"stream_options":{"include_usage":true,"include_usage":false}}"#;
        let sent = wished(body).expect("a wish");
        assert!(sent.ends_with(r#"{"include_usage":true,"include_usage":true}}"#), "{sent}");
    }

    #[test]
    fn what_the_client_decides_stays() {
        for body in [
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"model":"m","stream":true,"stream_options":{ "a":1, "include_usage" : true }}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":"true"}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":1}}"#,
            r#"{"model":"m","stream":true,"stream_options":[]}"#,
            r#"{"model":"m","stream":true,"stream_options":"include_usage"}"#,
            r#"{"model":"m","stream":false}"#,
            r#"{"model":"m","stream":null,"stream_options":{}}"#,
            r#"{"model":"m","stream_options":{}}"#,
        ] {
            assert_eq!(wished(body), None, "{body}");
        }
    }
}
