//! How the files write times: seconds, or a number with a unit.
//!
//! The schema of a time has the format [`FORMAT`]. The check of the schema turns the text into a
//! number of seconds, so that serde never sees a unit.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serializer};

/// The `format` of a value that is a time.
pub(crate) const FORMAT: &str = "seconds";
/// How to write a time: the remedy of every error about one.
pub(crate) const FORM: &str =
    "write seconds, or a number with a unit (ms, s, m, h): 2, 500ms, 1.5s, 10m";

/// A year, in seconds. Longer times are mistakes, and shorter ones never overflow.
const LONGEST: u32 = 31_536_000;
/// Matches a text with a unit, or with a variable.
const PATTERN: &str = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$|\$\{";

/// The schema of a time above 0.
pub(crate) struct Time;

/// The schema of a time that may be 0.
pub(crate) struct TimeOrZero;

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["number", "string"], "format": FORMAT, "pattern": PATTERN,
            "exclusiveMinimum": 0, "maximum": LONGEST
        })
    }
}

impl JsonSchema for TimeOrZero {
    fn schema_name() -> Cow<'static, str> {
        "TimeOrZero".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["number", "string"], "format": FORMAT, "pattern": PATTERN,
            "minimum": 0, "maximum": LONGEST
        })
    }
}

/// The seconds of a text with a unit. None: it is malformed.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(unit);
    let whole = number.starts_with(|c: char| c.is_ascii_digit()) && !number.ends_with('.');
    let number: f64 = number.parse().ok().filter(|_| whole)?;
    match unit {
        "ms" => Some(number / 1000.0),
        "s" => Some(number),
        "m" => Some(number * 60.0),
        "h" => Some(number * 3600.0),
        _ => None,
    }
}

pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

/// Rounds a positive time up to a millisecond, which is finer than any timer here.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(from)?;
    let time = Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)?;
    Ok(if seconds > 0.0 { time.max(Duration::from_millis(1)) } else { time })
}

/// A time for which 0 means none.
pub(crate) mod zero_is_none {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize(&time.unwrap_or_default(), to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::deserialize(from).map(|time| (!time.is_zero()).then_some(time))
    }
}
