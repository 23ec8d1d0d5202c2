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
    /// Headers that strategies see as they are.
    #[schemars(length(max = 16))]
    pub headers: Vec<String>,
}

impl Check<'_> {
    pub(super) fn request(&mut self, raw: RequestFacts) -> RequestFacts {
        let at = steps!["request"];
        let session =
            raw.session_header.map(|name| self.header(&join(&at, "session_header"), name));
        let tenant = raw.tenant_header.map(|name| self.header(&join(&at, "tenant_header"), name));
        let header = |(index, name)| self.header(&steps!["request", "headers", index], name);
        let headers = raw.headers.into_iter().enumerate().map(header).collect();
        RequestFacts { session_header: session, tenant_header: tenant, headers }
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
