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
