//! Settings of the process itself: the resources of a strategy, and the shutdown.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::seconds::{self, Time, TimeOrZero};
use super::size::{kib, mib};

/// The resources that a strategy may use.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    /// Linear memory of one instance, in MiB.
    #[serde(rename = "memory_mib", with = "mib")]
    #[schemars(with = "u32", range(min = 1, max = 4096))]
    pub memory: usize,
    /// Stack of one call, in KiB.
    #[serde(rename = "stack_kib", with = "kib")]
    #[schemars(with = "u32", range(min = 64, max = 65_536))]
    pub stack: usize,
    /// Size of the component, in MiB.
    #[serde(rename = "component_mib", with = "mib")]
    #[schemars(with = "u32", range(min = 1, max = 1024))]
    pub component: u64,
    /// Time of one call off the request path.
    #[serde(rename = "call_timeout", with = "seconds")]
    #[schemars(with = "Time")]
    pub call: Duration,
    /// Time of one call on the request path.
    #[serde(rename = "request_timeout", with = "seconds")]
    #[schemars(with = "Time")]
    pub request: Duration,
    /// Share of CPU time that the strategy may use over a second: on the request path, of all
    /// serving threads; off it, of one core. Beyond it the strategy is not asked for 30 s. Calls
    /// that take less than 20 us on average are always allowed. 1 is no limit.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub cpu_share: f64,
    /// CPU time to compile the component, rounded up to whole seconds.
    #[serde(rename = "compile_timeout", with = "seconds")]
    #[schemars(with = "Time")]
    pub compile: Duration,
    /// Memory to compile the component, in MiB.
    #[serde(rename = "compile_memory_mib", with = "mib")]
    #[schemars(with = "u32", range(min = 64, max = 65_536))]
    pub compile_memory: u64,
}

/// How the process stops when it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// Time in which it still accepts connections, but says that it is not ready.
    #[serde(with = "seconds")]
    #[schemars(with = "TimeOrZero", extend("maximum" = 3600))]
    pub accept: Duration,
    /// Time that requests in flight have after `accept`.
    #[serde(with = "seconds")]
    #[schemars(with = "TimeOrZero", extend("maximum" = 3600))]
    pub grace: Duration,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            stack: 512 << 10,
            component: 4 << 20,
            call: Duration::from_millis(100),
            request: Duration::from_millis(5),
            cpu_share: 0.1,
            compile: Duration::from_secs(10),
            compile_memory: 2 << 30,
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { accept: Duration::from_secs(5), grace: Duration::from_secs(30) }
    }
}
