//! Says in words what a schema accepts, for the remedy of an error.

use serde_json::{Map, Value as Json};

use crate::seconds;

type Object = Map<String, Json>;

/// A type with its range and default: `a number from 0 to 1, default 0.6`.
pub(super) fn value(schema: &Object) -> String {
    let mut text = kind(schema);
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        let unit = if is_time(schema) && default.is_number() { " s" } else { "" };
        text.push_str(&format!(", default {}{unit}", plain(default)));
    }
    text
}

/// Like [`value`]. `names` are the accepted types if the schema has none of its own.
pub(super) fn kinds(names: &[&str], schema: &Object) -> String {
    match types(schema).is_empty() {
        true => names.iter().map(|name| noun(name)).collect::<Vec<_>>().join(" or "),
        false => value(schema),
    }
}

/// The keys of a mapping, each with what it accepts. At most `most` keys are listed.
pub(super) fn keys(schema: &Object, most: usize) -> String {
    let properties = schema.get("properties").and_then(Json::as_object);
    let all = properties.into_iter().flatten();
    let mut shown: Vec<String> = all
        .map(|(key, schema)| match schema.as_object() {
            Some(schema) => format!("`{key}`: {}", value(schema)),
            None => format!("`{key}`"),
        })
        .collect();
    if shown.len() > most {
        let more = shown.len() - most;
        shown.truncate(most);
        shown.push(format!("{more} more"));
    }
    shown.join("; ")
}

/// The first sentence of a description, with a lower-case start so that it can follow a colon.
pub(super) fn about(schema: &Object) -> Option<String> {
    let text = schema.get("description").and_then(Json::as_str)?;
    let end = text.find(". ").or(text.find(".\n")).unwrap_or(text.len());
    let sentence = text[..end].trim_end_matches('.').replace('\n', " ");
    let mut chars = sentence.chars();
    let first = chars.next()?;
    // A text that begins with two capitals, such as `URL`, keeps them.
    let lower = !chars.as_str().starts_with(|c: char| c.is_uppercase());
    let first = if lower { first.to_lowercase().to_string() } else { first.to_string() };
    Some(first + chars.as_str())
}

/// A type and its range: `a whole number from 1 to 100`.
fn kind(schema: &Object) -> String {
    if let Some(words) = words(schema) {
        return words.iter().map(|word| plain(word)).collect::<Vec<_>>().join(" or ");
    }
    if is_time(schema) {
        return format!("a time{}", range(schema, " s"));
    }
    let nouns: Vec<_> = types(schema).into_iter().filter(|one| *one != "null").map(noun).collect();
    match nouns.is_empty() {
        true => "a value".to_owned(),
        false => nouns.join(" or ") + &range(schema, ""),
    }
}

/// Whether the value is a time. Numbers are then seconds.
pub(super) fn is_time(schema: &Object) -> bool {
    schema.get("format").is_some_and(|format| format == seconds::FORMAT)
}

/// The values of an `enum`, or of alternatives that are all constants. None for other schemas.
fn words(schema: &Object) -> Option<Vec<&Json>> {
    if let Some(listed) = schema.get("enum").and_then(Json::as_array) {
        return Some(listed.iter().collect());
    }
    let choices = ["oneOf", "anyOf"].into_iter().find_map(|key| schema.get(key)?.as_array())?;
    choices.iter().map(|choice| choice.get("const")).collect()
}

/// The bounds of a number, as the words that follow its type: ` from 0 to 1`.
fn range(schema: &Object, unit: &str) -> String {
    let bound = |key: &str| schema.get(key).filter(|bound| bound.is_number()).map(plain);
    let (least, above) = (bound("minimum"), bound("exclusiveMinimum"));
    let (most, below) = (bound("maximum"), bound("exclusiveMaximum"));
    if let (Some(least), Some(most)) = (&least, &most) {
        return format!(" from {least} to {most}{unit}");
    }
    let lower = least.map(|b| format!("at least {b}")).or(above.map(|b| format!("above {b}")));
    let upper = most.map(|b| format!("at most {b}")).or(below.map(|b| format!("below {b}")));
    match (lower, upper) {
        (Some(lower), Some(upper)) => format!(" {lower} and {upper}{unit}"),
        (Some(one), None) | (None, Some(one)) => format!(" {one}{unit}"),
        (None, None) => String::new(),
    }
}

/// The formats of numbers that generators of schemas write, for the types of programming languages.
pub(super) const NUMBER_FORMATS: &[&str] = &[
    "int8", "int16", "int32", "int64", "int", "uint8", "uint16", "uint32", "uint64", "uint",
    "float", "double",
];

/// The least and the greatest number of a format of integers, in the order of the keywords
/// `minimum` and `maximum`.
pub(super) fn format_range(schema: &Object) -> Option<[f64; 2]> {
    let bits = |bits: i32| 2_f64.powi(bits);
    Some(match schema.get("format")?.as_str()? {
        "int8" => [-bits(7), bits(7) - 1.0],
        "int16" => [-bits(15), bits(15) - 1.0],
        "int32" => [-bits(31), bits(31) - 1.0],
        "int64" | "int" => [-bits(63), bits(63)],
        "uint8" => [0.0, bits(8) - 1.0],
        "uint16" => [0.0, bits(16) - 1.0],
        "uint32" => [0.0, bits(32) - 1.0],
        "uint64" | "uint" => [0.0, bits(64)],
        _ => return None,
    })
}

pub(super) fn types(schema: &Object) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(all)) => all.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The YAML term for a type of JSON Schema.
pub(super) fn noun(json_type: &str) -> &str {
    match json_type {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "a string",
        "boolean" => "a boolean",
        "number" => "a number",
        "integer" => "a whole number",
        "null" => "nothing",
        other => other,
    }
}

/// A value as YAML writes it: `5`, not `5.0`.
pub(super) fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => format!("`{text}`"),
        Json::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |n| n.to_string())
        }
        other => other.to_string(),
    }
}
