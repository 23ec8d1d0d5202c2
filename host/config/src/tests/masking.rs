//! A snippet of a file shows the names of variables, but no secret.

use super::*;

/// The errors of a `models.yaml`, as they are shown.
fn shown(models: &str) -> String {
    load_texts(models, None, &[]).unwrap_err().to_string()
}

#[test]
fn an_excerpt_shows_the_variable_that_is_unset() {
    for (value, want) in [
        ("sk-${KEY}", "***${KEY}"),
        ("${KEY}${OTHER:-hunter2}", "${KEY}${OTHER:-*******}"),
        ("'${KEY}'", "'${KEY}'"),
        ("\"Bearer ${KEY}\"", "\"*******${KEY}\""),
        ("${KEY:-${OTHER}hunter2}", "${KEY:-${OTHER}*******}"),
        ("$${KEY}${OTHER}", "*******${OTHER}"),
    ] {
        for models in [
            format!("models:\n  - id: a\n    api_key: {value}\n"),
            format!("models:\n  - id: a\n    api_kye: {value}\n"),
            format!("models:\n  - {{id: a, api_key: \"{}\"}}\n", value.replace(['"', '\''], "")),
        ] {
            let shown = shown(&models);
            let bare = want.trim_matches(['"', '\'']);
            assert!(shown.contains(bare), "{models}: {shown}");
            assert!(!shown.contains("hunter2") && !shown.contains("Bearer"), "{models}: {shown}");
        }
    }
}

#[test]
fn an_excerpt_shows_words_and_numbers_of_unknown_keys() {
    for value in ["true", "5", "0.25", "-1"] {
        let shown = shown(&format!("models:\n  - id: a\n    contxt: {value}\n"));
        assert!(shown.contains(&format!("    contxt: {value}")), "{shown}");
    }
    for line in
        ["contxt: hunter2", "contxt: 12345678901234567", "api_kye: 12345", "contxt: [hunter2]"]
    {
        let shown = shown(&format!("models:\n  - id: a\n    {line}\n"));
        let value = line.split([' ', '[', ']']).rfind(|word| !word.is_empty()).unwrap();
        assert!(!shown.contains(value), "{shown}");
    }
}

#[test]
fn a_misspelt_key_is_hidden_in_other_errors() {
    let shown = shown("models: [{id: a, api_kye: hunter2, nme: b, auth_tokn: hunter2}]");
    assert!(shown.contains("unknown key `nme`"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn secrets_are_masked_byte_by_byte() {
    for (line, want) in [
        ("api_key: sk-1", "api_key: ****"),
        ("api_key: sk-1\r\nid: a\n", "api_key: ****\r\nid: a\n"),
        ("'api_key' : 'sk-1' # note", "'api_key' : '****' # note"),
        ("{api_key: sk-1, id: a}", "{api_key: ****, id: a}"),
        ("{id: a, api_key: sk-1}", "{id: a, api_key: ****}"),
        ("{api_key: \"sk,1\", id: a}", "{api_key: \"****\", id: a}"),
        ("{api_key: a${K:-{x}}, id: a}", "{api_key: *${K:-**}*, id: a}"),
        ("{api_key: ${K:-a,b}, id: a}", "{api_key: ${K:-***}, id: a}"),
        ("api_key: sk-1, 2", "api_key: *******"),
        ("api_key: ${KEY}", "api_key: ${KEY}"),
        ("api_key: a${KEY}b", "api_key: *${KEY}*"),
        ("api_key: ${KEY:-sk-1}b", "api_key: ${KEY:-****}*"),
        ("api_key: ${A:-${B:-x}y}z", "api_key: ${A:-${B:-*}*}*"),
        ("api_key: $${KEY}", "api_key: *******"),
        ("api_key: ${1A", "api_key: ****"),
        ("api_key: ${}", "api_key: ***"),
        ("api_key: é", "api_key: **"),
        ("api_key: 'x", "api_key: '*"),
        ("api_key: '", "api_key: '"),
        ("api_key:", "api_key:"),
        ("API_KEY: a", "API_KEY: *"),
        ("my-token: a", "my-token: *"),
        ("key: a", "key: a"),
        ("id: a # token: b", "id: a # token: *"),
        ("http://u:p@h/a?q=1#f x", "http://***@h/a?***** x"),
        ("'https://h/a#f' and wss://a@b@c", "'https://h/a#*' and wss://***@c"),
        ("http://h/a@b", "http://h/a@b"),
        ("http://h:1/v1", "http://h:1/v1"),
    ] {
        assert_eq!(mask::mask(line), want, "{line}");
        assert_eq!(mask::mask(line).len(), line.len());
    }
}

#[test]
fn keys_of_secrets_are_known_with_their_misspellings() {
    for key in ["api_key", "API-KEY", "apikey", "my_key", "ky", "auth_tokn", "passwrd", "Secret"] {
        assert!(mask::may_be_secret(key), "{key}");
    }
    for key in ["id", "name", "base_url", "weight", "keyboard", "tokens_per_second"] {
        assert!(!mask::may_be_secret(key), "{key}");
    }
    assert!(mask::is_secret("x_api_key") && !mask::is_secret("api_kye"));
}

#[test]
fn counts_of_tokens_are_no_secrets() {
    for key in [
        "prompt_tokens",
        "Prompt_Tokens",
        "max-tokens",
        "max_completion_tokens",
        "completion_tokens",
        "cached_tokens",
        "max_output_tokens",
        "input_tokens",
        "cache_read_input_tokens",
        "total_tokens",
        "reasoning_tokens",
    ] {
        assert!(!mask::may_be_secret(key), "{key}");
    }
    for key in [
        "token",
        "tokens",
        "_tokens",
        "-tokens",
        "api_token",
        "auth_token",
        "access_tokens",
        "refresh_tokens",
        "max_auth_tokens",
        "prompt_token",
        "prompt__tokens",
        "prompttoken",
        "api_key",
        "prompt_tokens_key",
    ] {
        assert!(mask::may_be_secret(key), "{key}");
    }
    let shown = shown("models: [{id: a, prompt_tokens: 1000, access_tokens: [hunter2], nme: b}]");
    assert!(shown.contains("prompt_tokens: 1000") && !shown.contains("hunter2"), "{shown}");
}
