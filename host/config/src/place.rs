//! Where deployments listen, and secrets.

use std::fmt;

use super::endpoint::is_version;

/// Where a deployment listens: scheme, host, port, and the prefix and query of the API's URLs.
///
/// Two endpoints are equal by the rule for joining: a trailing `/` and a final `/v1` do not count,
/// the host is compared in lower case, and a scheme's default port equals no port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Scheme, host and port to connect to.
    pub origin: Origin,
    /// The prefix of the API's paths: `/v1`, `/v1beta/openai`, or empty. Never ends in `/`.
    pub prefix: String,
    /// The query of each request with its `?`, or nothing: `?api-version=preview`.
    pub query: String,
}

impl Endpoint {
    /// The path below which the engine answers: empty, or `/llama` if its API is at `/llama/v1`. A
    /// proxy may have several engines below paths of one origin.
    #[must_use]
    pub fn root(&self) -> &str {
        let mut root = &*self.prefix;
        while let Some((before, last)) = root.rsplit_once('/') {
            if !(is_version(last) || matches!(last, "openai" | "api")) {
                break;
            }
            root = before;
        }
        root
    }

    /// The URL of one path of the API: `/chat/completions`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let Self { origin, prefix, query } = self;
        format!("{origin}{prefix}{path}{query}")
    }
}

/// Scheme, host and port. Keys belong to an origin, and connections are pooled by origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// True for `https`.
    pub tls: bool,
    /// Name or address in lower case. An IPv6 address has no brackets.
    pub host: String,
    /// Always set: the default of the scheme if the URL has no port.
    pub port: u16,
}

impl Origin {
    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The value of the `Host` header. It has the port only if that is not the scheme's default.
    #[must_use]
    pub fn authority(&self) -> String {
        let default = if self.tls { 443 } else { 80 };
        let host = &self.host;
        match (host.contains(':'), self.port == default) {
            (false, true) => host.clone(),
            (false, false) => format!("{host}:{}", self.port),
            (true, true) => format!("[{host}]"),
            (true, false) => format!("[{host}]:{}", self.port),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

/// Without a final `/v1`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, prefix, query } = self;
        write!(f, "{origin}{}{query}", prefix.strip_suffix("/v1").unwrap_or(prefix))
    }
}

/// A value that must not be shown: its `Debug` is `[redacted]`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret in clear text.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The secret in clear text. It must not be logged or shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
