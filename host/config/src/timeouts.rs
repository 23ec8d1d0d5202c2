//! Time limits of requests: the keys, their defaults, and which setting wins.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::given;
use super::seconds::{self, Time, TimeOrZero};

/// `timeouts` of `routing.yaml`: every time limit, its default and its description. A model, a
/// route and an entry may override some of the keys.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(description = "Time limits of a request.")]
pub(crate) struct TimeLimits {
    /// Time to make a TCP and TLS connection.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    connect: Duration,
    /// Time from the connection to a stream's first content, or to a plain body's first byte.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    first_byte: Duration,
    /// Time between two chunks of the answer.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    idle: Duration,
    /// Time of the whole request, all attempts included.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    total: Duration,
    /// Time that an idle connection is kept. The smallest of a host applies. 0: no reuse.
    #[serde(with = "seconds")]
    #[schemars(with = "TimeOrZero")]
    pool_idle: Duration,
    /// Time from the first byte of a request to the end of its headers.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    client_headers: Duration,
    /// Time between two pieces of a request's body, or of the answer that the client takes.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    client_idle: Duration,
    /// Time between two requests on a client's connection.
    #[serde(with = "seconds")]
    #[schemars(with = "Time")]
    keep_alive: Duration,
}

/// Time limits of an attempt at a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Time to make a TCP and TLS connection.
    pub connect: Duration,
    /// Time from the connection to a stream's first content, or to a plain body's first byte.
    pub first_byte: Duration,
    /// Time between two chunks of the answer.
    pub idle: Duration,
    /// How long an unused connection is kept. 0: none is used again. All deployments of one origin
    /// have the same value, because they share their connections.
    pub pool_idle: Duration,
}

/// Time limit from the arrival of a request to the end of its answer, over all attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TotalTime(pub Duration);

/// Time limits for a client.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClientTimeouts {
    /// From the first byte of a request, or the start of the connection, to the end of the
    /// request's head.
    pub headers: Duration,
    /// Time between two pieces of a request's body, or of the answer that the client takes.
    pub idle: Duration,
    /// Time between two requests on a connection.
    pub keep_alive: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        let time = Duration::from_secs;
        Self {
            connect: time(5),
            first_byte: time(120),
            idle: time(60),
            total: time(600),
            // vLLM and uvicorn close idle connections after 5 s. A request on a connection that is
            // being closed is lost.
            pool_idle: time(4),
            client_headers: time(10),
            client_idle: time(30),
            keep_alive: time(75),
        }
    }
}

impl TimeLimits {
    /// The time limits of an attempt.
    pub(crate) fn attempt(&self) -> Timeouts {
        let Self { connect, first_byte, idle, pool_idle, .. } = *self;
        Timeouts { connect, first_byte, idle, pool_idle }
    }

    pub(crate) fn total(&self) -> TotalTime {
        TotalTime(self.total)
    }

    pub(crate) fn client(&self) -> ClientTimeouts {
        let Self { client_headers: headers, client_idle: idle, keep_alive, .. } = *self;
        ClientTimeouts { headers, idle, keep_alive }
    }

    /// Puts the three parts together again, as the file writes them.
    pub(crate) fn of(
        attempt: Timeouts,
        TotalTime(total): TotalTime,
        client: ClientTimeouts,
    ) -> Self {
        let Timeouts { connect, first_byte, idle, pool_idle } = attempt;
        let ClientTimeouts { headers: client_headers, idle: client_idle, keep_alive } = client;
        Self {
            connect,
            first_byte,
            idle,
            total,
            pool_idle,
            client_headers,
            client_idle,
            keep_alive,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        TimeLimits::default().attempt()
    }
}

impl Default for TotalTime {
    fn default() -> Self {
        TimeLimits::default().total()
    }
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        TimeLimits::default().client()
    }
}

/// The schema of a model's own time limits: those of an attempt, and `total`.
pub(crate) fn of_model(generator: &mut SchemaGenerator) -> Schema {
    given::schema::<TimeLimits>(generator, |key| key == "total" || is_of_attempt(key))
}

/// The schema of the time limits of one place. `total` is listed and never allowed, so that its
/// error says where it belongs.
pub(crate) fn of_place(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = given::schema::<TimeLimits>(generator, is_of_attempt);
    let never = json_schema!({
        "not": {},
        "description": "`total` is of a whole request: give it at the model, or in `timeouts` of routing.yaml"
    });
    if let Some(properties) = schema.get_mut("properties").and_then(|all| all.as_object_mut()) {
        properties.insert("total".into(), never.into());
    }
    schema
}

fn is_of_attempt(key: &str) -> bool {
    ["connect", "first_byte", "idle", "pool_idle"].contains(&key)
}
