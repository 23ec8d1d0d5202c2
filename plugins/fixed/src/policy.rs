//! What `fixed` decides, as pure functions.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The schema of [`Parameters`], which the gateway checks `routing_parameter` against.
pub const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "local_fraction": {
      "description": "The share of the traffic that local deployments get together; remote ones get the rest.",
      "type": "number",
      "minimum": 0,
      "maximum": 1,
      "default": 0.5
    }
  },
  "additionalProperties": false
}"#;

/// `routing_parameter` of this strategy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// What local deployments get together.
    #[serde(default)]
    pub local_fraction: LocalFraction,
}

/// A share of the traffic, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct LocalFraction(f64);

impl LocalFraction {
    /// What is used where `routing_parameter` does not say: half.
    pub const DEFAULT: Self = Self(0.5);

    /// The number, from 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Default for LocalFraction {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<f64> for LocalFraction {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(format!("`local_fraction` is {value}: it is a number from 0 to 1"))
        }
    }
}

/// Reads `routing_parameter`.
///
/// # Errors
/// What is wrong, for the operator: a parameter that does not exist, or a value that is not a
/// number from 0 to 1.
pub fn parse(parameters: &str) -> Result<Parameters, String> {
    // By way of a map: an error of `from_str` ends in a line and column of the JSON the gateway
    // made, which the operator, who wrote YAML, has never seen.
    let given: Map<String, Value> = serde_json::from_str(parameters)
        .map_err(|e| format!("the parameters are not a JSON object: {e}"))?;
    serde_json::from_value(Value::Object(given)).map_err(|e| format!("{e}"))
}

/// One weight for each local and each remote deployment; all sum to 1.
///
/// Deployments of a side share evenly. Where a side is empty the other shares 1.
#[must_use]
pub fn share(fraction: LocalFraction, locals: usize, remotes: usize) -> (Vec<f64>, Vec<f64>) {
    let to_local = match (locals, remotes) {
        (0, _) => 0.0,
        (_, 0) => 1.0,
        _ => fraction.get(),
    };
    (even(to_local, locals), even(1.0 - to_local, remotes))
}

/// `total` in `count` equal parts.
fn even(total: f64, count: usize) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
    let each = total / count.max(1) as f64;
    vec![each; count]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fraction(value: f64) -> LocalFraction {
        LocalFraction::try_from(value).unwrap()
    }

    #[test]
    fn each_side_shares_its_part_evenly() {
        assert_eq!(share(fraction(0.6), 1, 1), (vec![0.6], vec![0.4]));
        assert_eq!(share(fraction(0.6), 2, 1), (vec![0.3, 0.3], vec![0.4]));
        assert_eq!(share(fraction(0.5), 1, 2), (vec![0.5], vec![0.25, 0.25]));
    }

    #[test]
    fn at_the_ends_one_side_is_standby() {
        assert_eq!(share(fraction(1.0), 2, 1), (vec![0.5, 0.5], vec![0.0]));
        assert_eq!(share(fraction(0.0), 1, 2), (vec![0.0], vec![0.5, 0.5]));
    }

    #[test]
    fn where_a_side_is_empty_the_other_shares_all() {
        for value in [0.0, 0.3, 1.0] {
            assert_eq!(share(fraction(value), 2, 0), (vec![0.5, 0.5], vec![]));
            assert_eq!(share(fraction(value), 0, 2), (vec![], vec![0.5, 0.5]));
        }
    }

    #[test]
    fn weights_are_a_share_for_any_counts() {
        for value in [0.0, 0.1, 1.0 / 3.0, 0.999, 1.0] {
            for (locals, remotes) in [(1, 0), (0, 7), (3, 11), (100, 1), (1, 1000)] {
                let (local, remote) = share(fraction(value), locals, remotes);
                assert_eq!((local.len(), remote.len()), (locals, remotes));
                assert!(local.iter().chain(&remote).all(|w| (0.0..=1.0).contains(w)));
                let sum: f64 = local.iter().chain(&remote).sum();
                assert!((sum - 1.0).abs() < 1e-9, "{value} {locals} {remotes}: {sum}");
            }
        }
    }

    #[test]
    fn parameters_are_read() {
        assert_eq!(parse("{}").unwrap().local_fraction, LocalFraction::DEFAULT);
        for (text, want) in [("0.6", 0.6), ("0", 0.0), ("1", 1.0), ("1.0", 1.0)] {
            let read = parse(&format!(r#"{{"local_fraction": {text}}}"#)).unwrap();
            assert_eq!(read.local_fraction, fraction(want));
        }
    }

    #[test]
    fn wrong_parameters_are_refused_with_the_reason() {
        for (text, reason) in [
            (
                r#"{"local_fracton": 0.6}"#,
                "unknown field `local_fracton`, expected `local_fraction`",
            ),
            (r#"{"local_fraction": 1.5}"#, "`local_fraction` is 1.5: it is a number from 0 to 1"),
            (r#"{"local_fraction": -0.1}"#, "`local_fraction` is -0.1: it is a number from 0 to 1"),
            (r#"{"local_fraction": "0.6"}"#, r#"invalid type: string "0.6", expected f64"#),
            (r#"{"local_fraction": null}"#, "invalid type: null, expected f64"),
            (
                "[0.6]",
                "the parameters are not a JSON object: invalid type: sequence, expected a map at line 1 column 0",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), reason, "{text}");
        }
    }

    #[test]
    fn the_schema_says_what_the_code_does() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let field = &schema["properties"]["local_fraction"];
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(field["default"], LocalFraction::DEFAULT.get());
        for end in ["minimum", "maximum"] {
            assert!(LocalFraction::try_from(field[end].as_f64().unwrap()).is_ok());
        }
    }
}
