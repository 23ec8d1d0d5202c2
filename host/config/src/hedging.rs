//! Second attempts beside the first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Second attempts that strategies ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hedging {
    /// Limit on second attempts, in percent of the requests whose strategy asks for one. 0: none.
    #[schemars(range(min = 0, max = 100))]
    pub budget: u32,
}

impl Default for Hedging {
    fn default() -> Self {
        Self { budget: 5 }
    }
}
