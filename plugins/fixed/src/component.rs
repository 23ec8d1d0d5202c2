//! The export of [`policy`](crate::policy) as a component of the world `strategy`.

use std::cell::Cell;

use bindings::exports::hybrid::routing::policy::{Deployment, Description, Guest, Weights};

use crate::policy::{self, LocalFraction};

#[allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications)]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit/0.1.0", world: "strategy" });

    export!(Fixed with_types_in self);

    use super::Fixed;
}

thread_local! {
    /// What the last good `configure` said. An instance has one thread, so this is its state.
    static LOCAL_FRACTION: Cell<LocalFraction> = const { Cell::new(LocalFraction::DEFAULT) };
}

struct Fixed;

impl Guest for Fixed {
    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME").to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            summary:
                "Local deployments share a fixed fraction of the traffic, remote ones the rest"
                    .to_string(),
            parameters: policy::SCHEMA.to_string(),
            refresh_interval: None,
        }
    }

    fn configure(parameters: String) -> Result<(), String> {
        LOCAL_FRACTION.set(policy::parse(&parameters)?.local_fraction);
        Ok(())
    }

    fn assign(local: Vec<Deployment>, remote: Vec<Deployment>) -> Weights {
        let (local, remote) = policy::share(LOCAL_FRACTION.get(), local.len(), remote.len());
        Weights { local, remote }
    }
}
