//! The stored schemas are current. Values are checked against hand-written schemas like those of
//! strategies.

use serde_json::{Value, json};

use super::*;

/// The errors of a text as `routing_parameter` under a strategy's schema.
fn parameter_errors(parameters: &str, schema: &Value) -> Vec<String> {
    let models = "models: [{id: a, base_url: 'http://a'}]";
    let routing = format!("routing_parameter: {parameters}\n");
    let config = load_texts(models, Some(&routing), &[("HALF", "0.5")]).unwrap();
    let document = config.routing_file.unwrap();
    let errors = schema::check(&document, &[PathStep::from("routing_parameter")], schema);
    errors.iter().map(|e| format!("{}:{}: {}", e.line, e.column, e.message)).collect()
}

#[test]
fn the_generated_schemas_are_current() {
    for (name, schema) in [("models", schema::models()), ("routing", schema::routing())] {
        let path = format!("config/schema/{name}.schema.json");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(&path);
        let written = std::fs::read(file).unwrap_or_default();
        let written: Value = serde_json::from_slice(&written).unwrap_or_default();
        assert!(
            written == schema,
            "{path} is not current; regenerate it: cargo run -p gateway -- schema {name} > {path}"
        );
    }
}

#[test]
fn parameters_are_checked_at_their_line() {
    let schema = json!({
        "type": "object",
        "properties": {
            "local_fraction": {"type": "number", "minimum": 0, "maximum": 1},
            "mode": {"$ref": "#/$defs/mode"},
            "limit": {"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}]},
        },
        "required": ["local_fraction"],
        "additionalProperties": false,
        "$defs": {"mode": {"enum": ["fast", "cheap"]}},
        "x-unknown": [1, 2],
    });
    let check = |parameters: &str| parameter_errors(parameters, &schema);
    assert!(check("{local_fraction: 0.5, mode: fast, limit: null}").is_empty());
    assert!(check("\n  local_fraction: ${HALF}").is_empty());
    assert_eq!(check("{local_fraction: 1.5}"), ["1:37: the number must be at most 1"]);
    assert_eq!(check(""), ["1:1: the key `local_fraction` is missing"]);
    assert_eq!(check("{local_fracton: 1}"), ["1:21: unknown key `local_fracton`"]);
    assert_eq!(check("{local_fraction: a}"), ["1:37: expected a number, found a string"]);
    assert_eq!(
        check("{local_fraction: 1, limit: 0, mode: chep}"),
        ["1:47: the number must be above 0", "1:56: this is not one of the values known here"]
    );
}

#[test]
fn a_value_has_the_type_that_the_schema_wants() {
    let routing = "routing_parameter: {a: 1}\n";
    let config = load_texts("models: [{id: a, base_url: 'http://a'}]", Some(routing), &[]).unwrap();
    let schema = json!({"properties": {"a": {"type": "integer"}}});
    let at = [PathStep::from("routing_parameter")];
    let value = schema::value(&config.routing_file.unwrap(), &at, &schema).unwrap();
    assert_eq!(value, json!({"a": 1}));
}

#[test]
fn a_hostile_schema_ends() {
    let endless = json!({"$ref": "#"});
    assert!(!parameter_errors("{a: 1}", &endless).is_empty());
    let mutual = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]});
    assert!(!parameter_errors("{a: 1}", &mutual).is_empty());
    for schema in [json!(1), json!({"type": 5}), json!({"$ref": 7, "items": 3}), json!([])] {
        assert_eq!(parameter_errors("{a: [1]}", &schema), Vec::<String>::new());
    }
}

#[test]
fn schemas_may_nest_up_to_the_limit() {
    let nested = |levels| (0..levels).fold(json!(true), |inner, _| json!({"allOf": [inner]}));
    let document = text("x", "1", &|_| None).unwrap();
    assert!(schema::check(&document, &[], &nested(95)).is_empty());
    let errors = schema::check(&document, &[], &nested(96));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].message, "the schema of this value is too deep or too wide to check");
}

#[test]
fn the_meant_alternative_is_judged() {
    // An object that names a strategy, a list of them, or a word.
    let schema = json!({"anyOf": [
        {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        {"$ref": "#/$defs/list"},
        {"enum": ["none", "all"], "type": "string"},
    ], "$defs": {"list": {"type": "array", "maxItems": 1}}});
    let read = |text: &str| {
        let document = super::super::text("x", &format!("v: {text}"), &|_| None).unwrap();
        let whole = json!({"properties": {"v": schema}, "$defs": schema["$defs"]});
        schema::value(&document, &[], &whole)
            .map_err(|errors| errors.into_iter().map(|error| error.message).collect::<Vec<_>>())
    };
    assert_eq!(read("{name: a}"), Ok(json!({"v": {"name": "a"}})));
    assert_eq!(read("[1]"), Ok(json!({"v": [1]})));
    assert_eq!(read("all"), Ok(json!({"v": "all"})));
    for (text, message) in [
        ("{}", "the key `name` is missing"),
        ("{name: 5}", "expected a string, found a number"),
        ("[1, 2]", "2 items are too many: at most 1"),
        ("some", "this is not one of the values known here"),
        ("5", "expected a mapping or a list or a string, found a number"),
    ] {
        assert_eq!(read(text), Err(vec![message.to_owned()]), "{text}");
    }
}
