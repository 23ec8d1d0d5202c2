//! Limits on clients, and on the attempts at deployments.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use contract::Side;

use super::document::steps;
use super::given::{self, Given};
use super::models::Check;
use super::seconds::{self, Time};
use super::size::mib;

/// Limits over all clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest body of a request, in MiB.
    #[serde(rename = "body_mib", with = "mib")]
    #[schemars(with = "u32", range(min = 1, max = 4096))]
    pub body: usize,
    /// The size of all bodies that are held at one time, in MiB.
    #[serde(rename = "bodies_mib", with = "mib")]
    #[schemars(with = "u32", range(min = 1, max = 1_048_576))]
    pub bodies: usize,
    /// Open connections of clients. Also limited to half of the files that the process may open.
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    pub connections: usize,
    /// Requests to deployments under way.
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    pub requests: usize,
}

/// How many attempts run at one deployment at a time, and how many requests wait for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Concurrency {
    /// Attempts under way at one deployment.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max: u32,
    /// Requests that wait for a place.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub queue: u32,
    /// How long a request waits before the next deployment is tried.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    pub wait: Duration,
}

/// The `concurrency` of `routing.yaml`: for all deployments, and for those of one side.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("additionalProperties" = false))]
pub(crate) struct SharedConcurrency {
    #[serde(flatten)]
    pub(crate) all: Concurrency,
    /// For local deployments. Default, key by key: the keys beside it.
    #[schemars(schema_with = "own_concurrency")]
    pub(crate) local: Given,
    /// For remote deployments. Default, key by key: the keys beside it.
    #[schemars(schema_with = "own_concurrency")]
    pub(crate) remote: Given,
}

impl SharedConcurrency {
    /// The concurrency of deployments of a side that give no keys of their own.
    pub(crate) fn of(&self, side: Side) -> Concurrency {
        self.given(side).over(&self.all)
    }

    /// The keys that one side gives.
    pub(crate) fn given(&self, side: Side) -> &Given {
        match side {
            Side::Local => &self.local,
            Side::Remote => &self.remote,
        }
    }
}

/// The schema of the `concurrency` of a side, an entry or a route.
pub(crate) fn own_concurrency(generator: &mut SchemaGenerator) -> Schema {
    given::schema::<Concurrency>(generator, |_| true)
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 32 << 20, bodies: 1 << 30, connections: 10_000, requests: 5_000 }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { max: 1_000, queue: 100, wait: Duration::from_secs(10) }
    }
}

impl Check<'_> {
    pub(super) fn limits(&mut self, limits: Limits) -> Limits {
        if limits.bodies < limits.body {
            let message = "one body may be larger than all of them together";
            let help =
                "make `bodies_mib` at least `body_mib`: `limits: {body_mib: 32, bodies_mib: 1024}`";
            self.errors.push(self.document.error(&steps!["limits"], message, help));
        }
        limits
    }
}
