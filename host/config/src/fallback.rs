//! What happens after a failed attempt.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RetryBudget;

/// What happens after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fallback {
    /// Deployments tried for one request, the first included.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// When deployments of weight 0 are tried: after all others, or never.
    pub standby: Standby,
    /// How often a request is sent again that was sent and not answered. Never to /v1/responses.
    pub ambiguous: Ambiguous,
    /// Extra attempts that requests may make, over all of them.
    pub budget: RetryBudget,
}

/// What happens to a request that was sent without a byte coming back, so that nobody knows whether
/// it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Ambiguous {
    /// Sent to one more deployment.
    Once,
    /// Not sent again.
    Never,
}

/// What deployments of weight 0 are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Standby {
    /// Tried after every deployment of positive weight has failed.
    Last,
    /// Never tried.
    Never,
}

impl Default for Fallback {
    fn default() -> Self {
        Self {
            attempts: 3,
            standby: Standby::Last,
            ambiguous: Ambiguous::Once,
            budget: RetryBudget::default(),
        }
    }
}
