//! How a window of time is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Period;

// `N`: the names that a window may have there. The lines below are in the schema.
/// A window as written.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "RawPeriod")]
pub(crate) enum RawPeriod<N> {
    /// `day`
    Named(N),
    /// `{seconds: 600}`
    Seconds(RawSeconds),
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSeconds {
    /// Its length in seconds.
    #[schemars(range(min = 1, max = 31_536_000))]
    seconds: u32,
}

impl<N> RawPeriod<N> {
    /// The window. `named`: that of a name.
    pub(crate) fn period(self, named: impl FnOnce(N) -> Period) -> Period {
        match self {
            Self::Named(name) => named(name),
            Self::Seconds(RawSeconds { seconds }) => Period::Seconds(seconds),
        }
    }
}
