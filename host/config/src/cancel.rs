//! What a provider bills of answers that are cancelled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a provider bills of an answer that the gateway cancels, because its client left, another
/// attempt was faster, or a time limit passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Cancel {
    /// The tokens so far: it stops when a stream is closed. Other answers it ends.
    Stops,
    /// The whole answer.
    Continues,
}
