//! Time limits as both files write them: of everything, of a model, of a place.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::timeouts::OwnTimeouts;
use crate::{ClientTimeouts, Timeouts, TotalTime};

use super::routing::Seconds;

/// Time limits of a request, in seconds.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawTimeouts {
    /// To a TCP and TLS connection.
    connect: Seconds,
    /// From the connection to the first content of a stream, or the first byte of a plain answer's body.
    first_byte: Seconds,
    /// Between two chunks of the answer.
    idle: Seconds,
    /// Of everything, all attempts included.
    total: Seconds,
    /// How long an unused connection to a deployment is kept. 0: none is used again.
    pool_idle: SecondsOrNone,
    /// From the first byte of a request to the end of its headers.
    client_headers: Seconds,
    /// Between two pieces of a request's body, and of the answer that the client takes.
    client_idle: Seconds,
    /// Between two requests of a client's connection.
    keep_alive: Seconds,
}

/// Time limits of one model, in seconds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawModelTimeouts {
    /// To a TCP and TLS connection.
    connect: Option<Seconds>,
    /// From the connection to the first content of a stream, or the first byte of a plain answer's body.
    first_byte: Option<Seconds>,
    /// Between two chunks of the answer.
    idle: Option<Seconds>,
    /// Of everything, all attempts included.
    total: Option<Seconds>,
    /// How long an unused connection to a deployment is kept. 0: none is used again.
    pool_idle: Option<SecondsOrNone>,
}

/// Time limits of one place that runs a model, in seconds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPlaceTimeouts {
    /// To a TCP and TLS connection.
    connect: Option<Seconds>,
    /// From the connection to the first content of a stream, or the first byte of a plain answer's body.
    first_byte: Option<Seconds>,
    /// Between two chunks of the answer.
    idle: Option<Seconds>,
    /// How long an unused connection to it is kept, by all that is at its host. 0: none is used again.
    pool_idle: Option<SecondsOrNone>,
    /// `total` is of a whole request: give it at the model, or in `timeouts` of routing.yaml
    #[serde(default)]
    #[expect(dead_code, reason = "its schema refuses every value")]
    total: Never,
}

/// A key that is known, and may not be given: its description says why.
#[derive(Debug, Default, Deserialize)]
struct Never;

impl JsonSchema for Never {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Never".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "not": {} })
    }
}

/// A time in seconds that may be 0; fractions are accepted.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct SecondsOrNone(f64);

impl JsonSchema for SecondsOrNone {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecondsOrNone".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 0, "maximum": 31_536_000 })
    }
}

impl From<Duration> for SecondsOrNone {
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs_f64())
    }
}

impl From<SecondsOrNone> for Duration {
    fn from(SecondsOrNone(seconds): SecondsOrNone) -> Self {
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}

impl Default for RawTimeouts {
    fn default() -> Self {
        let Timeouts { connect, first_byte, idle, pool_idle } = Timeouts::default();
        let client = ClientTimeouts::default();
        Self {
            connect: connect.into(),
            first_byte: first_byte.into(),
            idle: idle.into(),
            total: TotalTime::default().0.into(),
            pool_idle: pool_idle.into(),
            client_headers: client.headers.into(),
            client_idle: client.idle.into(),
            keep_alive: client.keep_alive.into(),
        }
    }
}

impl RawTimeouts {
    pub(crate) fn total(&self) -> TotalTime {
        TotalTime(self.total.into())
    }
}

impl RawModelTimeouts {
    pub(crate) fn total(&self) -> Option<TotalTime> {
        self.total.map(|total| TotalTime(total.into()))
    }
}

impl From<&RawTimeouts> for Timeouts {
    fn from(raw: &RawTimeouts) -> Self {
        Self {
            connect: raw.connect.into(),
            first_byte: raw.first_byte.into(),
            idle: raw.idle.into(),
            pool_idle: raw.pool_idle.into(),
        }
    }
}

impl From<&RawTimeouts> for ClientTimeouts {
    fn from(raw: &RawTimeouts) -> Self {
        Self {
            headers: raw.client_headers.into(),
            idle: raw.client_idle.into(),
            keep_alive: raw.keep_alive.into(),
        }
    }
}

impl From<&RawModelTimeouts> for OwnTimeouts {
    fn from(raw: &RawModelTimeouts) -> Self {
        Self {
            connect: raw.connect.map(Duration::from),
            first_byte: raw.first_byte.map(Duration::from),
            idle: raw.idle.map(Duration::from),
            pool_idle: raw.pool_idle.map(Duration::from),
        }
    }
}

impl From<&RawPlaceTimeouts> for OwnTimeouts {
    fn from(raw: &RawPlaceTimeouts) -> Self {
        Self {
            connect: raw.connect.map(Duration::from),
            first_byte: raw.first_byte.map(Duration::from),
            idle: raw.idle.map(Duration::from),
            pool_idle: raw.pool_idle.map(Duration::from),
        }
    }
}
