//! What `local-first` decides, as pure functions.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

/// The schema of `routing_parameter`. The parameter of `fixed` is let through, so that going from
/// one strategy to the other and back is an edit of one word.
pub const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "local_fraction": {
      "type": "number",
      "minimum": 0,
      "maximum": 1,
      "description": "Has no effect: it is the parameter of fixed, and may stay while local-first is in use."
    }
  },
  "additionalProperties": false
}"#;

/// Checks `routing_parameter`: nothing in it has an effect.
///
/// # Errors
/// A parameter was given that nobody knows: the operator meant something that will not happen.
pub fn check(parameters: &str) -> Result<(), String> {
    let given: BTreeMap<String, IgnoredAny> = serde_json::from_str(parameters)
        .map_err(|e| format!("the parameters are not a JSON object: {e}"))?;
    match given.keys().find(|name| *name != "local_fraction") {
        Some(name) => Err(format!("unknown parameter `{name}`: local-first takes none")),
        None => Ok(()),
    }
}

/// One weight for each local and each remote deployment; all sum to 1.
///
/// Local deployments share everything evenly and remote ones get 0, which is standby. Where there
/// is no local one, the remote ones share.
#[must_use]
pub fn share(locals: usize, remotes: usize) -> (Vec<f64>, Vec<f64>) {
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
    let even = |count: usize| vec![1.0 / count as f64; count];
    if locals > 0 { (even(locals), vec![0.0; remotes]) } else { (Vec::new(), even(remotes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_deployments_share_everything_and_remote_ones_stand_by() {
        assert_eq!(share(1, 1), (vec![1.0], vec![0.0]));
        assert_eq!(share(4, 2), (vec![0.25; 4], vec![0.0; 2]));
        assert_eq!(share(2, 0), (vec![0.5; 2], vec![]));
    }

    #[test]
    fn without_a_local_deployment_remote_ones_share() {
        assert_eq!(share(0, 1), (vec![], vec![1.0]));
        assert_eq!(share(0, 4), (vec![], vec![0.25; 4]));
    }

    #[test]
    fn parameters_are_refused_with_the_reason() {
        assert_eq!(check("{}"), Ok(()));
        assert_eq!(check(r#"{"local_fraction": 0.6}"#), Ok(()));
        for (text, reason) in [
            (r#"{"fraction": 0.6}"#, "unknown parameter `fraction`: local-first takes none"),
            (
                "[]",
                "the parameters are not a JSON object: invalid type: sequence, expected a map at line 1 column 0",
            ),
        ] {
            assert_eq!(check(text), Err(reason.into()), "{text}");
        }
    }

    #[test]
    fn the_schema_allows_what_the_check_allows() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("JSON");
        let known: Vec<&String> =
            schema["properties"].as_object().expect("an object").keys().collect();
        assert_eq!(known, ["local_fraction"]);
        assert_eq!(schema["additionalProperties"], false);
    }
}
