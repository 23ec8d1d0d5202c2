//! `routing_parameter`: reads the gateway's JSON into the author's type, and makes the schema of
//! that type.

use std::fmt;
use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, Visitor,
};
use serde::{Deserialize, Deserializer as _};

/// For strategies without parameters. Any parameter is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// Reads `routing_parameter`.
///
/// # Errors
/// The parameters are wrong. The text is for the operator, and begins with the parameter's name.
pub fn parse<P: DeserializeOwned>(parameters: &str) -> Result<P, String> {
    let mut json = serde_json::Deserializer::from_str(parameters);
    let read = json.deserialize_map(Mapping(PhantomData));
    let error = match read.and_then(|read| json.end().map(|()| read)) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    if !error.is_data() || !parameters.trim_start().starts_with('{') {
        return Err("the parameters are not a mapping of names to values".to_owned());
    }
    // The operator wrote YAML: a position in the gateway's JSON would mislead.
    let (text, place) = (error.to_string(), (error.line(), error.column()));
    let place = format!(" at line {} column {}", place.0, place.1);
    Err(text.strip_suffix(&place).unwrap_or(&text).to_owned())
}

/// The JSON Schema of a type, in the words that the gateway understands.
#[must_use]
pub fn schema<P: JsonSchema>() -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<P>();
    schema.remove("title");
    schema.as_value().to_string()
}

/// Reads a type from a mapping.
struct Mapping<P>(PhantomData<P>);

impl<'de, P: DeserializeOwned> Visitor<'de> for Mapping<P> {
    type Value = P;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<P, A::Error> {
        let named = Named { entries, current: String::new() };
        P::deserialize(MapAccessDeserializer::new(named))
    }
}

/// A map that puts the name of a value before the value's errors.
struct Named<A> {
    entries: A,
    /// The name of the next value.
    current: String,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Named<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.entries.next_key()? else { return Ok(None) };
        self.current = name;
        seed.deserialize(self.current.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let value = self.entries.next_value_seed(seed);
        value.map_err(|error| A::Error::custom(format_args!("`{}`: {error}", self.current)))
    }
}

/// A number from 0 to 1, such as a share or a probability.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub struct Fraction(f64);

impl Fraction {
    /// A fraction in percent, at most 100. For defaults.
    #[must_use]
    pub const fn percent(hundredths: u8) -> Self {
        assert!(hundredths <= 100, "a fraction is at most 100 percent");
        Self(hundredths as f64 / 100.0)
    }

    /// The number, from 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Fraction {
    type Error = OutOfRange;

    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        match (0.0..=1.0).contains(&value) {
            true => Ok(Self(value)),
            false => Err(OutOfRange { value, range: "from 0 to 1" }),
        }
    }
}

impl serde::Serialize for Fraction {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl JsonSchema for Fraction {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fraction".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

/// A finite number above 0, such as a time in milliseconds or a factor.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub struct Positive(f64);

impl Positive {
    /// A number in thousandths, at least 1. For defaults.
    #[must_use]
    pub const fn thousandths(number: u32) -> Self {
        assert!(number > 0, "0 is not above 0");
        Self(number as f64 / 1000.0)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Positive {
    type Error = OutOfRange;

    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        match value.is_finite() && value > 0.0 {
            true => Ok(Self(value)),
            false => Err(OutOfRange { value, range: "above 0" }),
        }
    }
}

impl serde::Serialize for Positive {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl JsonSchema for Positive {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Positive".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "exclusiveMinimum": 0 })
    }
}

/// The number is outside the range of its parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutOfRange {
    value: f64,
    range: &'static str,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a number {}", self.value, self.range)
    }
}

impl std::error::Error for OutOfRange {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Parameters {
        /// A share.
        share: Fraction,
        /// A limit in milliseconds.
        limit: Option<Positive>,
        names: Vec<String>,
    }

    impl Default for Parameters {
        fn default() -> Self {
            Self { share: Fraction::percent(50), limit: None, names: Vec::new() }
        }
    }

    impl serde::Serialize for Parameters {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }

    #[test]
    fn parameters_are_read() {
        assert_eq!(parse::<Parameters>("{}").unwrap(), Parameters::default());
        let read = parse::<Parameters>(r#"{"share": 1, "limit": 2.5, "names": ["a"]}"#).unwrap();
        let share = Fraction::percent(100);
        let limit = Some(Positive::try_from(2.5).unwrap());
        assert_eq!(read, Parameters { share, limit, names: vec!["a".to_owned()] });
    }

    #[test]
    fn wrong_parameters_are_refused_in_the_operators_words() {
        for (text, reason) in [
            (r#"{"shaer": 1}"#, "unknown field `shaer`, expected one of `share`, `limit`, `names`"),
            (r#"{"share": 1.5}"#, "`share`: 1.5 is not a number from 0 to 1"),
            (r#"{"share": "x"}"#, "`share`: invalid type: string \"x\", expected f64"),
            (r#"{"limit": 0}"#, "`limit`: 0 is not a number above 0"),
            (r#"{"names": [1]}"#, "`names`: invalid type: integer `1`, expected a string"),
            ("[]", "the parameters are not a mapping of names to values"),
            ("{", "the parameters are not a mapping of names to values"),
        ] {
            assert_eq!(parse::<Parameters>(text).unwrap_err(), reason, "{text}");
        }
        let error = parse::<NoParameters>(r#"{"share": 1}"#).unwrap_err();
        assert_eq!(error, "unknown field `share`, there are no fields");
    }
}
