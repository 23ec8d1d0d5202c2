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
    /// Whether a request is sent again if no byte came back. /v1/responses never is.
    pub ambiguous: Ambiguous,
    /// Most extra attempts, over all requests.
    pub budget: RetryBudget,
}

/// What happens to a request that was sent and got no byte back: the deployment may have answered
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Ambiguous {
    /// It is sent to one more deployment.
    Once,
    /// It is not sent again.
    Never,
}

/// When deployments of weight 0 are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Standby {
    /// They are tried after every deployment of positive weight has failed.
    Last,
    /// They are never tried.
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
