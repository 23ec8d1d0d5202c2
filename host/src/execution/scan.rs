//! The part of a body that routing needs: `model` and `stream`. Everything else is skipped over,
//! though it must be JSON, and never changed.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What routing needs of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The model asked for.
    pub model: String,
    /// Where its JSON string stands in the body, quotes included.
    pub model_at: Range<usize>,
    /// Whether `stream` is `true`.
    pub stream: bool,
}

/// Why a body cannot be routed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Not JSON, or not an object.
    #[error("the request body is not a JSON object: {0}")]
    Json(String),
    /// No `model`.
    #[error("you must provide a model parameter")]
    NoModel,
    /// `model` is not a string.
    #[error("the model parameter must be a string")]
    ModelType,
    /// `model` twice: two readers could route by different ones.
    #[error("the model parameter is given more than once")]
    DuplicateModel,
}

/// Finds `model` and `stream` at the top level of a JSON object.
///
/// # Errors
/// If the body is no JSON object, or does not name one model.
pub fn scan(body: &[u8]) -> Result<Scan, ScanError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let fields = json.deserialize_map(Fields).and_then(|fields| json.end().map(|()| fields));
    let fields = fields.map_err(|error| ScanError::Json(error.to_string()))?;
    if fields.models > 1 {
        return Err(ScanError::DuplicateModel);
    }
    let raw = fields.model.ok_or(ScanError::NoModel)?.get();
    let model = serde_json::from_str(raw).map_err(|_| ScanError::ModelType)?;
    // A borrowed raw value is a slice of the body: its distance from the start is its position.
    let start = raw.as_ptr().addr() - body.as_ptr().addr();
    Ok(Scan { model, model_at: start..start + raw.len(), stream: fields.stream })
}

#[derive(Default)]
struct Found<'a> {
    model: Option<&'a RawValue>,
    models: usize,
    stream: bool,
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            match &*key.0 {
                "model" => {
                    found.model = Some(map.next_value()?);
                    found.models += 1;
                }
                "stream" => {
                    let value: &RawValue = map.next_value()?;
                    found.stream = value.get() == "true";
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// A key, borrowed unless it holds an escape.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_wherever_it_stands() {
        let body = br#" {"messages":[{"model":"no"}], "model" : "m\u0061" ,"stream":true} "#;
        let scan = scan(body).expect("good");
        assert_eq!((scan.model.as_str(), scan.stream), ("ma", true));
        assert_eq!(&body[scan.model_at], br#""m\u0061""#);
    }

    #[test]
    fn what_cannot_be_routed_says_why() {
        let error = |body: &str| scan(body.as_bytes()).expect_err("bad");
        assert!(matches!(error("{"), ScanError::Json(_)));
        assert!(matches!(error("[]"), ScanError::Json(_)));
        assert!(matches!(error(r#"{"model":"a"} x"#), ScanError::Json(_)));
        assert_eq!(error("{}"), ScanError::NoModel);
        assert_eq!(error(r#"{"model":1}"#), ScanError::ModelType);
        assert_eq!(error(r#"{"model":"a","m\u006fdel":"b"}"#), ScanError::DuplicateModel);
    }

    #[test]
    fn deep_nesting_is_no_harm() {
        let deep = format!(r#"{{"x":{}{},"model":"a"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(scan(deep.as_bytes()).expect("good").model, "a");
    }
}
