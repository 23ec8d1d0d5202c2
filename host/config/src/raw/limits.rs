//! Admission as the files write it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Concurrency, Limits};

use super::routing::Seconds;

/// What is let in at one time, over all clients.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawLimits {
    /// Size of a request's body in MiB.
    #[schemars(range(min = 1, max = 4096))]
    body_mib: u32,
    /// Size in MiB of all bodies that are held at one time.
    #[schemars(range(min = 1, max = 1_048_576))]
    bodies_mib: u32,
    /// Connections of clients; at most half of what the system lets the process open.
    #[schemars(range(min = 1, max = 1_000_000))]
    connections: u32,
    /// Requests to deployments that are under way.
    #[schemars(range(min = 1, max = 1_000_000))]
    requests: u32,
}

/// How many attempts are made at one deployment at a time, and who waits for a place.
#[derive(Debug, Default, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawConcurrency {
    /// Attempts under way. Default: 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    max: Option<u32>,
    /// Requests that wait for one of them to end. Default: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    queue: Option<u32>,
    /// Seconds they wait before the next deployment is tried. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<Seconds>,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { body_mib: 32, bodies_mib: 1024, connections: 10_000, requests: 5_000 }
    }
}

impl From<RawLimits> for Limits {
    fn from(raw: RawLimits) -> Self {
        Self {
            body: (raw.body_mib as usize) << 20,
            bodies: (raw.bodies_mib as usize) << 20,
            connections: raw.connections as usize,
            requests: raw.requests as usize,
        }
    }
}

impl RawConcurrency {
    /// What it says, and where it says nothing what `outer` does.
    pub(crate) fn within(self, outer: Concurrency) -> Concurrency {
        Concurrency {
            max: self.max.unwrap_or(outer.max),
            queue: self.queue.unwrap_or(outer.queue),
            wait: self.wait.map_or(outer.wait, Into::into),
        }
    }
}
