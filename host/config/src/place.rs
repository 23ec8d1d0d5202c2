//! Where deployments listen, and secrets.

use std::fmt;

/// Where a deployment listens: scheme, host, port, and the path in front of `/v1`.
///
/// Two endpoints are equal by the rule for joining: a trailing `/` and a final `/v1` do not count,
/// the host is compared in lower case, and a scheme's default port equals no port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Scheme, host and port to connect to.
    pub origin: Origin,
    /// `""` or `/openai`: what stands between the host and `/v1`. Never ends in `/`.
    pub prefix: String,
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

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
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
