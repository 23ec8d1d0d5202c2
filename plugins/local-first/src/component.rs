//! The export of [`policy`](crate::policy) as a component of the world `strategy`.

use bindings::exports::hybrid::routing::policy::{Deployment, Description, Guest, Weights};

use crate::policy;

#[allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit/0.1.0", world: "strategy" });

    export!(LocalFirst with_types_in self);

    use super::LocalFirst;
}

struct LocalFirst;

impl Guest for LocalFirst {
    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            summary: "All traffic to local deployments, remote ones on standby".to_string(),
            parameters: policy::SCHEMA.to_string(),
            refresh_interval: None,
        }
    }

    fn configure(parameters: String) -> Result<(), String> {
        policy::check(&parameters)
    }

    fn assign(local: Vec<Deployment>, remote: Vec<Deployment>) -> Weights {
        let (local, remote) = policy::share(local.len(), remote.len());
        Weights { local, remote }
    }
}
