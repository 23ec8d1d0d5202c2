//! Headers that strategies on the request path see. Credentials cannot be listed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::steps;
use super::models::{Check, join};

/// Headers that strategies on the request path see. Credentials cannot be listed.
// After the check the names are in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestFacts {
    /// Header that names a session. Default: one in the body, else the start of the conversation.
    pub session_header: Option<String>,
    /// Header that names the tenant.
    pub tenant_header: Option<String>,
    /// Whether /metrics has tokens and costs of each tenant that a trusted proxy names. Everybody who can
    /// read /metrics sees them.
    pub tenant_metrics: bool,
    /// Header that says how urgent a request is: a whole number, larger is more urgent. Default: all
    /// requests are alike.
    pub priority_header: Option<String>,
    /// Header with the time to first byte that a request asks for, in milliseconds.
    pub objective_header: Option<String>,
    /// Headers that strategies see as they are.
    #[schemars(length(max = 16))]
    pub headers: Vec<String>,
}

impl Check<'_> {
    pub(super) fn request(&mut self, raw: RequestFacts) -> RequestFacts {
        let at = steps!["request"];
        let mut named =
            |key: &str, name: Option<String>| name.map(|name| self.header(&join(&at, key), name));
        let session_header = named("session_header", raw.session_header);
        let tenant_header = named("tenant_header", raw.tenant_header);
        let priority_header = named("priority_header", raw.priority_header);
        let objective_header = named("objective_header", raw.objective_header);
        let header = |(index, name)| self.header(&steps!["request", "headers", index], name);
        let headers = raw.headers.into_iter().enumerate().map(header).collect();
        RequestFacts {
            session_header,
            tenant_header,
            tenant_metrics: raw.tenant_metrics,
            priority_header,
            objective_header,
            headers,
        }
    }

    /// Checks the name of a header. Returns it in lower case.
    fn header(&mut self, at: &[super::PathStep], name: String) -> String {
        let name = name.to_ascii_lowercase();
        if self.document.text(at).is_none() {
            return name;
        }
        let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        if name.is_empty() || !name.bytes().all(token) {
            let help = "write letters, digits and `-`: x-session-id";
            self.errors.push(self.document.error(at, "this is not a header name", help));
        } else if http1::headers::is_credential(&name) || name == "set-cookie" {
            let help = "name a header that carries no credential, such as x-session-id";
            let message = "strategies are never told credentials";
            self.errors.push(self.document.error(at, message, help));
        }
        name
    }
}
