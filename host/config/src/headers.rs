//! Which headers pass between clients and deployments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::steps;
use super::models::Check;

/// Which headers pass where no fixed rule decides. A name may end in `*`.
// After the check the names are in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderRules {
    /// Client headers that remote deployments get, in addition to those of the API and of tracing.
    #[schemars(length(max = 64))]
    pub to_remote: Vec<String>,
    /// Client headers that local deployments do not get. All others pass.
    #[schemars(length(max = 64))]
    pub not_to_local: Vec<String>,
    /// Answer headers that clients do not get. All others pass.
    #[schemars(length(max = 64))]
    pub not_to_clients: Vec<String>,
    /// Whether clients are told the rate limits of the deployment's key.
    pub rate_limits: bool,
}

impl Check<'_> {
    pub(super) fn header_rules(&mut self, raw: HeaderRules) -> HeaderRules {
        let HeaderRules { to_remote, not_to_local, not_to_clients, rate_limits } = raw;
        let to_remote = self.header_names("to_remote", to_remote);
        for (nth, name) in to_remote.iter().enumerate() {
            if !name.ends_with('*') && !name.is_empty() && http1::headers::never_goes_up(name) {
                let at = steps!["headers", "to_remote", nth];
                let message = "this header never goes to a deployment";
                let help = "credentials, and what a browser says of its page, stay at the gateway; \
                            a deployment's own key is its `api_key`";
                self.errors.push(self.document.error(&at, message, help));
            }
        }
        HeaderRules {
            to_remote,
            not_to_local: self.header_names("not_to_local", not_to_local),
            not_to_clients: self.header_names("not_to_clients", not_to_clients),
            rate_limits,
        }
    }

    /// Checks names that may end in `*`. Returns them in lower case.
    fn header_names(&mut self, key: &str, names: Vec<String>) -> Vec<String> {
        let mut checked = Vec::with_capacity(names.len());
        for (nth, name) in names.into_iter().enumerate() {
            let name = name.to_ascii_lowercase();
            let at = steps!["headers", key, nth];
            let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&c);
            let start = name.strip_suffix('*').unwrap_or(&name);
            let is_whole = !name.is_empty() && start.bytes().all(token);
            if !is_whole && self.document.text(&at).is_some() {
                let help = "write letters, digits and `-`, and `*` at most at the end: x-team";
                self.errors.push(self.document.error(&at, "this is not a header name", help));
            }
            checked.push(name);
        }
        checked
    }
}
