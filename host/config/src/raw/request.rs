//! What strategies are told of a request's headers, as written.

use schemars::JsonSchema;
use serde::Deserialize;

/// What strategies that decide for each request are told of its headers. Credentials never are.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawRequest {
    /// The header that names a session. Default: what the body says, else how the conversation begins.
    pub(crate) session_header: Option<String>,
    /// The header that says who asks.
    pub(crate) tenant_header: Option<String>,
    /// Headers that are told as they are.
    #[schemars(length(max = 16))]
    pub(crate) headers: Vec<String>,
}
