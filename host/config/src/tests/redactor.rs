//! The words of engines, as clients get them.

use super::*;

const MODELS: &str = "\
models:
  - {id: a, base_url: 'https://API.example/v1', api_key: 'sk-a/b'}
  - {id: b, base_url: 'http://vllm:8000', api_key: abc}
  - {id: c, base_url: 'http://[fd00::7]:8000'}
  - {id: d, base_url: 'http://[2001:db8::7]:8000', api_key: 'a+b/c=='}
";

fn redactor() -> Redactor {
    Redactor::new(&load_texts(MODELS, None, &[]).unwrap().models)
}

fn redact(text: &str) -> String {
    let (redactor, redacted) = (redactor(), redactor().redact_text(text.to_owned()));
    assert_eq!(redactor.finds_any(text.as_bytes()), redacted != text, "{text}");
    redacted
}

#[test]
fn keys_places_and_private_urls_are_masked() {
    for (text, want) in [
        ("Bearer sk-a/b is wrong", "Bearer [redacted] is wrong"),
        (r#"{"key":"sk-a\/b"}"#, r#"{"key":"[redacted]"}"#),
        ("at https://api.EXAMPLE/v1/x?key=1, twice", "at [redacted], twice"),
        ("at wss://u:p@api.example:9/x", "at [redacted]"),
        ("cannot reach Api.Example.", "cannot reach [redacted]."),
        ("cannot reach vllm:8000 (refused)", "cannot reach [redacted] (refused)"),
        ("<a href='http://vllm/x'>", "<a href='[redacted]'>"),
        (r#"{"url":"http:\/\/vllm:8000\/v1\/chat"}"#, r#"{"url":"[redacted]"}"#),
        ("[fd00::7]:8000 and http://[fd00::7]:8000/v1", "[redacted] and [redacted]"),
        // Not configured, but in a private network.
        ("http://other-engine:8001/v1", "[redacted]"),
        ("http://node.internal/v1 http://[::1]:80/", "[redacted] [redacted]"),
        (r"no route to\n10.1.2.3:8000.", r"no route to\n[redacted]."),
        ("host 192.168.0.9, port 80", "host [redacted], port 80"),
        ("127.0.0.1:", "[redacted]:"),
        ("http://", "http://"),
        // As JSON escapes them, once and twice.
        (r#"{"key":"a\u002Bb\/c\u003d="}"#, r#"{"key":"[redacted]"}"#),
        (r#"{"error":"{\"key\":\"a\\u002bb/c==\"}"}"#, r#"{"error":"{\"key\":\"[redacted]\"}"}"#),
        (r#"at \u0068ttp:\u002f\u002Fvllm:8000\u002fv1, twice"#, "at [redacted], twice"),
        (r"\u0031\u0030.0.0.1:80 and 10\u002e0.0.1", "[redacted] and [redacted]"),
        ("https://x/?u=http%3A%2F%2F10.0.0.1%2Fv1&k=a%2Bb%2fc==", "[redacted]"),
        ("?url=http%3A%2F%2Fnode.local%2Fv1 here", "?url=[redacted] here"),
        // IPv6, in any spelling.
        ("no route to fd00::8: refused", "no route to [redacted]: refused"),
        ("[fe80::1%eth0]:80, fe80::1%25eth0.", "[redacted], [redacted]"),
        ("(::1), ::1:8000 and [::1]", "([redacted]), [redacted]:8000 and [redacted]"),
        ("addr:fd00:0:0:0:0:0:0:9:8000.", "addr:[redacted]:8000."),
        ("::ffff:10.0.0.1 ::FFFF:a00:1", "[redacted] [redacted]"),
        (r#"{"to":"fd00:\u003a1"}"#, r#"{"to":"[redacted]"}"#),
        ("2001:0DB8:0:0::7 is configured", "[redacted] is configured"),
    ] {
        assert_eq!(redact(text), want, "{text}");
    }
}

#[test]
fn what_everybody_may_know_is_left_as_it_is() {
    for text in [
        "see https://platform.openai.com/docs/guides/errors for more",
        "fetching https://8.8.8.8/cat.png failed",
        "the model of vllm says: abc, 1.2.3, 10.0, 10.0.0.0.1, 1.10.0.0.1",
        "110.0.0.1 and 999.0.0.1",
        "://",
        "2001:db8::1, 2001:db8::1:8000 and ::ffff:8.8.8.8 at 12:30:45",
        "std::string a::b ::c :: x::1 node_1 100%25 \\u0041 1:2:3:4:5:6:7:8:9:10",
    ] {
        assert_eq!(redact(text), text);
    }
}

#[test]
fn the_work_is_a_multiple_of_the_bytes() {
    let redactor = redactor();
    for part in [
        "a://10.0.0.1/",
        "a:\\/\\/10.0.0.1\\/",
        "://",
        "a://b.c/",
        "10.0.0.1",
        "1.1",
        "fd00::7 ",
        ":",
        "a:",
        "::1 ",
        "a:a:a:a:a:a:a:a:a ",
        "[fd00::7]:8000",
        "\\u002f",
        "\\\\\\\\u002f",
        "%2525",
        "vllm:800",
        "vllm:8000",
        "2001:db8::7",
        "http://[",
    ] {
        let text = part.repeat((64 << 10) / part.len());
        let bound = |input: String| {
            let length = input.len();
            pieces::work::bounded(100, length, (1, 0), || redactor.redact_text(input))
        };
        bound(text.clone());
        bound(format!("http://{text}"));
        bound(format!("http://vllm/{text}"));
    }
}

#[test]
fn keys_are_masked_from_four_bytes_on() {
    for (key, masked) in [("abc", false), ("abcd", true)] {
        let models = format!("models: [{{id: a, base_url: 'http://engine:1', api_key: {key}}}]");
        let redactor = Redactor::new(&load_texts(&models, None, &[]).unwrap().models);
        let text = format!("<{key}>");
        let want = if masked { "<[redacted]>" } else { &*text };
        assert_eq!(redactor.redact_text(text.clone()), want);
    }
}

#[test]
fn secrets_side_by_side_and_in_each_other_are_masked() {
    let models = "models: [{id: a, base_url: 'http://engine.example:1', api_key: engine}]";
    let redactor = Redactor::new(&load_texts(models, None, &[]).unwrap().models);
    for (text, want) in [
        ("engineengine", "[redacted]"),
        ("engine.example:1", "[redacted]"),
        ("engine.example:12", "[redacted]2"),
        ("http://engine.example:1/engine?x engine", "[redacted] [redacted]"),
        ("10.0.0.1:80engine", "[redacted]"),
        ("10.0.0.1:x 10.0.0.1:8 10.0.0.1.", "[redacted]:x [redacted] [redacted]."),
        ("a//b ://engine.example", "a//b [redacted]"),
        ("http://engine.example.:1/x\\/y\\z", "[redacted]\\z"),
        ("http://engine.example:1/x /y", "[redacted] /y"),
        ("see http://engine.example:1/x,then", "see [redacted],then"),
        ("http://:1/x http:///x", "http://:1/x http:///x"),
        ("10.0.0.1,10.0.0.2;1.2.3.4 10.0.0.3", "[redacted],[redacted];1.2.3.4 [redacted]"),
    ] {
        assert_eq!(redactor.redact_text(text.to_owned()), want, "{text}");
    }
}
