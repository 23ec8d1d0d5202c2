//! The parameters of a strategy as a table, made from its JSON Schema.
//!
//! The schema is untrusted, so its depth and rows are bounded. The table omits parts of a schema
//! that this module does not understand. It is for people only: values are checked elsewhere.

use serde::Serialize;
use serde_json::Value;

use config::{self, Diagnostics, schema};
use sandbox::printable;

/// Maximum nesting of mappings and references.
const MAX_DEPTH: usize = 8;
/// Maximum rows of a table.
const MAX_ROWS: usize = 200;
/// Maximum bytes of one cell.
const CELL: usize = 500;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Key of the parameter. A nested one is `outer.inner`.
    pub name: String,
    /// Type: `number`, `list of string`, `one of a, b`. Empty if any value is allowed.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bounds: `0 to 1`, `above 0`, `1 to 20 items`. Empty if there are none.
    pub range: String,
    /// Default value as JSON, or `required`. Empty if the schema has neither.
    pub default: String,
    /// Description from the schema.
    pub description: String,
}

/// Parses parameters from the command line (JSON or YAML) with the types of a schema.
///
/// # Errors
/// Every violation of the schema.
pub fn typed(text: &str, schema: &Value) -> Result<Value, Diagnostics> {
    let document = config::text("--parameters", text, &|_| None)?;
    schema::value(&document, &[], schema).map_err(Diagnostics::new)
}

/// The parameters of a schema, in its order.
#[must_use]
pub fn parameters(schema: &Value) -> Vec<Parameter> {
    let mut table = Table { root: schema, rows: Vec::new() };
    table.object("", schema, 0);
    table.rows
}

struct Table<'a> {
    root: &'a Value,
    rows: Vec<Parameter>,
}

impl<'a> Table<'a> {
    /// Adds a row for each property of a schema.
    fn object(&mut self, prefix: &str, schema: &'a Value, depth: usize) {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
        let required = strings(schema.get("required"));
        for (key, property) in properties {
            if self.rows.len() >= MAX_ROWS || depth >= MAX_DEPTH {
                return;
            }
            let name = format!("{prefix}{key}");
            let inner = self.resolved(property, 0);
            let default = [property, inner].iter().find_map(|schema| schema.get("default"));
            let description =
                [property, inner].iter().find_map(|schema| text(schema.get("description")));
            let default = match default {
                Some(default) => default.to_string(),
                None if required.contains(&key.as_str()) => "required".to_owned(),
                None => String::new(),
            };
            let cell = |text: &str| printable(text, CELL);
            self.rows.push(Parameter {
                name: cell(&name),
                kind: cell(&self.kind(inner, 0)),
                range: cell(&range(inner)),
                default: cell(&default),
                // Newlines are usually those of a source comment.
                description: cell(&description.unwrap_or_default().replace('\n', " ")),
            });
            self.object(&format!("{name}."), inner, depth + 1);
        }
    }

    /// Follows references, and the alternative to null if there is exactly one.
    fn resolved(&self, schema: &'a Value, depth: usize) -> &'a Value {
        if depth >= MAX_DEPTH {
            return schema;
        }
        let target = text(schema.get("$ref")).and_then(|target| target.strip_prefix('#'));
        if let Some(target) = target.and_then(|path| self.root.pointer(path)) {
            return self.resolved(target, depth + 1);
        }
        let other = choices(schema).filter(|choice| text(choice.get("type")) != Some("null"));
        match other.collect::<Vec<_>>()[..] {
            [one] => self.resolved(one, depth + 1),
            _ => schema,
        }
    }

    fn kind(&self, schema: &'a Value, depth: usize) -> String {
        let schema = self.resolved(schema, depth);
        if depth >= MAX_DEPTH {
            return String::new();
        }
        let listed = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        let listed = listed.or(schema.get("const").map(std::slice::from_ref));
        if let Some(listed) = listed {
            let words: Vec<String> = listed.iter().map(shown).collect();
            return if words.len() == 1 {
                words.concat()
            } else {
                format!("one of {}", words.join(", "))
            };
        }
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            several => strings(several).into_iter().filter(|name| *name != "null").collect(),
        };
        if types.is_empty() {
            let kinds = choices(schema).map(|choice| self.kind(choice, depth + 1));
            return kinds.collect::<Vec<_>>().join(" or ");
        }
        let named = types.iter().map(|name| match (*name, schema.get("items")) {
            ("array", Some(items)) => format!("list of {}", self.kind(items, depth + 1))
                .trim_end_matches(" of ")
                .to_owned(),
            ("array", None) => "list".to_owned(),
            ("object", _) => "mapping".to_owned(),
            (other, _) => other.to_owned(),
        });
        named.collect::<Vec<_>>().join(" or ")
    }
}

/// The bounds of a number, a text or a list, in words.
fn range(schema: &Value) -> String {
    let bound = |key: &str| schema.get(key).filter(|bound| bound.is_number()).map(shown);
    let from = |least: &str, above: &str| match (bound(least), bound(above)) {
        (_, Some(above)) => Some(format!("above {above}")),
        (Some(least), None) => Some(least),
        (None, None) => None,
    };
    let below = bound("exclusiveMaximum").map(|bound| format!("below {bound}"));
    let numbers = match (from("minimum", "exclusiveMinimum"), below, bound("maximum")) {
        (None, None, None) => None,
        (Some(low), None, None) if low.starts_with("above") => Some(low),
        (Some(low), None, None) => Some(format!("at least {low}")),
        (Some(low), Some(high), _) => Some(format!("{low}, {high}")),
        (Some(low), None, Some(high)) => Some(format!("{low} to {high}")),
        (None, Some(high), _) => Some(high),
        (None, None, Some(high)) => Some(format!("at most {high}")),
    };
    let size = |least: &str, most: &str, of: &str| match (bound(least), bound(most)) {
        (Some(least), Some(most)) => Some(format!("{least} to {most} {of}")),
        (Some(least), None) => Some(format!("at least {least} {of}")),
        (None, Some(most)) => Some(format!("at most {most} {of}")),
        (None, None) => None,
    };
    let sizes =
        [size("minItems", "maxItems", "items"), size("minLength", "maxLength", "characters")];
    numbers.into_iter().chain(sizes.into_iter().flatten()).collect::<Vec<_>>().join(", ")
}

/// Formats a value for people: strings without quotes, whole numbers without a fraction.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            let text = number.to_string();
            text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
        }
        other => other.to_string(),
    }
}

/// The alternatives of a schema: `anyOf` and `oneOf`.
fn choices(schema: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["anyOf", "oneOf"].map(|key| schema.get(key).and_then(Value::as_array));
    lists.into_iter().flatten().flatten()
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(schema: Value) -> Parameter {
        let table = parameters(&json!({"properties": {"x": schema}}));
        assert_eq!(table.len(), 1, "{table:?}");
        table.into_iter().next().expect("one")
    }

    #[test]
    fn a_parameter_is_a_row() {
        let schema = json!({"type": "number", "minimum": 0, "maximum": 1.0, "default": 0.5,
            "description": "The share of\nthe local ones."});
        let row = row(schema);
        assert_eq!(row.name, "x");
        assert_eq!((row.kind.as_str(), row.range.as_str()), ("number", "0 to 1"));
        assert_eq!(row.default, "0.5");
        assert_eq!(row.description, "The share of the local ones.");
    }

    #[test]
    fn what_is_typed_is_checked() {
        let schema = json!({"type": "object", "properties": {"x": {"type": "number"}}});
        assert_eq!(typed(r#"{"x": 1.5}"#, &schema).expect("good"), json!({"x": 1.5}));
        let error = typed(r#"{"x": "a"}"#, &schema).expect_err("bad").short();
        assert!(error.starts_with("--parameters:1:7: expected a number"), "{error}");
    }

    #[test]
    fn types_are_named_for_people() {
        for (schema, kind) in [
            (json!({"type": ["string", "null"]}), "string"),
            (json!({"enum": ["a", "b", 3]}), "one of a, b, 3"),
            (json!({"const": "a"}), "a"),
            (json!({"type": "array", "items": {"type": "integer"}}), "list of integer"),
            (json!({"type": "array"}), "list"),
            (json!({"type": "array", "items": {}}), "list"),
            (json!({"type": "object"}), "mapping"),
            (json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]}), "boolean"),
            (json!({"oneOf": [{"type": "boolean"}, {"type": "number"}]}), "boolean or number"),
            (json!(true), ""),
        ] {
            assert_eq!(row(schema.clone()).kind, kind, "{schema}");
        }
    }

    #[test]
    fn bounds_are_said_in_words() {
        for (schema, range) in [
            (json!({"minimum": 1}), "at least 1"),
            (json!({"exclusiveMinimum": 0}), "above 0"),
            (json!({"exclusiveMinimum": 0, "maximum": 10}), "above 0 to 10"),
            (json!({"minimum": 0, "exclusiveMaximum": 1}), "0, below 1"),
            (json!({"maximum": 9}), "at most 9"),
            (json!({"minItems": 1, "maxItems": 20}), "1 to 20 items"),
            (json!({"maxLength": 5}), "at most 5 characters"),
            (json!({"minimum": "low"}), ""),
        ] {
            assert_eq!(row(schema.clone()).range, range, "{schema}");
        }
    }

    #[test]
    fn references_and_mappings_within_are_followed_as_far_as_they_go() {
        let table = parameters(&json!({
            "properties": {"tier": {"$ref": "#/$defs/T", "description": "Which."}},
            "$defs": {"T": {
                "type": "object",
                "properties": {"from": {"type": "integer"}, "next": {"$ref": "#/$defs/T"}},
                "required": ["from"],
            }},
        }));
        assert_eq!(table[0].description, "Which.");
        assert_eq!((table[1].name.as_str(), table[1].default.as_str()), ("tier.from", "required"));
        assert_eq!(table.len(), 2 * MAX_DEPTH - 1);
        assert!(parameters(&json!({"properties": {"x": {"$ref": "#/properties/x"}}})).len() == 1);
        assert!(parameters(&json!({})).is_empty());
    }
}
