//! Which headers cross the gateway. Hop-by-hop headers never do (RFC 9110, 7.6.1): a fixed set, so that
//! neither side can have the other's headers dropped by naming them in `Connection`. Credentials of
//! the client never go up, and what tells of the upstream's place never comes down.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Of a request: the client's credentials, and what the gateway says itself.
const NOT_UP: [&str; 9] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "content-length",
    "cookie",
    "expect",
    "host",
    "x-api-key",
    "x-request-id",
];

/// Of an answer: what names the upstream or sets state for its host.
const NOT_DOWN: [&str; 9] = [
    "alt-svc",
    "content-location",
    "location",
    "server",
    "set-cookie",
    "strict-transport-security",
    "www-authenticate",
    "x-request-id",
    "x-should-retry",
];

/// Where a request comes from, as proxies in front of the gateway tell.
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDING: [&str; 3] = ["forwarded", "via", "x-real-ip"];

fn is_forwarding(name: &HeaderName) -> bool {
    FORWARDING.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-")
}

/// Drops what a client that is no trusted proxy says of where its request comes from.
pub fn drop_forwarding(headers: &mut HeaderMap) {
    let told: Vec<HeaderName> =
        headers.keys().filter(|name| is_forwarding(name)).cloned().collect();
    for name in told {
        headers.remove(name);
    }
}

fn without(headers: &HeaderMap, dropped: &[&str]) -> HeaderMap {
    let keep = |name: &HeaderName| {
        !HOP_BY_HOP.contains(&name.as_str()) && !dropped.contains(&name.as_str())
    };
    let kept = headers.iter().filter(|(name, _)| keep(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The headers of an upstream request, without `host`, credential and length. The body was read as
/// JSON, so it is called that, whatever the client called it: engines refuse what `curl -d` says.
///
/// `client` is who asked, where the upstream may know: it is the last of `x-forwarded-for`, behind what
/// a trusted proxy said.
#[must_use]
pub(super) fn up(headers: &HeaderMap, request_id: &str, client: Option<IpAddr>) -> HeaderMap {
    let mut headers = without(headers, &NOT_UP);
    if let Some(client) = client {
        let told = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let all = told.map(str::to_owned).chain([client.to_string()]).collect::<Vec<_>>();
        if let Ok(all) = HeaderValue::from_str(&all.join(", ")) {
            headers.insert(FORWARDED_FOR, all);
        }
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", id);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers are looked into, for errors, their end and usage. Without the header any encoding would
    // be welcome (RFC 9110, 12.5.3).
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// The headers of an answer to the client.
#[must_use]
pub(super) fn down(headers: &HeaderMap) -> HeaderMap {
    let mut headers = without(headers, &NOT_DOWN);
    drop_forwarding(&mut headers);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_hop_by_hop_headers_stay_here() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "x-api-key", "cookie", "te", "x-mine"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, x-mine"));
        let up = up(&headers, "id-1", None);
        let mut names: Vec<&str> = up.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-encoding", "content-type", "x-mine", "x-request-id"]);
    }

    #[test]
    fn forwarding_headers_never_come_down_and_go_up_from_trusted_proxies_only() {
        let mut headers = HeaderMap::new();
        for name in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
        }
        assert!(down(&headers).is_empty());
        assert!(up(&headers, "id-1", None).contains_key("x-forwarded-for"));
        let client = Some(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(up(&headers, "id-1", client)["x-forwarded-for"], "v, 127.0.0.1");
        drop_forwarding(&mut headers);
        assert!(headers.is_empty());
        assert_eq!(up(&headers, "id-1", client)["x-forwarded-for"], "127.0.0.1");
    }
}
