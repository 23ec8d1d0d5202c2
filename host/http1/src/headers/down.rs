//! Decides which headers of an answer go down to the client.

use std::sync::LazyLock;

use http::HeaderMap;

use super::class::{self, Class};
use super::{LOAD, LOAD_BINARY, LOAD_FORMAT, LOAD_JSON, OnDropped, Way, drop_all, is_named};

/// Answer headers that are not forwarded. They name the upstream or its account, set state for its
/// host, command the client's browser, or command a cache or proxy in front of the gateway. Others
/// are credentials, digests of a body that the gateway may change, or set by the gateway itself.
const NOT_DOWN: [&str; 58] = [
    "accept-ch",
    "activate-storage-access",
    "alt-svc",
    "api-key",
    "authentication-info",
    "authorization",
    "cdn-cache-control",
    "clear-site-data",
    "cloudflare-cdn-cache-control",
    "content-digest",
    "content-location",
    "content-md5",
    "content-security-policy",
    "content-security-policy-report-only",
    "cookie",
    "critical-ch",
    "digest",
    "document-policy",
    "edge-control",
    "expect-ct",
    "feature-policy",
    "link",
    "location",
    "login-status",
    "nel",
    "no-vary-search",
    "observe-browsing-topics",
    "origin-agent-cluster",
    "origin-trial",
    "permissions-policy",
    "proxy-authentication-info",
    "proxy-authorization",
    "public-key-pins",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "repr-digest",
    "server",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "set-login",
    "sourcemap",
    "speculation-rules",
    "strict-transport-security",
    "supports-loading-mode",
    "timing-allow-origin",
    "use-as-dictionary",
    "vercel-cdn-cache-control",
    "www-authenticate",
    "x-api-key",
    "x-auth-token",
    "x-dns-prefetch-control",
    "x-permitted-cross-domain-policies",
    "x-powered-by",
    "x-request-id",
    "x-sendfile",
    "x-should-retry",
];

/// The names of each length, so that few are compared.
static BY_LENGTH: LazyLock<Vec<Vec<&'static str>>> = LazyLock::new(|| {
    let longest = NOT_DOWN.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut by_length = vec![Vec::new(); longest + 1];
    NOT_DOWN.iter().for_each(|name| by_length[name.len()].push(*name));
    by_length
});

/// Beginnings of names of answer headers that are not forwarded, for the same reasons.
const NOT_DOWN_FAMILIES: [&str; 9] = [
    "access-control-",
    "attribution-reporting-",
    "cross-origin-",
    "sec-",
    "surrogate-",
    "x-accel-",
    "x-lighttpd-",
    "x-litespeed-",
    "x-reproxy-",
];

/// Which headers of an answer go to the client.
#[derive(Debug, Clone, Copy)]
pub struct Down<'a> {
    /// Further headers that do not pass. Names are written as in [`Passing`].
    pub dropped: &'a [String],
    /// The client's headers. It is told the engine's load only if it asked for it.
    pub asked: &'a HeaderMap,
    /// Whether the client is told the rate limits of the deployment's key.
    pub rate_limits: bool,
    /// Told of those that do not pass.
    pub on_dropped: OnDropped,
}

impl Down<'_> {
    /// The headers of an answer that go to the client.
    #[must_use]
    pub fn pass(&self, mut headers: HeaderMap) -> HeaderMap {
        drop_all(&mut headers, |name| {
            let name = name.as_str();
            let class = class::of(name);
            let never = matches!(class, Class::Hop | Class::Account | Class::Forwarding)
                || BY_LENGTH.get(name.len()).is_some_and(|names| names.contains(&name))
                || NOT_DOWN_FAMILIES.iter().any(|start| name.starts_with(start))
                || (is_load(name) && !self.asked.contains_key(LOAD_FORMAT));
            let stays =
                never || (!self.rate_limits && is_rate_limit(name)) || is_named(self.dropped, name);
            if stays && class != Class::Hop && class != Class::Own {
                (self.on_dropped)(Way::ToClient, name);
            }
            stays
        });
        headers
    }
}

fn is_load(name: &str) -> bool {
    name.starts_with(LOAD) && [LOAD, LOAD_JSON, LOAD_BINARY].contains(&name)
}

/// True for a header that says how much of a rate limit is used. `retry-after` is none: it is about
/// this answer.
fn is_rate_limit(name: &str) -> bool {
    const NAMES: [&str; 3] = ["ratelimit", "rate-limit", "ratelimit-policy"];
    const BEGINNINGS: [&str; 7] = [
        "ratelimit-",
        "ratelimitbysize-",
        "x-ratelimit-",
        "x-rate-limit-",
        "anthropic-ratelimit-",
        "x-ms-ratelimit-",
        "x-ms-rate-limit-",
    ];
    NAMES.contains(&name) || BEGINNINGS.iter().any(|start| name.starts_with(start))
}
