//! JSON Schemas. Those of the two files are generated from their types, for editors and for the
//! check. Others describe values such as the parameters of a strategy.

mod check;
mod describe;
mod known;
mod report;

pub(super) use check::read;
pub use known::unchecked;

use serde_json::Value;

use super::raw::models::ModelsFile;
use super::raw::routing::RoutingFile;
use super::{Diagnostic, Document, PathStep};

/// Every violation of a schema by the value at `at`, with positions.
///
/// A missing value is checked as an empty mapping. The schema need not be trusted: depth and work
/// are bounded, and unknown keywords allow everything: see [`unchecked`]. Known are `$ref` within
/// the schema, `type`, `enum`, `const`, `properties`, `required`, `additionalProperties`, `items`,
/// `anyOf`, `oneOf`, `allOf`, the bounds of numbers, strings and lists, `not` of everything, the
/// formats of numbers, and the format `seconds`, which takes units.
#[must_use]
pub fn check(document: &Document, at: &[PathStep], schema: &Value) -> Vec<Diagnostic> {
    read(document, at, schema).1
}

/// The value at `at` as JSON, with the types of the schema.
///
/// The schema decides on unquoted scalars with a variable: `${PORT}` may be a string or a number.
///
/// # Errors
/// The errors of [`check()`], if there are any.
pub fn value(
    document: &Document,
    at: &[PathStep],
    schema: &Value,
) -> Result<Value, Vec<Diagnostic>> {
    match read(document, at, schema) {
        (Some(value), errors) if errors.is_empty() => Ok(value),
        (_, errors) => Err(errors),
    }
}

/// Describes the keys of a mapping under this schema, for the remedy of an error: those that `text`
/// names between backticks, or all if it names none.
#[must_use]
pub fn wanted(schema: &Value, text: &str) -> Option<String> {
    const MOST: usize = 8;
    let properties = schema.get("properties")?.as_object().filter(|all| !all.is_empty())?;
    let mut named = properties.clone();
    named.retain(|key, _| text.contains(&format!("`{key}`")));
    let keys = if named.is_empty() { properties.clone() } else { named };
    let of = serde_json::Map::from_iter([("properties".to_owned(), keys.into())]);
    Some(describe::keys(&of, MOST))
}

/// The schema of `models.yaml`.
#[must_use]
pub fn models() -> Value {
    schemars::schema_for!(ModelsFile).to_value()
}

/// The schema of `routing.yaml`.
#[must_use]
pub fn routing() -> Value {
    schemars::schema_for!(RoutingFile).to_value()
}
