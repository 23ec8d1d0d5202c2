//! What strategies that decide for each request are told of its headers.

use super::document::steps;
use super::models::{Check, join};
use super::raw::request::RawRequest;

/// Headers that carry who somebody is: never told, whatever the file says.
const CREDENTIALS: [&str; 9] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-goog-api-key",
    "x-amz-security-token",
];

/// Headers, names in lower case. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// Names a session.
    pub session_header: Option<String>,
    /// Says who asks.
    pub tenant_header: Option<String>,
    /// Told as they are.
    pub headers: Vec<String>,
}

impl Check<'_> {
    pub(super) fn request(&mut self, raw: RawRequest) -> RequestFacts {
        let at = steps!["request"];
        let session =
            raw.session_header.map(|name| self.header(&join(&at, "session_header"), name));
        let tenant = raw.tenant_header.map(|name| self.header(&join(&at, "tenant_header"), name));
        let header = |(index, name)| self.header(&steps!["request", "headers", index], name);
        let headers = raw.headers.into_iter().enumerate().map(header).collect();
        RequestFacts { session_header: session, tenant_header: tenant, headers }
    }

    /// The name of a header that may be told.
    fn header(&mut self, at: &[super::Step], name: String) -> String {
        let name = name.to_ascii_lowercase();
        if self.document.text(at).is_none() {
            return name;
        }
        let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        if name.is_empty() || !name.bytes().all(token) {
            let help = "write the name of a header: x-session-id";
            self.errors.push(self.document.error(at, "this is no name of a header", help));
        } else if CREDENTIALS.contains(&&*name) {
            let help = "name a header that carries no credential";
            let message = "strategies are never told credentials";
            self.errors.push(self.document.error(at, message, help));
        }
        name
    }
}
