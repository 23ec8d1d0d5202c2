//! Classifies headers by their names.
//!
//! Known names are in a table. Other names are classified by the words in them: `x-acme-token` is a
//! credential.

use std::sync::LazyLock;

/// What a header is about, which decides where it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// About one connection, or able to change the meaning of the request.
    Hop,
    /// Set or answered by the gateway itself.
    Own,
    /// A credential of the client, or its identity at a proxy in front of the gateway.
    Credential,
    /// Names the web page that sent the request. Engines refuse requests of foreign pages.
    Page,
    /// Names an account at the provider. Requests go to the account of the deployment's key.
    Account,
    /// Says where a request came from. Only trusted proxies may send it.
    Forwarding,
    /// Needed by the API, or for tracing.
    Api,
    /// Names the software of the client.
    Agent,
    /// All others.
    Plain,
}

const KNOWN: [(Class, &[&str]); 8] = [
    (
        Class::Hop,
        &[
            "connection",
            "http2-settings",
            "keep-alive",
            "proxy-authenticate",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            // Servers may read these as a different method or path.
            "x-http-method",
            "x-http-method-override",
            "x-method-override",
            "x-original-url",
            "x-rewrite-url",
        ],
    ),
    (
        Class::Own,
        &[
            "accept-encoding",
            "cdn-loop",
            "content-length",
            "content-type",
            "expect",
            "host",
            "x-request-id",
            // An answer to these may have no body: 304, 412, 416.
            "if-match",
            "if-modified-since",
            "if-none-match",
            "if-range",
            "if-unmodified-since",
            "range",
        ],
    ),
    (
        Class::Credential,
        &[
            "api-key",
            "authorization",
            "cookie",
            "proxy-authorization",
            "remote-user",
            "sso-user",
            "x-api-key",
            "x-client-cert",
            "x-consumer-username",
            "x-forwarded-access-token",
            "x-forwarded-email",
            "x-forwarded-groups",
            "x-forwarded-user",
            "x-forwarded-preferred-username",
            "x-remote-user",
            "x-webauth-user",
        ],
    ),
    (
        Class::Page,
        &[
            "access-control-request-headers",
            "access-control-request-method",
            "access-control-request-private-network",
            "dnt",
            "origin",
            "purpose",
            "referer",
            "upgrade-insecure-requests",
            "x-requested-with",
        ],
    ),
    (Class::Account, &["openai-organization", "openai-project", "anthropic-organization-id"]),
    (
        Class::Forwarding,
        &[
            "cf-connecting-ip",
            "cf-connecting-ipv6",
            "cf-ew-via",
            "cf-ipcity",
            "cf-ipcountry",
            "cf-pseudo-ipv4",
            "cf-ray",
            "cf-visitor",
            "cf-worker",
            "client-ip",
            "do-connecting-ip",
            "fastly-client-ip",
            "fly-client-ip",
            "forwarded",
            "true-client-ip",
            "via",
            "wl-proxy-client-ip",
            "x-appengine-user-ip",
            "x-azure-clientip",
            "x-azure-socketip",
            "x-client-ip",
            "x-client-ip-city",
            "x-cluster-client-ip",
            "x-envoy-external-address",
            "x-envoy-original-path",
            "x-forwarded",
            "x-host",
            "x-nf-client-connection-ip",
            "x-original-forwarded-for",
            "x-original-host",
            "x-originating-ip",
            "x-proxyuser-ip",
            "x-real-ip",
            "x-remote-addr",
            "x-remote-ip",
            "x-vercel-ip-country",
        ],
    ),
    (
        Class::Api,
        &[
            "accept",
            "anthropic-beta",
            "anthropic-version",
            "b3",
            "openai-beta",
            "traceparent",
            "tracestate",
            "uber-trace-id",
            "x-b3-flags",
            "x-b3-parentspanid",
            "x-b3-sampled",
            "x-b3-spanid",
            "x-b3-traceid",
            "x-client-request-id",
            "x-cloud-trace-context",
        ],
    ),
    (
        Class::Plain,
        &[
            "accept-charset",
            "accept-language",
            "baggage",
            "cache-control",
            "content-encoding",
            "idempotency-key",
            "pragma",
            "priority",
            "x-cache-key",
            "x-idempotency-key",
            "x-prompt-cache-key",
        ],
    ),
];

/// The known names of each length, so that few are compared.
static BY_LENGTH: LazyLock<Vec<Vec<(&'static str, Class)>>> = LazyLock::new(|| {
    let mut by_length = Vec::new();
    let all = KNOWN.iter().flat_map(|(class, names)| names.iter().map(|name| (*name, *class)));
    for (name, class) in all {
        if by_length.len() <= name.len() {
            by_length.resize_with(name.len() + 1, Vec::new);
        }
        by_length[name.len()].push((name, class));
    }
    by_length
});

/// The class of a header of a request. `name` is in lower case.
pub(super) fn of(name: &str) -> Class {
    // SDKs send several of these with each request, and nothing in them is secret.
    if name.starts_with("x-stainless-") {
        return Class::Plain;
    }
    if name == "user-agent" {
        return Class::Agent;
    }
    let same_length = BY_LENGTH.get(name.len()).map_or(&[][..], Vec::as_slice);
    match same_length.iter().find(|(known, _)| *known == name) {
        Some((_, class)) => *class,
        None => by_words(name),
    }
}

/// The class of a name that is in no table.
fn by_words(name: &str) -> Class {
    const FAMILIES: [(&str, Class); 18] = [
        ("x-forwarded-", Class::Forwarding),
        ("x-vercel-", Class::Forwarding),
        ("x-envoy-", Class::Forwarding),
        ("x-akamai-", Class::Forwarding),
        ("akamai-", Class::Forwarding),
        ("fastly-", Class::Forwarding),
        ("sec-", Class::Page),
        ("cf-access-", Class::Credential),
        ("x-ms-client-principal", Class::Credential),
        ("x-goog-iap-", Class::Credential),
        ("x-amz-", Class::Credential),
        ("tailscale-user-", Class::Credential),
        ("remote-", Class::Credential),
        ("x-remote-", Class::Credential),
        ("x-webauth-", Class::Credential),
        ("x-pomerium-", Class::Credential),
        ("ssl-client-", Class::Credential),
        ("x-ssl-client-", Class::Credential),
    ];
    if let Some((_, class)) = FAMILIES.iter().find(|(start, _)| name.starts_with(start)) {
        return *class;
    }
    // Each proxy has its own name for the client's address: `incap-client-ip`.
    if name.ends_with("-ip") {
        return Class::Forwarding;
    }
    if is_credential(name) { Class::Credential } else { Class::Plain }
}

/// True if a word of the name says that the value is a credential or the identity of a user.
fn is_credential(name: &str) -> bool {
    // Parts of words, for these are written in one word too: `apikey`, `accesstoken`.
    const PARTS: [&str; 9] = [
        "apikey",
        "authoriz",
        "authenti",
        "cookie",
        "credential",
        "passw",
        "secret",
        "signature",
        "token",
    ];
    const WORDS: [&str; 15] = [
        "auth",
        "bearer",
        "cert",
        "clientcert",
        "csrf",
        "jwt",
        "key",
        "oidc",
        "otp",
        "pat",
        "pwd",
        "sas",
        "sig",
        "username",
        "xsrf",
    ];
    name.split(['-', '_', '.']).any(|word| {
        // `max-tokens` and `token-count` are numbers, but a credential that leaks costs more than a
        // header that an engine misses.
        WORDS.contains(&word) || PARTS.iter().any(|part| word.contains(part))
    })
}
