//! JSON Schemas: of the two files (generated from their types, for editors and for the check), and
//! of whatever else a value in a file has to be.

mod check;
mod describe;
mod report;

pub(super) use check::read;

use serde_json::Value;

use super::raw::models::ModelsFile;
use super::raw::routing::RoutingFile;
use super::{Diagnostic, Document, Step};

/// Everything in which the value at `at` breaks a schema, with positions.
///
/// A missing value is checked as an empty mapping. The schema need not be trusted: depth and work
/// are bounded, and what is not understood of it allows everything. Understood are `$ref` within
/// the schema, `type`, `enum`, `const`, `properties`, `required`, `additionalProperties`, `items`,
/// `anyOf`, `oneOf` (as `anyOf`), `allOf`, the bounds of numbers, strings and lists, and the format
/// `seconds`, which takes units.
#[must_use]
pub fn check(document: &Document, at: &[Step], schema: &Value) -> Vec<Diagnostic> {
    read(document, at, schema).1
}

/// The value at `at` as JSON, typed as the schema wants it.
///
/// The schema matters for unquoted scalars with a variable in them: `${PORT}` is a string or a
/// number.
///
/// # Errors
/// What [`check`] returns, where that is not empty.
pub fn value(document: &Document, at: &[Step], schema: &Value) -> Result<Value, Vec<Diagnostic>> {
    match read(document, at, schema) {
        (Some(value), errors) if errors.is_empty() => Ok(value),
        (_, errors) => Err(errors),
    }
}

/// What a mapping under this schema holds, for the remedy of an error: those of its keys that
/// `text` names between backticks, else all.
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
