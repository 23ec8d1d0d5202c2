//! Checks of a parameter schema: the gateway understands it, and a file holds it.

use std::fs;

use serde_json::Value;

use crate::{Strategy, parameters};

/// The words of JSON Schema that the gateway checks, and those that it may ignore.
const UNDERSTOOD: &[&str] = &[
    "$ref",
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "anyOf",
    "oneOf",
    "allOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "$defs",
    "title",
    "description",
    "default",
    "examples",
    "format",
    "$schema",
    "$comment",
    "definitions",
    "deprecated",
    "readOnly",
    "writeOnly",
    "not",
];

/// The paths of words in a schema that the gateway does not check. It refuses a strategy with one.
///
/// Empty for every schema of [`parameters::schema`](crate::parameters::schema).
#[must_use]
pub fn not_understood(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(schema, "", &mut found);
    found
}

/// Checks that a file has the schema of a strategy. Writes it if `WRITE_SCHEMA` is set.
///
/// # Panics
/// The file has another schema, or cannot be read or written.
pub fn check_schema<S: Strategy>(file: &str) {
    let made = parameters::schema::<S::Parameters>();
    let made: Value = serde_json::from_str(&made).expect("JSON");
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        fs::write(file, format!("{made:#}\n")).expect("a file that can be written");
    }
    let text = fs::read_to_string(file).expect("a file that can be read");
    let has = serde_json::from_str(&text).unwrap_or(Value::Null);
    assert!(
        has == made,
        "{file} is not the schema of the parameters: run WRITE_SCHEMA=1 cargo test"
    );
}

fn look(schema: &Value, at: &str, found: &mut Vec<String>) {
    let Some(object) = schema.as_object() else { return };
    for (word, value) in object {
        let here = format!("{at}/{word}");
        match (word.as_str(), value) {
            (word, _) if !UNDERSTOOD.contains(&word) => found.push(here),
            ("properties" | "$defs", Value::Object(inner)) => {
                for (name, schema) in inner {
                    look(schema, &format!("{here}/{name}"), found);
                }
            }
            ("anyOf" | "oneOf" | "allOf", Value::Array(inner)) => {
                for (index, schema) in inner.iter().enumerate() {
                    look(schema, &format!("{here}/{index}"), found);
                }
            }
            ("items" | "additionalProperties", schema) => look(schema, &here, found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::not_understood;
    use serde_json::json;

    #[test]
    fn unknown_words_are_found_at_any_depth() {
        let schema = json!({
            "type": "object",
            "properties": {"pattern": {"type": "string", "pattern": "x"}},
            "additionalProperties": {"anyOf": [{"items": {"uniqueItems": true}}]},
        });
        let found = not_understood(&schema);
        let anywhere = "/additionalProperties/anyOf/0/items/uniqueItems";
        assert_eq!(found, [anywhere, "/properties/pattern/pattern"]);
    }
}
