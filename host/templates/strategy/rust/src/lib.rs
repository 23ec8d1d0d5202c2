//! Less traffic to deployments that have more to do. See README.md.

use std::cell::RefCell;

use exports::hybrid::routing::policy::{Deployment, Description, Facts, Guest, Place, Weights};
{{request}}
use exports::hybrid::routing::request_policy::{Guest as RequestGuest, Request};
{{end}}
use serde_json::Value;

wit_bindgen::generate!({ path: "wit/0.2.0", world: "{{world}}" });

/// A JSON Schema: the gateway checks `routing_parameter` against it before it calls `configure`.
const PARAMETERS: &str = r#"{
    "type": "object",
    "additionalProperties": false,
    "properties": {
        "remote": {
            "description": "What a remote deployment counts beside a local one that is as busy.",
            "type": "number", "minimum": 0, "maximum": 1, "default": 1
{{request}}
        },
        "long_prompt": {
            "description": "Prompts of so many tokens stay on local deployments.",
            "type": "integer", "minimum": 1, "default": 4000
{{end}}
        }
    }
}"#;

/// What an instance knows; it has one thread.
#[derive(Default)]
struct Configured {
    parameters: Value,
    /// `places[deployment.id]` has the name, the capacity and the price.
    places: Vec<Place>,
}

thread_local! {
    static CONFIGURED: RefCell<Configured> = RefCell::default();
}

struct Strategy;

export!(Strategy);

impl Guest for Strategy {
    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Less traffic to deployments that have more to do".into(),
            parameters: PARAMETERS.into(),
            // It weighs live numbers: ask again each second.
            refresh_interval: Some(1000),
{{request}}
            needs: Facts::PROMPT_TOKENS,
{{end}}
{{plain}}
            needs: Facts::empty(),
{{end}}
        }
    }

    fn configure(parameters: String, places: Vec<Place>) -> Result<(), String> {
        let parameters = serde_json::from_str(&parameters).map_err(|e| e.to_string())?;
        // What the schema cannot say is refused here, with an `Err`.
        CONFIGURED.replace(Configured { parameters, places });
        Ok(())
    }

    fn assign(local: Vec<Deployment>, remote: Vec<Deployment>) -> Weights {
        let factor = if local.is_empty() { 1.0 } else { parameter("remote", 1.0) };
        Weights {
            local: local.iter().map(share).collect(),
            remote: remote.iter().map(|d| factor * share(d)).collect(),
        }
    }
}
{{request}}

impl RequestGuest for Strategy {
    fn assign_request(
        request: Request,
        local: Vec<Deployment>,
        remote: Vec<Deployment>,
    ) -> Weights {
        let tokens = f64::from(request.prompt_tokens.unwrap_or(0));
        let at_home = !local.is_empty() && tokens >= parameter("long_prompt", 4000.0);
        let mut weights = Self::assign(local, remote);
        if at_home {
            weights.remote.fill(0.0);
        }
        weights
    }
}
{{end}}

fn parameter(key: &str, otherwise: f64) -> f64 {
    CONFIGURED.with_borrow(|c| c.parameters[key].as_f64().unwrap_or(otherwise))
}

/// Only proportions count.
fn share(deployment: &Deployment) -> f64 {
    1.0 / (1.0 + f64::from(deployment.in_flight))
}
