//! Which web pages may use the gateway, and under which names it answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::document::steps;
use super::models::Check;
use super::seconds::{self, TimeOrZero};

/// Web pages of other origins that may use the gateway. Default: none.
// After the check the origins are as browsers write them, and the headers are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins as browsers write them: https://chat.example.com. `*`: every page.
    #[schemars(length(max = 256))]
    pub origins: Vec<String>,
    /// Headers that these pages may send. `*`: all.
    #[schemars(length(max = 64))]
    pub headers: Vec<String>,
    /// How long browsers remember that a request is allowed.
    #[serde(with = "seconds")]
    #[schemars(with = "TimeOrZero")]
    pub max_age: std::time::Duration,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            headers: vec!["*".to_owned()],
            max_age: std::time::Duration::from_secs(600),
        }
    }
}

impl Check<'_> {
    pub(super) fn cors(&mut self, mut cors: Cors) -> Cors {
        for (nth, origin) in cors.origins.iter_mut().enumerate() {
            let at = steps!["cors", "origins", nth];
            match origin_of(origin) {
                Some(written) => *origin = written,
                None if self.document.text(&at).is_none() => {}
                None => {
                    let help = "write scheme, host and port only: https://chat.example.com, \
                                http://localhost:3000";
                    self.errors.push(self.document.error(&at, "this is not an origin", help));
                }
            }
        }
        for (nth, name) in cors.headers.iter_mut().enumerate() {
            *name = name.to_ascii_lowercase();
            let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
            let at = steps!["cors", "headers", nth];
            if (name.is_empty() || !name.bytes().all(token)) && self.document.text(&at).is_some() {
                let help = "write letters, digits and `-`: authorization; or `*` for all";
                self.errors.push(self.document.error(&at, "this is not a header name", help));
            }
        }
        cors
    }

    /// Checks the names of the gateway. Returns them in lower case.
    pub(super) fn hosts(&mut self, hosts: Vec<String>) -> Vec<String> {
        let mut checked = Vec::with_capacity(hosts.len());
        for (nth, host) in hosts.into_iter().enumerate() {
            let at = steps!["hosts", nth];
            let name = host.to_ascii_lowercase();
            let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
            let inside = name.trim_start_matches('[').trim_end_matches(']');
            let is_address = inside.parse::<std::net::IpAddr>().is_ok();
            let is_name = !name.is_empty()
                && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c));
            if !(is_address || is_name || name == "*") && self.document.text(&at).is_some() {
                let help = "write a host without scheme, port and path: gateway.example.com";
                self.errors.push(self.document.error(&at, "this is not a host", help));
            }
            checked.push(if is_address { inside.to_owned() } else { name });
        }
        checked
    }
}

/// An origin as browsers write it. None if the text is not an origin.
fn origin_of(text: &str) -> Option<String> {
    if matches!(text, "*" | "null") {
        return Some(text.to_owned());
    }
    let url = Url::parse(text).ok()?;
    let bare = url.path() == "/" && !text.ends_with('/') || url.path().is_empty();
    let alone = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let host = url.host_str().filter(|host| !host.is_empty())?;
    if !bare || !alone || url.password().is_some() {
        return None;
    }
    // Extensions of browsers have schemes of their own.
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{}://{}{port}", url.scheme(), host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_do() {
        let origin = |text| origin_of(text);
        assert_eq!(
            origin("https://Chat.Example.com:443").as_deref(),
            Some("https://chat.example.com")
        );
        assert_eq!(origin("http://localhost:3000").as_deref(), Some("http://localhost:3000"));
        assert_eq!(origin("http://[::1]:3000").as_deref(), Some("http://[::1]:3000"));
        assert_eq!(origin("chrome-extension://abcd").as_deref(), Some("chrome-extension://abcd"));
        assert_eq!(origin("null").as_deref(), Some("null"));
        for wrong in [
            "",
            "localhost:3000",
            "chat.example.com",
            "https://a/",
            "https://a/b",
            "https://u@a",
            "https://*?",
        ] {
            assert_eq!(origin_of(wrong), None, "{wrong}");
        }
    }
}
