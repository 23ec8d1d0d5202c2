//! The words of engines, as clients get them.

use super::*;

const MODELS: &str = "\
models:
  - {id: a, base_url: 'https://API.example/v1', api_key: 'sk-a/b'}
  - {id: b, base_url: 'http://vllm:8000', api_key: abc}
  - {id: c, base_url: 'http://[fd00::7]:8000'}
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
    ] {
        assert_eq!(redact(text), text);
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
        ("engineengine", "[redacted][redacted]"),
        ("engine.example:1", "[redacted]"),
        ("engine.example:12", "[redacted]2"),
        ("http://engine.example:1/engine?x engine", "[redacted] [redacted]"),
        ("10.0.0.1:80engine", "[redacted][redacted]"),
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
