//! `${VAR}` and `${VAR:-default}`, the same in both files.

use super::super::env::expand;
use super::*;

fn expanded(text: &str) -> Result<String, String> {
    let env = |name: &str| match name {
        "SET" => Some("value".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let mut errors = Vec::new();
    let text = expand(text, &env, &mut errors);
    match errors.first() {
        None => Ok(text),
        Some(error) => Err(error.message.clone()),
    }
}

#[test]
fn references_are_replaced_as_a_shell_does() {
    for (text, want) in [
        ("${SET}", "value"),
        ("${SET:-x}", "value"),
        ("${UNSET:-http://localhost:8000/v1}", "http://localhost:8000/v1"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY}", ""),
        ("${UNSET:-}", ""),
        ("a ${SET} b ${UNSET:-c} d", "a value b c d"),
        ("${UNSET:-${SET}/${EMPTY:-y}}z", "value/yz"),
        ("$${SET} $SET $", "${SET} $SET $"),
        ("{SET} ${UNSET:-a-b:-c}", "{SET} a-b:-c"),
    ] {
        assert_eq!(expanded(text).unwrap(), want, "{text}");
    }
}

#[test]
fn what_is_no_reference_is_an_error() {
    for text in ["${UNSET}", "${SET", "${}", "${1A}", "${SET-x}", "${SET:?x}", "${UNSET:-${UNSET}}"]
    {
        assert!(expanded(text).is_err(), "{text}");
    }
    assert_eq!(expanded("${UNSET}").unwrap_err(), "the environment variable `UNSET` is not set");
}

#[test]
fn an_unset_variable_is_named_with_its_place_in_either_file() {
    let models = "# ${COMMENT}\nmodels:\n  - id: a\n    base_url: http://${HOST_A}:1\n";
    let routing = "local_deployment:\n  - endpoint: ${HOST_B}\n    models: [a]\n";
    let found = errors(models, Some(routing), &[]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("models.yaml:4:22: the environment variable `HOST_A` is not set"));
    assert!(
        found[1].starts_with("routing.yaml:2:15: the environment variable `HOST_B` is not set")
    );
    assert!(found[1].ends_with("give a default: `${HOST_B:-value}`"), "{found:?}");
}

#[test]
fn defaults_work_in_both_files() {
    let models = "models: [{id: a, base_url: '${A:-http://a.example:1/v1}'}]";
    let routing =
        "remote_deployment:\n  - endpoint: ${B:-http://b.example:2/v1}\n    models: [a]\n";
    let config = load_texts(models, Some(routing), &[("A", ""), ("B", "")]).unwrap();
    let endpoints: Vec<_> =
        config.models[0].deployments.iter().map(|d| d.endpoint.to_string()).collect();
    assert_eq!(endpoints, ["http://b.example:2"]);
    let config = load_texts(models, None, &[("A", "")]).unwrap();
    assert_eq!(config.models[0].deployments[0].endpoint.to_string(), "http://a.example:1");
}

#[test]
fn an_unquoted_variable_takes_the_type_that_is_wanted() {
    let models = "\
models:
  - id: ${ID}
    base_url: http://a
    api_key: ${KEY}
    context_length: ${LENGTH}
    supports_tools: ${TOOLS:-true}
";
    let routing = "routing_parameter: {share: '${SHARE}'}\ntimeout: ${TIMEOUT:-0.5}\n";
    let vars = [("ID", "7"), ("KEY", "123"), ("LENGTH", "10"), ("SHARE", "0.5")];
    let config = load_texts(models, Some(routing), &vars).unwrap();
    let model = &config.models[0];
    assert_eq!((model.id.as_str(), model.card.context_length), ("7", 10));
    assert!(model.card.supports_tools);
    assert_eq!(model.deployments[0].api_key.as_ref().unwrap().expose(), "123");
    assert_eq!(config.probing.timeout.as_secs_f64(), 0.5);
    // A quoted variable stays a string.
    let parameters = &config.strategies[0].parameters;
    assert_eq!(*parameters, serde_json::json!({"share": "0.5"}));
}

#[test]
fn a_value_cannot_add_a_key() {
    let vars = [("NAME", "x\n    supports_tools: true")];
    let models = "models:\n  - id: a\n    base_url: http://a\n    name: ${NAME}\n";
    let config = load_texts(models, None, &vars).unwrap();
    assert!(!config.models[0].card.supports_tools);
}

#[test]
fn an_unquoted_variable_in_brackets_says_so() {
    let found = errors("models: [{id: a, base_url: ${A}}]", None, &[("A", "http://a")]);
    assert!(found[0].contains("a variable needs quotes"), "{found:?}");
}

#[test]
fn defaults_nest_up_to_the_limit() {
    let nested = |depth| format!("{}x{}", "${U:-".repeat(depth), "}".repeat(depth));
    assert_eq!(expanded(&nested(8)).unwrap(), "x");
    let too_deep = "the defaults around `${U}` are nested too deeply";
    assert_eq!(expanded(&nested(9)).unwrap_err(), too_deep);
    assert_eq!(expanded("${UNSET:-{a}}").unwrap(), "{a}", "a lone brace is no reference");
    assert_eq!(expanded("a}b${SET}}").unwrap(), "a}bvalue}");
}

#[test]
fn what_cannot_be_replaced_is_underlined() {
    let found = |value: &str| {
        let found = errors(&format!("models: [{{id: a, base_url: '{value}'}}]"), None, &[]);
        found.into_iter().find(|error| error.contains("${") || error.contains("variable")).unwrap()
    };
    for (value, column, message) in [
        (
            "x${A}",
            30,
            "the environment variable `A` is not set; set A, or give a default: `${A:-value}`",
        ),
        ("xy${A", 31, "`${` without its `}`; close it, or write `$${` for a literal `${`"),
        (
            "x${1}",
            30,
            "this is neither `${VAR}` nor `${VAR:-default}`; a name has letters, digits and `_`; write `$${` for a literal `${`",
        ),
    ] {
        assert_eq!(found(value), format!("models.yaml:1:{column}: {message}"));
    }
}
